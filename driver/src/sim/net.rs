//! The handle on the network, by which a simulation listens, dials, moves it on and looks at it.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::links::{Link, Owner};
use super::pipe::Buffers;
use super::world::World;
use super::{Audit, Backlog, Faults, Socket};
use crate::ops::{Endpoint, Peer};

/// A handle on the network; all clones mean the same one.
#[derive(Clone, Debug)]
pub struct Net(Rc<RefCell<World>>);

impl Net {
    /// An empty network without faults.
    #[must_use]
    pub fn new(seed: u64) -> Net {
        Net(Rc::new(RefCell::new(World::new(seed))))
    }

    /// From now on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Ends all faults: nothing is held back, clogged or delayed any more. Places that are [`cut`](Net::cut) stay so.
    pub fn faults_off(&self) {
        let mut world = self.state();
        world.faults = Faults::none();
        world.unclog();
    }

    /// Listens at a place. Several may listen at one; each connection goes to one of them, drawn by lot.
    #[must_use = "a backlog that is dropped stops listening"]
    pub fn listen(&self, at: &Endpoint, buffers: Buffers) -> Backlog {
        let door = self.state().listen(at, None, buffers);
        Backlog::new(Rc::clone(&self.0), door)
    }

    /// Dials a place. `from` is what the listener is told; the socket shows how it goes.
    #[must_use = "a socket that is dropped is closed"]
    pub fn connect(&self, to: &Endpoint, from: Peer, buffers: Buffers) -> Socket {
        let end = self.state().dial(to, from, Owner::Outside, buffers);
        Socket::new(Rc::clone(&self.0), end)
    }

    /// Moves what is under way on by a random amount. Returns how many bytes arrived.
    pub fn step(&self) -> usize {
        self.state().step()
    }

    /// Carries everything as far as it goes, for tests that want no chance. Returns how many bytes arrived.
    pub fn carry_all(&self) -> usize {
        self.state().carry_all()
    }

    /// Number of steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().step
    }

    /// Nothing can happen any more unless somebody reads, writes, dials or parks: nothing is under way, and no
    /// worker has completions to take. What a full buffer or a cut place holds up does not count.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.state().is_quiet()
    }

    /// Separates a place from everybody: nothing moves to or from it, and dials to it time out.
    pub fn cut(&self, place: &Endpoint) {
        self.state().cut(place, true);
    }

    /// Undoes [`Net::cut`].
    pub fn mend(&self, place: &Endpoint) {
        self.state().cut(place, false);
    }

    /// Wakes a worker from outside, as the control thread does.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn ring(&self, worker: u32) {
        self.state().ring(worker);
    }

    /// Looks at one worker's sockets.
    ///
    /// # Panics
    /// When there is no such worker.
    #[must_use]
    pub fn audit(&self, worker: u32) -> Audit {
        self.state().audit(worker)
    }

    /// Number of links of which at least one end is not closed.
    #[must_use]
    pub fn links(&self) -> usize {
        self.state().links.iter().count()
    }

    /// Bytes in all socket buffers.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.state().links.iter().map(Link::bytes_held).sum()
    }

    /// A number over everything that has happened; equal for equal runs.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.state().fingerprint()
    }

    pub(super) fn state(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    pub(super) fn try_state(&self) -> Option<RefMut<'_, World>> {
        self.0.try_borrow_mut().ok()
    }
}
