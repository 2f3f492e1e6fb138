//! A session's window on its way to another worker.

use protocol::limits::REQUEST_ID_LEN;

/// A window that was taken out where it was.
#[derive(Debug, Default)]
pub struct Carried {
    /// In the order in which they came first.
    pub(super) requests: Vec<Request>,
    pub(super) highest: u64,
}

/// What is known of one request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: [u8; REQUEST_ID_LEN],
    pub(super) until: u64,
    pub(super) order: u32,
    pub(super) route: u16,
    pub(super) fate: Fate,
}

/// What has become of it.
#[derive(Debug)]
pub(super) enum Fate {
    /// It runs by another link.
    Running,
    /// It was answered with this status; the body is `None` where it is no longer kept.
    Answered { status: u32, body: Option<Box<[u8]>> },
    /// It has to be sent again.
    Marked,
}

impl Carried {
    /// Whether nothing was ever asked.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.highest == 0 && self.requests.is_empty()
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bodies = self.requests.iter().map(|request| match &request.fate {
            Fate::Answered { body: Some(body), .. } => body.len(),
            _ => 0,
        });
        self.requests.capacity() * size_of::<Request>() + bodies.sum::<usize>()
    }
}
