//! The fleet: servers and their agents, as the hub knows them.
//!
//! A **server** is a machine with an agent; its owner made it, or the hub did for itself. An agent that has
//! authenticated itself takes its server's one **seat**: a second one gets it at once, and whatever the first still
//! does no longer counts. **Records** (samples, log lines, events of the device) come in through [`Fleet::record`] and
//! go on to the store, the alerts and the hub's subscribers, in the order of their numbers and each once. **Orders** go
//! out through the seat and end exactly once: with the agent's answer, when it is gone, or when their time is over.
//!
//! Nobody waits here: whoever gives an order is called back. One thread, `fleet`, has all deadlines (orders that take too
//! long, agents that have fallen silent) and sleeps where there is none.
//!
//! Locks: each server has its own, held while a record of it is handed on, so that its records keep their order. Behind
//! it come the hub's and the store's inboxes, which never call back. Callbacks run without any lock.

mod orders;
mod records;
mod seat;
mod servers;
mod timer;
mod watchers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::alerts::Alerts;
use crate::config;
use crate::hub::Hub;
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::store::{Store, StoreError};
use crate::types::event::{Body, Event};
pub use crate::types::fleet::Change;
use crate::types::fleet::{AgentInfo, Issuer, Order, Outcome, Sample, Server};
use orders::Pending;
pub use records::Taken;
pub use seat::Seat;
use servers::Entry;
pub use servers::Profile;
use timer::Timer;
pub use watchers::Watching;

/// The way to an agent. Nothing here waits; `false` where it cannot be said.
pub trait AgentLink: Send + Sync {
    /// Gives it an order. Its answer comes in through [`Fleet::outcome`], under the same id.
    fn order(&self, id: &str, order: &Order, issuer: &Issuer, timeout: Duration) -> bool;

    /// Gives its device a request in Endrpi's form. The answer comes in through [`Fleet::response`].
    fn action(&self, id: &str, request: &str, issuer: &Issuer, timeout: Duration) -> bool;

    /// Everything of this stream up to this number outlives the hub: the agent may forget it.
    fn stored(&self, stream: &str, seq: u64);

    /// Another agent of the same server has come; this one is to go.
    fn replaced(&self);

    /// Its server is no more; this one is to go.
    fn removed(&self);

    /// Records of it found no room; it is to come again and hand over everything that is not stored.
    fn resend(&self);
}

/// An order on its way: what it is known by, who gave it, and how long it may take.
#[derive(Clone, Debug)]
pub struct Errand {
    /// A UUID, under which it is run once.
    pub id: String,
    pub issuer: Issuer,
    pub timeout: Duration,
}

/// Why something of the fleet was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    #[error("there are {0} servers already, which is hub.servers")]
    Full(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no random numbers or no thread: {0}")]
    System(String),
}

impl From<std::io::Error> for FleetError {
    fn from(error: std::io::Error) -> FleetError {
        FleetError::System(error.to_string())
    }
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderEnd {
    Outcome(Outcome),
    /// The device's answer to a request in Endrpi's form: JSON.
    Response(Box<str>),
    /// There is no such server, or its agent is not connected.
    NotConnected,
    /// Its agent went before it answered; whether it did anything is not known.
    Gone,
    TimedOut,
    /// Too many are under way: which limit, in words for who asked.
    Full(&'static str),
    /// Its agent is of another program, which knows no such order.
    Unsupported,
}

/// Called once with an order's end, from whatever thread has it. It must not wait.
pub type Done = Box<dyn FnOnce(OrderEnd) + Send>;

type Listener = Box<dyn Fn(&Server, &Change) + Send + Sync>;

/// A handle for everyone.
pub struct Fleet {
    hub: Arc<Hub>,
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    limits: config::Hub,
    servers: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
    /// Servers that are being made.
    adding: AtomicUsize,
    seats: AtomicU64,
    pending: Pending,
    timer: Timer,
    listeners: RwLock<Vec<Listener>>,
    worker: Mutex<Option<Worker>>,
}

impl Fleet {
    /// Knows the store's servers on return.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(
        limits: config::Hub,
        hub: Arc<Hub>,
        store: Arc<Store>,
        alerts: Arc<Alerts>,
    ) -> Result<Arc<Fleet>, FleetError> {
        let fleet = Arc::new(Fleet {
            hub,
            store,
            alerts,
            adding: AtomicUsize::new(0),
            seats: AtomicU64::new(1),
            pending: Pending::new(limits.orders_per_server, limits.orders),
            limits,
            servers: RwLock::default(),
            timer: Timer::new(),
            listeners: RwLock::default(),
            worker: Mutex::default(),
        });
        fleet.load();
        let own = Arc::downgrade(&fleet);
        fleet.store.on_kept(move |server_id, stream, seq| {
            if let Some(fleet) = own.upgrade() {
                fleet.stored(server_id, stream, seq);
            }
        });
        let own = Arc::downgrade(&fleet);
        fleet.store.on_room(move |server_id| {
            if let Some(fleet) = own.upgrade() {
                fleet.ask_again(server_id);
            }
        });
        let own = Arc::downgrade(&fleet);
        let wake = fleet.timer.wake();
        let worker = Worker::spawn("fleet", move || timer::run(&own, &wake))?;
        *fleet.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(fleet)
    }

    /// The limits on agents and orders.
    pub fn limits(&self) -> &config::Hub {
        &self.limits
    }

    /// Calls `tell` with every change of a server from now on, without any lock and perhaps from several threads at
    /// once: [`Fleet::server`] says what is true by then. It may wait for the store, not longer.
    pub fn on_change(&self, tell: impl Fn(&Server, &Change) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
    }

    /// Ends every pending order and the thread, within `limit`. That agents go from here on is the hub's doing, and no
    /// news of them.
    pub fn stop(&self, limit: Duration) {
        // Its thread notes when servers were last heard of, which may have to wait for the store.
        self.timer.stop();
        for done in self.pending.all() {
            done(OrderEnd::Gone);
        }
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }

    fn tell(&self, server: &Server, change: &Change) {
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(server, change);
        }
    }

    fn next_seat(&self) -> u64 {
        self.seats.fetch_add(1, Ordering::Relaxed)
    }
}
