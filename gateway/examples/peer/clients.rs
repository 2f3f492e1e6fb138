//! Clients that ask, listen and take what they hear, each of a user of its own, over links that may break at any time.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Backoff, Client, Config, Credentials, FileStore, Outcome, Pushes, State};
use driver::sim::Rng;
use protocol::hex;
use protocol::noise::PublicKey;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::backend::{device, user};
use crate::ledger::{Entry, Ledger, columns};
use crate::orders::{self, Wanted};
use crate::seen::Taken;

/// What its command line says.
#[derive(clap::Args)]
pub(crate) struct Line {
    /// Their ledger, from which they go on.
    #[arg(long)]
    ledger: PathBuf,
    /// Where their chances come from.
    #[arg(long)]
    seed: u64,
    /// The folder of their stores.
    #[arg(long)]
    stores: PathBuf,
    /// The gateway's key, 64 hex digits.
    #[arg(long, value_parser = public_key)]
    key: PublicKey,
    /// Their token.
    #[arg(long)]
    token: String,
    /// The number of the first one.
    #[arg(long)]
    first: usize,
    /// How many there are.
    #[arg(long)]
    count: usize,
    /// Requests of each of them that are under way at a time.
    #[arg(long)]
    requests: usize,
    /// How long an application holds messages before it takes them, in milliseconds.
    #[arg(long)]
    hold: u64,
    /// The longest pause between an answer and the next question, in milliseconds.
    #[arg(long)]
    idle: usize,
    /// They read too slowly for a time.
    #[arg(long)]
    slow: bool,
    /// Where the gateway is: one address for all, or one for each of them.
    #[arg(long, value_delimiter = ',')]
    address: Vec<String>,
}

/// How long a request may take before it is asked anew.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause after one that came to nothing.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest question.
const QUESTION_LEN_MAX: usize = 200;
/// The pauses between attempts to link.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };

/// Lets them talk until they are told to end, or killed.
pub(crate) async fn run(line: Line) -> Result<(), Box<dyn Error>> {
    let (ledger, lines) = Ledger::open(&line.ledger)?;
    let mut past = taken_before(&lines);
    let mut wanted = orders::follow();
    let mut rng = Rng::new(line.seed ^ line.first as u64);
    let (mut asking, mut handles) = (JoinSet::new(), Vec::new());
    for at in 0..line.count {
        let number = line.first + at;
        let (user, device, who) = (user(number), device(number), format!("client-{number}"));
        let ids = past.remove(&who).unwrap_or_default();
        let taken = Taken::new(ledger.clone(), who, user.clone().into(), device.clone().into(), ids);
        let more = if line.slow { "store=file slow=yes" } else { "store=file" };
        taken.write(&Entry { kind: "declares", more, ..Entry::default() });
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        let store = FileStore::new(line.stores.join(format!("client-{number}")), &secret);
        let address = line.address[at % line.address.len()].clone();
        let credentials = Credentials::token(line.token.clone());
        let config = Config {
            store: Some(Arc::new(store)),
            seen: Arc::new(taken.clone()),
            backoff: BACKOFF,
            ..Config::new(address, line.key, credentials, user, device)
        };
        let (client, pushes) = Client::start(config)?;
        tokio::spawn(listen(taken.clone(), client.states(), pushes, Duration::from_millis(line.hold)));
        for _ in 0..line.requests {
            let asks = ask_all(taken.clone(), client.clone(), rng.fork(), wanted.clone(), line.idle);
            asking.spawn(asks);
        }
        // With its last handle a client would end, and there may be more for it to hear.
        handles.push(client);
    }
    tokio::spawn(async move {
        while asking.join_next().await.is_some() {}
        orders::quiet()
    });
    orders::until(&mut wanted, Wanted::End).await;
    drop(handles);
    Ok(())
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    hex::decode_array(text).map(PublicKey).ok_or_else(|| "wanted 64 hex digits".into())
}

/// What each client has taken, as an earlier start wrote it down.
fn taken_before(lines: &str) -> HashMap<String, HashSet<Vec<u8>>> {
    let mut taken: HashMap<String, HashSet<Vec<u8>>> = HashMap::new();
    for columns in lines.lines().map(columns).filter(|columns| columns[1] == "took") {
        taken.entry(columns[0].to_owned()).or_default().extend(hex::decode(columns[2]));
    }
    taken
}

/// Asks one thing after the other, each until it is answered.
async fn ask_all(
    taken: Taken,
    client: Client,
    mut rng: Rng,
    mut wanted: watch::Receiver<Wanted>,
    idle: usize,
) -> io::Result<()> {
    while *wanted.borrow() == Wanted::Work {
        let mut question = vec![0; 1 + rng.below(QUESTION_LEN_MAX)];
        rng.fill(&mut question);
        let mut request = client.prepare("echo", b"", question.clone())?;
        loop {
            let entry = Entry { id: request.id(), ..Entry::default() };
            taken.write(&Entry { kind: "asked", payload: Some(&question), ..entry });
            match client.send_until_answered(&request, PATIENCE).await {
                Outcome::Answered { payload, .. } => {
                    taken.write(&Entry { kind: "answered", payload: Some(&payload), ..entry });
                    break;
                }
                Outcome::Refused { reason, .. } => {
                    // A reason is several words.
                    let more = format!("reason={}", format!("{reason:?}").replace(' ', ""));
                    taken.write(&Entry { kind: "refused", more: &more, ..entry });
                }
                Outcome::Unknown { doubt } => {
                    let more = format!("doubt={doubt:?}");
                    taken.write(&Entry { kind: "unknown", more: &more, ..entry });
                }
            }
            request = request.again();
            sleep(PAUSE).await;
        }
        orders::idle(&mut wanted, rng.below(idle + 1)).await;
    }
    Ok(())
}

/// Hears what comes, holds it for a while and takes it, all that was heard by then at once.
async fn listen(taken: Taken, mut states: watch::Receiver<State>, mut pushes: Pushes, hold: Duration) {
    pushes.take_by_hand();
    let mut held: Vec<(Vec<u8>, Vec<u8>, u64)> = Vec::new();
    let mut due = far();
    loop {
        tokio::select! {
            biased;
            Ok(()) = states.changed() => {
                if let State::Up(session) = &*states.borrow_and_update() {
                    taken.linked(&session.id);
                }
            }
            push = pushes.next() => {
                let Some(push) = push else { return };
                let (session, sequence) = (taken.session(), Some(push.sequence));
                let entry = Entry { id: &push.id, session: &session, sequence, ..Entry::default() };
                taken.write(&Entry { kind: "heard", payload: Some(&push.payload), ..entry });
                if held.is_empty() {
                    due = Instant::now() + hold;
                }
                held.push((push.id.to_vec(), session, push.sequence));
            }
            () = sleep_until(due) => {
                for (id, session, sequence) in held.drain(..) {
                    taken.take(&id, &session, sequence);
                }
                pushes.taken();
                due = far();
            }
        }
    }
}

/// A time that does not come.
fn far() -> Instant {
    Instant::now() + Duration::from_hours(24)
}
