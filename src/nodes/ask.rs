//! What people ask for: clusters and nodes looked at, made, changed and removed. Each is done, written and told of on
//! return, or refused and nothing has changed.

use std::net::IpAddr;

use super::facts::{self, MAX_CLUSTERS, MAX_NODES, NAME_CHARS};
use super::table::{Changes, Table};
use super::{Nodes, OWN};
use crate::rt::clock;
use crate::store::StoreError;
use crate::types::event::NodeStatus;
use crate::types::fleet::{Cluster, ClusterWish, Node, NodeFacts, NodeWish};
use crate::types::mac::Mac;

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0}")]
    Missing(&'static str),
    /// A member that cannot be as it was given.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

pub const NO_CLUSTER: Refusal = Refusal::Missing("Cluster not found");
pub const NO_NODE: Refusal = Refusal::Missing("Node not found");

impl Nodes {
    /// All clusters, by number.
    pub fn clusters(&self) -> Vec<Cluster> {
        self.table().clusters.values().cloned().collect()
    }

    /// By number, else by name.
    pub fn cluster(&self, id: &str) -> Option<Cluster> {
        cluster(&self.table(), id).cloned()
    }

    /// The nodes in a cluster, by number.
    pub fn members(&self, cluster: u32) -> Vec<Node> {
        self.table().members(cluster).cloned().collect()
    }

    /// All nodes, by number.
    pub fn all(&self) -> Vec<Node> {
        self.table().nodes.values().cloned().collect()
    }

    /// By number, else by name.
    pub fn node(&self, id: &str) -> Option<Node> {
        node(&self.table(), id).cloned()
    }

    /// # Errors
    /// A name that is none or taken, too many clusters, or the store.
    pub fn add_cluster(&self, wish: &ClusterWish) -> Result<Cluster, Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let name = wish.name.as_deref().unwrap_or_default();
        check_cluster_name(&table, name, None)?;
        if table.clusters.len() >= MAX_CLUSTERS {
            return Err(Refusal::Conflict(format!("there are {MAX_CLUSTERS} clusters already: delete one first")));
        }
        let mut cluster =
            facts::new_cluster(&table, name, wish.description.as_deref().unwrap_or_default(), clock::wall());
        cluster.status = wish.status.unwrap_or(cluster.status);
        drop(table);
        self.change(Changes::cluster(cluster.clone()))?;
        Ok(cluster)
    }

    /// # Errors
    /// No such cluster, a name that is none or taken, or the store.
    pub fn change_cluster(&self, id: &str, wish: &ClusterWish) -> Result<Cluster, Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let mut cluster = cluster(&table, id).ok_or(NO_CLUSTER)?.clone();
        if let Some(name) = &wish.name {
            check_cluster_name(&table, name, Some(cluster.id))?;
            cluster.name.clone_from(name);
        }
        if let Some(description) = &wish.description {
            cluster.description.clone_from(description);
        }
        cluster.status = wish.status.unwrap_or(cluster.status);
        cluster.updated_at = clock::wall();
        drop(table);
        let id = cluster.id;
        self.change(Changes::cluster(cluster))?;
        self.table().clusters.get(&id).cloned().ok_or(NO_CLUSTER)
    }

    /// Its nodes are in none afterwards.
    ///
    /// # Errors
    /// No such cluster, or the store.
    pub fn remove_cluster(&self, id: &str) -> Result<(), Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let id = cluster(&table, id).ok_or(NO_CLUSTER)?.id;
        let left = table.members(id).map(|node| (node.id, Some(Node { cluster_id: None, ..node.clone() })));
        let changes = Changes { nodes: left.collect(), clusters: [(id, None)].into() };
        drop(table);
        Ok(self.change(changes)?)
    }

    /// Puts a node into a cluster; it leaves the one it was in, and one that is there already stays.
    ///
    /// # Errors
    /// No such cluster or node, or the store.
    pub fn join(&self, cluster_id: &str, node_id: &str) -> Result<Node, Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let cluster = cluster(&table, cluster_id).ok_or(NO_CLUSTER)?;
        let node = node(&table, node_id).ok_or(NO_NODE)?;
        if node.cluster_id == Some(cluster.id) {
            return Ok(node.clone());
        }
        let node = Node { cluster_id: Some(cluster.id), updated_at: clock::wall(), ..node.clone() };
        drop(table);
        self.change(Changes::node(node.clone()))?;
        Ok(node)
    }

    /// Takes a node out of a cluster.
    ///
    /// # Errors
    /// No such cluster, no such node in it, or the store.
    pub fn part(&self, cluster_id: &str, node_id: &str) -> Result<(), Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let cluster = cluster(&table, cluster_id).ok_or(NO_CLUSTER)?;
        let node = node(&table, node_id).filter(|node| node.cluster_id == Some(cluster.id)).ok_or(NO_NODE)?;
        let node = Node { cluster_id: None, updated_at: clock::wall(), ..node.clone() };
        drop(table);
        Ok(self.change(Changes::node(node))?)
    }

    /// # Errors
    /// Something that is missing, wrong or taken, too many nodes, or the store.
    pub fn add_node(&self, wish: &NodeWish) -> Result<Node, Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let name = wish.name.as_deref().unwrap_or_default();
        let facts = check_node(&table, name, &wish.facts, None)?;
        if table.nodes.len() >= MAX_NODES {
            return Err(Refusal::Conflict(format!("there are {MAX_NODES} nodes already: delete one first")));
        }
        let mut node = facts::new_node(&table, name, wish.status.unwrap_or(NodeStatus::Unknown), facts, clock::wall());
        node.role = wish.role.unwrap_or(node.role);
        node.last_seen = None;
        drop(table);
        self.change(Changes::node(node.clone()))?;
        Ok(node)
    }

    /// # Errors
    /// No such node, something that is wrong or taken or the machine's own to say, or the store.
    pub fn change_node(&self, id: &str, wish: &NodeWish) -> Result<Node, Refusal> {
        let _turn = self.turn();
        let table = self.table();
        let mut node = node(&table, id).ok_or(NO_NODE)?.clone();
        let name = wish.name.as_deref().unwrap_or(&node.name);
        let itself = node.id == OWN || node.server_id.is_some();
        if itself && name != node.name {
            return Err(Refusal::Conflict("the name is the machine's own: change it in its configuration".into()));
        }
        let taken_out = [node.status, wish.status.unwrap_or(node.status)].contains(&NodeStatus::Maintenance);
        if itself && wish.status.is_some_and(|status| status != node.status) && (node.id == OWN || !taken_out) {
            return Err(Refusal::Conflict(
                "the status is the machine's own to say; only into maintenance and back it can be put".into(),
            ));
        }
        let facts = check_node(&table, name, &wish.facts, Some(node.id))?;
        node.name = name.to_owned();
        node.facts = facts::merged(facts, node.facts);
        node.role = wish.role.unwrap_or(node.role);
        node.status = wish.status.unwrap_or(node.status);
        node.updated_at = clock::wall();
        drop(table);
        self.change(Changes::node(node.clone()))?;
        if let Some(server) = node.server_id.as_deref().filter(|_| node.status != NodeStatus::Maintenance) {
            // Back in service it is as it really is.
            self.server_changed(server, None);
        }
        Ok(node)
    }

    /// # Errors
    /// No such node, one that is this device or has an agent, or the store.
    pub fn remove_node(&self, id: &str) -> Result<(), Refusal> {
        let mut sightings = self.turn();
        let table = self.table();
        let node = node(&table, id).ok_or(NO_NODE)?;
        if node.id == OWN {
            return Err(Refusal::Conflict("this is the device itself".into()));
        }
        if node.server_id.is_some() {
            return Err(Refusal::Conflict("the node has an agent: delete its server instead".into()));
        }
        let id = node.id;
        drop(table);
        self.change(Changes { nodes: [(id, None)].into(), ..Changes::default() })?;
        sightings.retain(|_, node| *node != id);
        Ok(())
    }
}

