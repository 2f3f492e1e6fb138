//! The gateway gets another key, and clients that were there meanwhile know it.

use crate::client::Client;
use crate::stage::{Folder, Stage};

#[test]
fn a_server_key_is_announced_before_it_is_used() {
    let Some(folder) = Folder::new() else { return };
    let new = folder.make_key("new.key");
    let mut stage = Stage::set_in(folder, &format!("keys.next = ['{new:?} from 2030-12-24T06:00:00Z']\n"));
    let old = stage.target.key;
    let client = Client::login(&stage.target, "alice");
    assert_eq!(client.server_keys, [(old.0.to_vec(), 0), (new.0.to_vec(), 1_924_322_400_000)]);
    drop(client);

    stage.rekey("new.key");
    stage.replace_gateway(&format!("keys.retired = ['{old:?}']\n"));
    assert_eq!(stage.target.key, new);
    let mut client = Client::login(&stage.target, "alice");
    client.wait_until_answered();
    assert_eq!(client.server_keys, [(new.0.to_vec(), 0)]);
}
