//! Clusters and nodes as they are now, and what changes of them are events. Pure: no store, no clock.
//!
//! Whoever wants a change makes [`Changes`] out of what is there; [`Table::apply`] makes them true and finds out what
//! that means: each event tells of a difference between before and after, so none is told twice.

use std::collections::{BTreeMap, BTreeSet};

use super::OWN;
use crate::store::{Rows, Saved};
use crate::types::event::{Body, NodeStatus};
use crate::types::fleet::{Cluster, ClusterState, ClusterStatus, Node};

#[derive(Default)]
pub struct Table {
    pub clusters: BTreeMap<u32, Cluster>,
    pub nodes: BTreeMap<u32, Node>,
    last_cluster: u32,
    last_node: u32,
    /// What was last told of each cluster.
    told: BTreeMap<u32, ClusterState>,
}

/// Rows as they are to be; `None` removes one.
#[derive(Debug, Default)]
pub struct Changes {
    pub clusters: BTreeMap<u32, Option<Cluster>>,
    pub nodes: BTreeMap<u32, Option<Node>>,
}

impl Changes {
    pub fn node(node: Node) -> Changes {
        Changes { nodes: [(node.id, Some(node))].into(), ..Changes::default() }
    }

    pub fn cluster(cluster: Cluster) -> Changes {
        Changes { clusters: [(cluster.id, Some(cluster))].into(), ..Changes::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.nodes.is_empty()
    }
}

impl Table {
    /// What the store has kept. Nobody has been heard of yet.
    pub fn new(saved: Saved) -> Table {
        let nodes = saved.nodes.into_iter().map(|mut node| {
            node.status = match node.status {
                kept @ (NodeStatus::Maintenance | NodeStatus::Failed | NodeStatus::Provisioning) => kept,
                _ if node.server_id.is_some() => NodeStatus::Offline,
                _ => NodeStatus::Unknown,
            };
            (node.id, node)
        });
        let mut table = Table {
            nodes: nodes.collect(),
            clusters: saved.clusters.into_iter().map(|cluster| (cluster.id, cluster)).collect(),
            last_cluster: saved.last_cluster,
            last_node: saved.last_node,
            told: BTreeMap::new(),
        };
        table.last_cluster = table.clusters.keys().copied().fold(table.last_cluster, u32::max);
        table.last_node = table.nodes.keys().copied().fold(table.last_node, u32::max);
        let all: BTreeSet<u32> = table.clusters.keys().copied().collect();
        table.settle(&all);
        table
    }

    /// The number the next node gets, if the change that uses it is applied.
    pub fn next_node(&self) -> u32 {
        self.last_node.saturating_add(1)
    }

    pub fn next_cluster(&self) -> u32 {
        self.last_cluster.saturating_add(1)
    }

    pub fn cluster_named(&self, name: &str) -> Option<&Cluster> {
        self.clusters.values().find(|cluster| cluster.name == name)
    }

    pub fn node_named(&self, name: &str) -> Option<&Node> {
        self.nodes.values().find(|node| node.name == name)
    }

