//! A service that does each piece of work once, whatever becomes of it, and delivers messages until they have arrived.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend::{
    Delivery, Event, Gateway, Listen, Outcome, Push, Reply, Request, Rule, Security, Server, Target,
};
use driver::sim::Rng;
use protocol::hex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ledger::{Entry, Ledger, columns, now, sha256, value};
use crate::orders::{self, Wanted};

/// What its command line says.
#[derive(clap::Args)]
pub(crate) struct Line {
    /// Its ledger, from which it goes on.
    #[arg(long)]
    ledger: PathBuf,
    /// Where its chances come from.
    #[arg(long)]
    seed: u64,
    /// The Unix socket it listens at.
    #[arg(long)]
    socket: PathBuf,
    /// Users to whom it delivers.
    #[arg(long)]
    users: usize,
    /// Messages to each of them that are under way at a time.
    #[arg(long)]
    pushes: usize,
    /// The longest that it thinks about a request, in milliseconds.
    #[arg(long)]
    hold: usize,
    /// The longest pause between a message that has arrived and the next one to the same user, in milliseconds.
    #[arg(long)]
    idle: usize,
}

/// How it is called in ledgers.
const WHO: &str = "backend";
/// The pause before a message that did not arrive is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest message.
const MESSAGE_LEN_MAX: usize = 200;

/// Serves until it is told to end, or killed.
pub(crate) async fn run(line: Line) -> Result<(), Box<dyn Error>> {
    let (ledger, lines) = Ledger::open(&line.ledger)?;
    let mut past = Past::read(&lines)?;
    let start = now();
    for sending in past.open.keys() {
        ledger
            .write(WHO, &Entry { kind: "given_up", more: &format!("sending={sending}"), ..Entry::default() });
    }
    let book = Book {
        served: std::mem::take(&mut past.served),
        named: past.named,
        sent: 0,
        rng: Rng::new(line.seed ^ past.lines as u64),
    };
    let (book, opened) = (Mutex::new(book), watch::Sender::new(0));
    let desk = Arc::new(Desk { ledger, start, seed: line.seed, hold: line.hold, book, opened });
    let (works, ear) = (Arc::clone(&desk), Arc::clone(&desk));
    let server = Server::builder()
        .route("echo", move |request| Arc::clone(&works).work(request))
        .events(move |event, _| ear.hear(&event))
        .bind(&Listen::Unix(line.socket), Security::Clear)?;
    let gateways = server.watch();
    let mut wanted = orders::follow();
    let mut slots = JoinSet::new();
    for number in 0..line.users {
        let mut backlog = past.unheard.remove(&user(number)).unwrap_or_default();
        for slot in 0..line.pushes {
            let mine = backlog.split_off(backlog.len() - backlog.len().div_ceil(line.pushes - slot));
            let way = Way { desk: Arc::clone(&desk), gateways: gateways.clone(), number, idle: line.idle };
            slots.spawn(way.deliver_all(mine, wanted.clone()));
        }
    }
    tokio::spawn(async move {
        while slots.join_next().await.is_some() {}
        orders::quiet()
    });
    // A server that is asked to stop would wait for what is open; here the end is the end.
    tokio::select! {
        () = server.serve(std::future::pending()) => {}
        () = orders::until(&mut wanted, Wanted::End) => {}
    }
    Ok(())
}

/// The name of a user.
pub(crate) fn user(number: usize) -> String {
    format!("user-{number}")
}

/// The name of the device of a user.
pub(crate) fn device(number: usize) -> String {
    format!("phone-{number}")
}

/// What earlier starts have done.
#[derive(Default)]
struct Past {
    lines: usize,
    /// Work that was done: user, device and id.
    served: HashSet<String>,
    /// Messages that were named so far.
    named: u64,
    /// Sendings of which nothing more will be heard.
    open: HashMap<String, String>,
    /// Messages that have not arrived, as far as is known, by user.
    unheard: HashMap<String, VecDeque<[u8; 16]>>,
}

impl Past {
    fn read(lines: &str) -> io::Result<Self> {
        let mut past = Self::default();
        let (mut pushed, mut named, mut of) = (Vec::new(), HashSet::new(), HashMap::new());
        let mut delivered = HashSet::new();
        for line in lines.lines() {
            past.lines += 1;
            let columns = columns(line);
            let sending = || value(&columns, "sending").unwrap_or_default().to_owned();
            match columns[1] {
                "served" => _ = past.served.insert(key(columns[3], columns[4], columns[2])),
                "pushed" => {
                    past.open.insert(sending(), String::new());
                    of.insert(sending(), columns[2].to_owned());
                    if named.insert(columns[2].to_owned()) {
                        pushed.push((columns[3].to_owned(), columns[2].to_owned()));
                    }
                }
                "given_up" => _ = past.open.remove(&sending()),
                "told" => {
                    past.open.remove(&sending());
                    if value(&columns, "outcome") == Some("delivered") {
                        delivered.extend(of.get(&sending()).cloned());
                    }
                }
                _ => {}
            }
        }
        past.named = named.len() as u64;
        for (user, id) in pushed.into_iter().filter(|(_, id)| !delivered.contains(id)) {
            let broken = || io::Error::new(io::ErrorKind::InvalidData, "a ledger of another hand");
            let user = hex::decode(&user).and_then(|user| String::from_utf8(user).ok()).ok_or_else(broken)?;
            past.unheard.entry(user).or_default().push_back(hex::decode_array(&id).ok_or_else(broken)?);
        }
        Ok(past)
    }
}