fn cluster<'t>(table: &'t Table, id: &str) -> Option<&'t Cluster> {
    let numbered = id.parse().ok().and_then(|id: u32| table.clusters.get(&id));
    numbered.or_else(|| table.cluster_named(id))
}

fn node<'t>(table: &'t Table, id: &str) -> Option<&'t Node> {
    let numbered = id.parse().ok().and_then(|id: u32| table.nodes.get(&id));
    numbered.or_else(|| table.node_named(id))
}

fn check_cluster_name(table: &Table, name: &str, own: Option<u32>) -> Result<(), Refusal> {
    check_name(name)?;
    match table.cluster_named(name).filter(|other| Some(other.id) != own) {
        Some(_) => Err(Refusal::Conflict("Cluster with this name already exists".into())),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if facts::is_name(name) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "'name' has 1 to {NAME_CHARS} characters, none of them a control character, and no space at its ends"
    )))
}

/// The facts as they are kept, if they can be.
fn check_node(table: &Table, name: &str, facts: &NodeFacts, own: Option<u32>) -> Result<NodeFacts, Refusal> {
    check_name(name)?;
    let mut facts = facts.clone();
    if let Some(text) = &facts.ip_address {
        let ip: IpAddr = text.parse().map_err(|_| Refusal::Invalid("'ip_address' is no IP address".into()))?;
        facts.ip_address = Some(ip.to_string());
    }
    if let Some(text) = &facts.mac_address {
        let mac = Mac::parse(text).filter(|mac| mac.is_somebodys());
        let mac = mac
            .ok_or_else(|| Refusal::Invalid("'mac_address' is no hardware address such as b8:27:eb:00:00:01".into()))?;
        facts.mac_address = Some(mac.to_string());
    }
    for other in table.nodes.values().filter(|other| Some(other.id) != own) {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let what = if other.name == name {
            "name"
        } else if same(&other.facts.ip_address, &facts.ip_address) {
            "IP address"
        } else if same(&other.facts.mac_address, &facts.mac_address) {
            "MAC address"
        } else {
            continue;
        };
        return Err(Refusal::Conflict(format!("Node with this {what} already exists")));
    }
    Ok(facts)
}
