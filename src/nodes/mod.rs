//! Clusters and the machines that are in them: this device, those with an agent, those seen on the network, and those
//! somebody has written down.
//!
//! Facts (an agent has come or gone, the network has shown or lost a machine) are left here by threads that must not
//! wait; the thread `nodes` finds out what they mean, writes what must outlive the process, and tells of it. A fact is a
//! state, not a step: what is not looked at yet is replaced by what came after it, so there is no queue that could
//! overflow. What people ask for (see `ask`) happens in their own thread, one after the other with the facts.
//!
//! How a machine is and when it was last heard of is not written each time (an SD card wears): after a restart nobody
//! has been heard of.

mod ask;
mod facts;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};

pub use ask::Refusal;
use facts::Sightings;
use table::{Changes, Table};

use crate::hub::Hub;
use crate::mdns::{Host, News};
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::store::{Saved, Store, StoreError};
use crate::types::event::{Event, NodeStatus};
use crate::types::fleet::{AgentInfo, Node, NodeFacts, Server};

/// This device's number among the nodes.
pub const OWN: u32 = 1;

/// What the network shows is written so often at once, and then once in so long: strangers must not be able to wear out an
/// SD card. What is not written is known until the daemon ends, and seen again after its next start.
const WRITES_AT_ONCE: u32 = 256;
const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// This device.
pub struct Own {
    pub node_id: Arc<str>,
    pub facts: NodeFacts,
}

/// How a server is now; `None`: there is none of this id any more.
pub type Look = Box<dyn Fn(&str) -> Option<Server> + Send + Sync>;

/// A handle for everyone.
pub struct Nodes {
    hub: Arc<Hub>,
    store: Arc<Store>,
    look: Look,
    /// The server this device is itself, where it is one.
    own_server: OnceLock<String>,
    table: RwLock<Table>,
    /// Held by whoever changes the table, from looking at it until the events are out.
    turn: Mutex<Sightings>,
    pending: Mutex<Pending>,
    bell: Mutex<Option<Sender<()>>>,
    worker: Mutex<Option<Worker>>,
}

/// Facts nobody has looked at yet.
#[derive(Default)]
struct Pending {
    /// By id, with what its agent said when it last came.
    servers: BTreeMap<String, Option<AgentInfo>>,
    /// By the name they are seen under.
    hosts: BTreeMap<String, Option<Host>>,
    /// How this device is.
    own: Option<NodeStatus>,
}

