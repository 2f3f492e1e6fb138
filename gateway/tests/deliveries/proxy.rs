//! Ways to the gateway that delay, freeze, throttle and cut, one for each client.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

/// How bytes go through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mood {
    /// Nothing goes in either direction.
    pub(crate) is_frozen: bool,
    /// Whatever comes stays so long.
    pub(crate) delay: Duration,
    /// Bytes a second towards the client; `None`: as many as come.
    pub(crate) rate: Option<u32>,
    /// How many times the connections were cut, and how the last time.
    pub(crate) cuts: u64,
    pub(crate) cut: Cut,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Both ends hear that the other one has ended.
    #[default]
    Fin,
    /// Both ends are reset.
    Reset,
    /// The client is reset, and the gateway hears nothing of it.
    Silence,
}

/// The kernel's buffer towards the gateway, so that a reader that is slow here is slow there.
const RECEIVE_BUFFER: u32 = 4096;
/// The most that is read at once, and the most where there is a rate.
const CHUNK: usize = 4096;
const SIP: usize = 128;

/// Ways to one address, for as long as this lives.
pub(crate) struct Ways {
    /// Where they begin.
    pub(crate) addresses: Vec<SocketAddr>,
    govern: Vec<watch::Sender<Mood>>,
    _stop: oneshot::Sender<()>,
}

impl Ways {
    /// So many, on a thread of their own.
    pub(crate) fn open(to: SocketAddr, count: usize) -> Self {
        let (say, said) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut ways = Vec::new();
                for _ in 0..count {
                    ways.push(open(to).await.expect("a free port"));
                }
                say.send(ways).expect("the test waits for them");
                _ = stopped.await;
            });
        });
        let (addresses, govern) = said.recv().expect("they are open").into_iter().unzip();
        Self { addresses, govern, _stop: stop }
    }

    /// Changes how bytes go through one of them.
    pub(crate) fn change(&self, way: usize, change: impl FnOnce(&mut Mood)) {
        self.govern[way].send_modify(change);
    }

    /// Cuts the connections that go through one of them now.
    pub(crate) fn cut(&self, way: usize, cut: Cut) {
        self.change(way, |mood| (mood.cut, mood.cuts) = (cut, mood.cuts + 1));
    }
}

async fn open(to: SocketAddr) -> io::Result<(SocketAddr, watch::Sender<Mood>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (govern, mood) = watch::channel(Mood::default());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(connection(near, to, mood.clone()));
        }
    });
    Ok((address, govern))
}

/// Carries a connection until an end of it is over or it is cut.
async fn connection(mut near: TcpStream, to: SocketAddr, mut mood: watch::Receiver<Mood>) -> io::Result<()> {
    let cuts = mood.borrow().cuts;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let mut far = socket.connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let cut = {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let both = async {
            tokio::try_join!(
                carry(near_in, far_out, mood.clone(), false),
                carry(far_in, near_out, mood.clone(), true)
            )
        };
        let both = std::pin::pin!(both);
        let mut mood = mood.clone();
        tokio::select! {
            biased;
            mood = mood.wait_for(|mood| mood.cuts != cuts) => mood.map_or(Cut::Fin, |mood| mood.cut),
            _ = both => Cut::Fin,
        }
    };
    match cut {
        Cut::Fin => {}
        Cut::Reset => {
            near.set_zero_linger()?;
            far.set_zero_linger()?;
        }
        Cut::Silence => {
            near.set_zero_linger()?;
            drop(near);
            // It stays until the ways are gone.
            _ = mood.wait_for(|_| false).await;
        }
    }
    Ok(())
}

/// Carries one direction to its end.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mood: watch::Receiver<Mood>,
    is_down: bool,
) -> io::Result<()> {
    let mut bytes = [0; CHUNK];
    loop {
        let rate = let_through(&mut mood, is_down).await;
        let most = if rate.is_some() { SIP } else { CHUNK };
        let read = from.read(&mut bytes[..most]).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let delay = mood.borrow().delay;
        sleep(delay).await;
        // It may have been frozen meanwhile.
        if let Some(rate) = let_through(&mut mood, is_down).await {
            sleep(Duration::from_secs(read as u64) / rate).await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}

/// Waits until something goes through: at this rate, if there is one.
async fn let_through(mood: &mut watch::Receiver<Mood>, is_down: bool) -> Option<u32> {
    let rate = |mood: &Mood| mood.rate.filter(|_| is_down);
    match mood.wait_for(|mood| !mood.is_frozen && rate(mood) != Some(0)).await {
        Ok(mood) => rate(&mood),
        Err(_) => None,
    }
}