    pub fn members(&self, cluster: u32) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.cluster_id == Some(cluster))
    }

    /// This name, or the first free one made of it, for a node that is not `except`.
    pub fn free_name(&self, name: &str, except: Option<u32>) -> String {
        let taken = |name: &str| self.nodes.values().any(|node| node.name == name && Some(node.id) != except);
        let numbered = (2..).map(|n: u32| format!("{name}-{n}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    /// What the store has to know of these changes: all but who was last heard of when, and how they are.
    pub fn durable(&self, changes: &Changes) -> Rows {
        let clusters = changes.clusters.iter().map(|(id, after)| (*id, after.clone()));
        let nodes = changes.nodes.iter().filter(|(id, after)| match (self.nodes.get(id), after) {
            (Some(before), Some(after)) => {
                let of_today = (after.status, after.last_seen, after.updated_at);
                let operators = |status| matches!(status, NodeStatus::Maintenance | NodeStatus::Failed);
                let (status, last_seen, updated_at) = of_today;
                let same = Node { status, last_seen, updated_at, ..before.clone() } == *after;
                !same || (before.status != status && (operators(before.status) || operators(status)))
            }
            _ => true,
        });
        Rows { clusters: clusters.collect(), nodes: nodes.map(|(id, after)| (*id, after.clone())).collect() }
    }

    /// Makes the changes true, and says what has happened by them.
    pub fn apply(&mut self, changes: Changes) -> Vec<Body> {
        let mut events = Vec::new();
        let mut touched: BTreeSet<u32> = changes.clusters.keys().copied().collect();
        let mut removed = Vec::new();
        for (id, cluster) in changes.clusters {
            self.last_cluster = self.last_cluster.max(id);
            match cluster {
                Some(cluster) => drop(self.clusters.insert(id, cluster)),
                None => removed.push(id),
            }
        }
        for (id, after) in changes.nodes {
            self.last_node = self.last_node.max(id);
            let before = self.nodes.get(&id);
            touched.extend(before.and_then(|node| node.cluster_id));
            touched.extend(after.as_ref().and_then(|node| node.cluster_id));
            self.tell(before, after.as_ref(), &mut events);
            match after {
                Some(node) => drop(self.nodes.insert(id, node)),
                None => drop(self.nodes.remove(&id)),
            }
        }
        for id in removed {
            self.clusters.remove(&id);
            self.told.remove(&id);
        }
        events.extend(self.settle(&touched));
        events
    }

    /// The events of one node's change.
    fn tell(&self, before: Option<&Node>, after: Option<&Node>, events: &mut Vec<Body>) {
        if let Some(node) = after.filter(|node| node.id != OWN && before.map(|b| b.status) != Some(node.status)) {
            let address = node.facts.ip_address.as_deref();
            match (before, node.status, address.and_then(|text| text.parse().ok())) {
                (None, NodeStatus::Discovered, Some(ip_address)) => {
                    events.push(Body::NodeDiscovered { node_id: node.name.as_str().into(), ip_address });
                }
                // Somebody has only written it down.
                (None, NodeStatus::Unknown, _) => {}
                _ => events.push(Body::FleetNode {
                    number: node.id,
                    node_id: node.name.as_str().into(),
                    ip_address: address.unwrap_or_default().into(),
                    status: node.status,
                }),
            }
        }
        let member = |added, node: &Node| {
            let cluster = self.clusters.get(&node.cluster_id?)?;
            Some(Body::ClusterNode {
                added,
                cluster_id: cluster.name.as_str().into(),
                node_id: node.name.as_str().into(),
                ip_address: node.facts.ip_address.as_deref().unwrap_or_default().into(),
                status: node.status,
            })
        };
        let of = |node: Option<&Node>| node.and_then(|node| node.cluster_id);
        if of(before) != of(after) {
            events.extend(before.and_then(|node| member(false, node)));
            events.extend(after.and_then(|node| member(true, node)));
        }
    }

    /// Works out how these clusters are, and tells of those that are otherwise than told.
    fn settle(&mut self, clusters: &BTreeSet<u32>) -> Vec<Body> {
        let mut events = Vec::new();
        for id in clusters {
            let (mut nodes_total, mut nodes_ready, mut missing) = (0, 0, false);
            for node in self.members(*id) {
                nodes_total += 1;
                match node.status {
                    NodeStatus::Ready => nodes_ready += 1,
                    NodeStatus::NotReady | NodeStatus::Failed | NodeStatus::Offline | NodeStatus::Unknown => {
                        missing = true
                    }
                    _ => {}
                }
            }
            let Some(cluster) = self.clusters.get_mut(id) else { continue };
            // Any other status is an operator's word.
            if matches!(cluster.status, ClusterStatus::Active | ClusterStatus::Degraded) {
                cluster.status = if missing { ClusterStatus::Degraded } else { ClusterStatus::Active };
            }
            let state =
                ClusterState { id: *id, name: cluster.name.clone(), status: cluster.status, nodes_ready, nodes_total };
            let before = self.told.insert(*id, state.clone());
            // A new one without nodes is as it was made.
            if before.map_or(nodes_total > 0, |before| before != state) {
                events.push(Body::Cluster(state));
            }
        }
        events
    }
}