impl Nodes {
    /// Knows what the store has kept. Servers are told of by [`Nodes::server_changed`], which asks `look` later how
    /// they are by then.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(hub: Arc<Hub>, store: Arc<Store>, own: Own, look: Look) -> std::io::Result<Arc<Nodes>> {
        let saved = store.clusters_and_nodes().unwrap_or_else(|error| {
            log::error!("clusters and nodes cannot be read: {error}; the table begins empty");
            Saved::default()
        });
        let (bell, rung) = bounded(1);
        let nodes = Arc::new(Nodes {
            hub,
            store,
            look,
            own_server: OnceLock::new(),
            table: RwLock::new(Table::new(saved)),
            turn: Mutex::default(),
            pending: Mutex::default(),
            bell: Mutex::new(Some(bell)),
            worker: Mutex::default(),
        });
        nodes.know_ourselves(own, clock::wall());
        // Servers may have been removed while this program did not run.
        let servers: Vec<String> = nodes.table().nodes.values().filter_map(|node| node.server_id.clone()).collect();
        servers.iter().for_each(|id| nodes.server_changed(id, None));
        let thread = Arc::clone(&nodes);
        let worker = Worker::spawn("nodes", move || thread.run(&rung))?;
        *nodes.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(nodes)
    }

    /// This device is this server itself; to be said before [`Nodes::server_changed`] of it, once.
    pub fn own_server(&self, id: &str) {
        // Said twice, the first counts.
        let _ = self.own_server.set(id.to_owned());
    }

    /// A server is new, changed or gone, or its agent has come (and said this) or gone. Never waits.
    pub fn server_changed(&self, id: &str, agent: Option<&AgentInfo>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pending.servers.entry(id.to_owned()).or_default();
        if let Some(agent) = agent {
            *known = Some(agent.clone());
        }
        drop(pending);
        self.ring();
    }

    /// The network has shown or lost a machine. Never waits.
    pub fn seen(&self, news: News) {
        let (name, host) = match news {
            News::Found(host) => (host.name.clone(), Some(host)),
            News::Lost { name } => (name, None),
        };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).hosts.insert(name, host);
        self.ring();
    }

    /// This device says of itself how it is; the event of it is not made here. Never waits.
    pub fn own_status(&self, status: NodeStatus) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).own = Some(status);
        self.ring();
    }

    /// Ends the thread, within `limit`.
    pub fn stop(&self, limit: Duration) {
        drop(self.bell.lock().unwrap_or_else(PoisonError::into_inner).take());
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }

    fn run(&self, rung: &Receiver<()>) {
        let mut budget = Budget { left: WRITES_AT_ONCE, at: clock::now() };
        while rung.recv().is_ok() {
            let facts = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(status) = facts.own {
                let _turn = self.turn();
                let own = self.table().nodes.get(&OWN).cloned();
                if let Some(own) = own {
                    self.change_anyhow(Changes::node(Node { status, ..own }));
                }
            }
            for (id, agent) in facts.servers {
                let mut sightings = self.turn();
                let own = self.own_server.get() == Some(&id);
                let server = (self.look)(&id);
                let now = clock::wall();
                let changes = facts::server(&self.table(), &sightings, &id, server.as_ref(), agent.as_ref(), own, now);
                self.change_anyhow(changes);
                sightings.retain(|_, node| self.table().nodes.contains_key(node));
            }
            for (name, host) in facts.hosts {
                let mut sightings = self.turn();
                let changes = match &host {
                    Some(host) => facts::found(&self.table(), &mut sightings, host, clock::wall()),
                    None => facts::lost(&self.table(), &mut sightings, &name),
                };
                let rows = self.table().durable(&changes);
                if rows.nodes.is_empty() || budget.take(clock::now()) {
                    self.change_anyhow(changes);
                } else {
                    self.make_true(changes);
                }
            }
        }
    }

    fn ring(&self) {
        if let Some(bell) = &*self.bell.lock().unwrap_or_else(PoisonError::into_inner) {
            // One that waits is as good as many.
            let _ = bell.try_send(());
        }
    }

    /// This device is the first node, under whatever name it has now.
    fn know_ourselves(&self, own: Own, now: SystemTime) {
        let _turn = self.turn();
        let table = self.table();
        let mut changes = Changes::default();
        let mut node = match table.nodes.get(&OWN) {
            Some(node) => node.clone(),
            None => {
                Node { id: OWN, ..facts::new_node(&table, &own.node_id, NodeStatus::Ready, NodeFacts::default(), now) }
            }
        };
        if let Some(other) = table.node_named(&own.node_id).filter(|other| other.id != OWN) {
            let name = table.free_name(&own.node_id, None);
            changes.nodes.insert(other.id, Some(Node { name, updated_at: now, ..other.clone() }));
        }
        node.name = own.node_id.as_ref().to_owned();
        node.facts = facts::merged(own.facts, node.facts);
        (node.server_id, node.status, node.last_seen) = (None, NodeStatus::Ready, Some(now));
        changes.nodes.insert(OWN, Some(node));
        drop(table);
        self.change_anyhow(changes);
    }

    /// Makes changes true and tells of them, written or not: facts are facts. The caller has the turn.
    fn change_anyhow(&self, changes: Changes) {
        if let Err(error) = self.write(&changes) {
            log::warn!("clusters and nodes: {error}; what has changed is known until the daemon ends");
        }
        self.make_true(changes);
    }

    /// The same, if it can be written. The caller has the turn.
    fn change(&self, changes: Changes) -> Result<(), StoreError> {
        self.write(&changes)?;
        self.make_true(changes);
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let rows = self.table().durable(changes);
        if rows.clusters.is_empty() && rows.nodes.is_empty() {
            return Ok(());
        }
        self.store.keep_clusters_and_nodes(rows)
    }

    fn make_true(&self, changes: Changes) {
        if changes.is_empty() {
            return;
        }
        let events = self.table.write().unwrap_or_else(PoisonError::into_inner).apply(changes);
        let at = clock::wall();
        for body in events {
            self.hub.publish(Event { at, body });
        }
        self.hub.combine();
    }

    fn turn(&self) -> MutexGuard<'_, Sightings> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many writes there may be yet.
struct Budget {
    left: u32,
    /// When it last grew.
    at: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        while self.left < WRITES_AT_ONCE && now.saturating_duration_since(self.at) >= WRITE_INTERVAL {
            self.left += 1;
            self.at += WRITE_INTERVAL;
        }
        if self.left == WRITES_AT_ONCE {
            self.at = now;
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests;
