//! Frames as long as the config allows.

use backend::{Listen, Security};
use protocol::Refusal;
use protocol::stream::{Params, frame_len_beside};
use protocol::wire::frame::Outcome;

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, wait_until};

/// Far above what a stream carries by default.
const FRAME_LEN: usize = 400 * 1024;
const SETTINGS: &str = "auth.mode = 'development'\nlimits.frame_len_max = '400KiB'\n\
    limits.outbox_hard = '1MiB'\nrequests.link_bytes = '2MiB'\n";

#[test]
fn a_long_request_reaches_a_backend_that_takes_it_and_so_does_the_answer() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    serve(&folder);
    let (mut gateway, mut target) = folder.gateway(SETTINGS);
    target.token = folder.token();
    wait_until("the streams are open", || target.metric("gateway_streams") == 2);

    let mut client = Client::login(&target, "alice");
    let payload: Vec<u8> = (0..FRAME_LEN - 100).map(|at| (at / 7) as u8).collect();
    assert_eq!(client.ask("echo", &payload), Heard::Response(Outcome::Answered, 0, payload));
    client.request("echo", &vec![0; FRAME_LEN]);
    let closed = client.hear_one(|heard| matches!(heard, Heard::Close(_)));
    assert_eq!(closed, Heard::Close(protocol::CloseCode::TooLarge.number()));
    gateway.signal("TERM");
    assert!(gateway.ended().success());
}

#[test]
fn a_long_request_to_a_backend_that_does_not_take_it_is_refused() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let _service = Process::service(&folder.file("service.sock"));
    let (_gateway, mut target) = folder.gateway(SETTINGS);
    target.token = folder.token();
    wait_until("the streams are open", || target.metric("gateway_streams") == 2);

    let mut client = Client::login(&target, "alice");
    let refused = Heard::Response(Outcome::Refused, Refusal::TooLarge.number(), Vec::new());
    assert_eq!(client.ask("echo", &[1; 100 * 1024]), refused);
    client.wait_until_answered();
}

/// Runs the reference service on a thread of this process, with room for long frames. It ends with the process.
fn serve(folder: &Folder) {
    let listen = Listen::Unix(folder.file("service.sock"));
    let params = Params { frame_len_max: frame_len_beside(FRAME_LEN), ..Params::default() };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let service = backend::reference::service().params(params);
            service
                .bind(&listen, Security::Clear)
                .expect("a folder of the test")
                .serve(std::future::pending())
                .await;
        });
    });
}