fn key(user: &str, device: &str, id: &str) -> String {
    format!("{user} {device} {id}")
}

/// What all parts of the service share.
struct Desk {
    ledger: Ledger,
    /// Names this start.
    start: u128,
    seed: u64,
    hold: usize,
    book: Mutex<Book>,
    /// Streams so far.
    opened: watch::Sender<u64>,
}

struct Book {
    served: HashSet<String>,
    named: u64,
    sent: u64,
    rng: Rng,
}

impl Desk {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: &Event<'_>) {
        if matches!(event, Event::Opened) {
            self.ledger.write(WHO, &Entry { kind: "ready", ..Entry::default() });
            self.opened.send_modify(|opened| *opened += 1);
        }
    }

    /// Does what is asked, once: what was done before is answered as before.
    async fn work(self: Arc<Self>, request: Request) -> Reply {
        let entry = Entry {
            kind: "received",
            id: &request.id,
            user: &request.user,
            device: &request.device,
            payload: Some(&request.payload),
            ..Entry::default()
        };
        self.ledger.write(WHO, &entry);
        let hold = self.book().rng.below(self.hold + 1) as u64;
        tokio::time::sleep(Duration::from_millis(hold)).await;
        let answer: Vec<u8> = request.payload.iter().rev().copied().collect();
        let [user, device, id] = [&request.user[..], &request.device, &request.id].map(hex::encode);
        if self.book().served.insert(key(&user, &device, &id)) {
            let more = format!("answer={}", sha256(&answer));
            self.ledger.write(WHO, &Entry { kind: "served", more: &more, ..entry });
        }
        Reply::ok(answer)
    }

    /// A name that no message has had.
    fn name(&self) -> [u8; 16] {
        let mut book = self.book();
        book.named += 1;
        let (mut rng, mut id) = (Rng::new(self.seed ^ book.named << 32), [0; 16]);
        rng.fill(&mut id);
        id
    }
}

/// The bytes of a message, which are always the same.
fn message(id: [u8; 16]) -> Vec<u8> {
    let mut rng = Rng::new(u64::from_ne_bytes(*id.first_chunk().expect("it has 16 bytes")));
    let mut message = vec![0; 1 + rng.below(MESSAGE_LEN_MAX)];
    rng.fill(&mut message);
    message
}

/// The way to one user, for one message at a time.
struct Way<G> {
    desk: Arc<Desk>,
    gateways: G,
    number: usize,
    idle: usize,
}

impl<G: Fn() -> Vec<Gateway>> Way<G> {
    /// Delivers the backlog, and then new messages for as long as work is wanted.
    async fn deliver_all(self, backlog: VecDeque<[u8; 16]>, mut wanted: watch::Receiver<Wanted>) {
        for id in backlog {
            self.deliver(id).await;
        }
        while *wanted.borrow() == Wanted::Work {
            self.deliver(self.desk.name()).await;
            let idle = self.desk.book().rng.below(self.idle + 1);
            orders::idle(&mut wanted, idle).await;
        }
    }

    /// Delivers a message, however often that takes.
    async fn deliver(&self, id: [u8; 16]) {
        loop {
            let gateway = self.gateway().await;
            let (sending, delivery) = self.send(id, &gateway);
            let sending = format!("sending={sending}");
            let Some(delivery) = delivery else {
                self.desk.ledger.write(WHO, &Entry { kind: "given_up", more: &sending, ..Entry::default() });
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let outcome = delivery.await;
            let said = match outcome {
                Outcome::Delivered => "outcome=delivered".to_owned(),
                Outcome::Undelivered(reason) => format!("outcome=undelivered reason={}", reason.name()),
                _ => "outcome=unknown".to_owned(),
            };
            let more = format!("{sending} {said}");
            self.desk.ledger.write(WHO, &Entry { kind: "told", more: &more, ..Entry::default() });
            if outcome == Outcome::Delivered {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Any stream, as soon as there is one.
    async fn gateway(&self) -> Gateway {
        let mut opened = self.desk.opened.subscribe();
        loop {
            let mut all = (self.gateways)();
            if !all.is_empty() {
                return all.swap_remove(self.desk.book().rng.below(all.len()));
            }
            // The desk lives as long as this.
            _ = opened.changed().await;
        }
    }

    /// Hands a message to a stream: in one step with the line that says so, so that both are in one order.
    fn send(&self, id: [u8; 16], gateway: &Gateway) -> (String, Option<Delivery>) {
        let (user, device, payload) = (user(self.number), device(self.number), message(id));
        let mut book = self.desk.book();
        book.sent += 1;
        let sending = format!("{}.{}", self.desk.start, book.sent);
        let stream = format!("{}.{}", self.desk.start, gateway.id());
        let entry = Entry {
            kind: "pushed",
            id: &id,
            user: user.as_bytes(),
            device: device.as_bytes(),
            payload: Some(&payload),
            more: &format!("sending={sending} class=1 stream={stream} target=device"),
            ..Entry::default()
        };
        self.desk.ledger.write(WHO, &entry);
        let target = Target::Device(user.into(), device.into());
        let push = Push { id: id.to_vec().into(), ..Push::new(target, payload) };
        (sending, gateway.try_deliver(push, Rule::All).ok())
    }
}
