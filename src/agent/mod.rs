//! The agent: this device, connected to a hub.
//!
//! `agent-feed` numbers what the hub is to be told (samples, the device's own events, log lines) and puts it
//! into the spool; `agent-link` has the connection, hands out the spool and takes what the hub says. They share the spool
//! and a bell. `agent-journal` and `agent-files`, where they are wanted, hand log lines to the feed. Nothing of the device depends on the hub: while it is away records are kept, and when it is back they are
//! sent, in order, from where the hub says it has them for good.
//!
//! The hub is asked to prove that it knows the device's key before it is shown that key, and before it is obeyed.

#[cfg(any(feature = "agent", feature = "hub"))]
mod actions;
mod facts;
mod memory;
mod orders;
#[cfg_attr(not(feature = "hub"), path = "no_server.rs")]
mod own;
#[cfg_attr(not(feature = "agent"), path = "none.rs")]
mod remote;

use std::path::PathBuf;
use std::sync::Arc;

use crate::collect::Collector;
use crate::dispatch::Desk;
use crate::fleet::Fleet;
use crate::hub::Hub;
use crate::systemd::Notify;
use crate::types::fleet::Server;
pub use facts::of_this_machine as facts_of_this_machine;
pub use orders::{Orders, Reply};
pub use own::OwnServer;
pub use remote::Agent;

/// What an agent works with.
pub struct Rooms {
    pub hub: Arc<Hub>,
    pub desk: Arc<Desk>,
    pub orders: Arc<Orders>,
    pub collector: Collector,
    pub root: PathBuf,
    pub state_dir: Option<PathBuf>,
    pub node_id: String,
    pub notify: Arc<Notify>,
}

/// What the hub's own server works with.
pub struct OwnServerRooms {
    pub fleet: Arc<Fleet>,
    pub desk: Arc<Desk>,
    pub orders: Arc<Orders>,
    pub collector: Collector,
    pub root: PathBuf,
    /// This machine's server (see [`Fleet::own_server`]).
    pub server: Server,
    /// What the device calls itself.
    pub name: String,
}
