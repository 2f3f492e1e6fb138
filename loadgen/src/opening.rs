//! How links are opened and whom they say they are: what all links of a run share, honest or not.

use std::fmt;

use protocol::Error;
use protocol::Time;
use protocol::link::{ClientLink, Dial};
use protocol::noise::{Cipher, Gate, PublicKey, StaticKey, Suite, Suites};

/// The gateway's key, and what a link needs to be opened and to log in.
#[derive(Clone)]
pub struct Opening {
    server: PublicKey,
    gate: Gate,
    suite: Suite,
    device_key: StaticKey,
    token: Vec<u8>,
}

impl Opening {
    /// At a gateway with this key, in handshakes of this suite where there is no ticket. All links show the device key, where
    /// the suite takes one, and this token.
    #[must_use]
    pub fn new(server: PublicKey, suite: Suite, device_key: StaticKey, token: Vec<u8>) -> Self {
        Self { server, gate: Gate::new(&server), suite, device_key, token }
    }

    /// What links authenticate with.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Appends a hello to `out`, by a ticket and its secret if there is one.
    ///
    /// # Errors
    /// What of it does not fit the suite.
    pub fn dial(
        &self,
        ticket: Option<(&[u8], &[u8; 32])>,
        ephemeral: [u8; 32],
        now: Time,
        out: &mut Vec<u8>,
    ) -> Result<ClientLink, Error> {
        let dial = Dial {
            server: &self.server,
            gate: &self.gate,
            suite: if ticket.is_some() { with_ticket(self.suite) } else { self.suite },
            better: Suites::NONE,
            served: Suites::NONE,
            device_key: Some(&self.device_key),
            ticket,
        };
        ClientLink::dial(&dial, ephemeral, now, out)
    }
}

/// The suite of the same cipher that takes a ticket.
fn with_ticket(suite: Suite) -> Suite {
    match suite.cipher() {
        Cipher::ChaChaPoly => Suite::Nnpsk0ChaChaPoly,
        Cipher::AesGcm => Suite::Nnpsk0AesGcm,
    }
}

/// Without key and token.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("server", &self.server)
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
