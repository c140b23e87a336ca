//! What facts mean for the table: who was seen on the network, and whose agent has come or gone. Pure.

use std::collections::HashMap;
use std::time::SystemTime;

use super::OWN;
use super::table::{Changes, Table};
use crate::mdns::Host;
use crate::types::event::NodeStatus;
use crate::types::fleet::{AgentInfo, Cluster, ClusterStatus, Health, Node, NodeFacts, NodeRole, Server, ServerStatus};
use crate::types::mac::Mac;

/// Machines that are kept of those only seen on the network. One more takes the place of one that is not there any
/// more, or is not kept.
pub const MAX_DISCOVERED: usize = 256;

pub const MAX_NODES: usize = 4096;
pub const MAX_CLUSTERS: usize = 1000;

/// The longest name of a node or a cluster, in characters.
pub const NAME_CHARS: usize = 100;

/// Under which names machines are seen on the network now, and which nodes they are.
pub type Sightings = HashMap<String, u32>;

pub fn found(table: &Table, sightings: &mut Sightings, host: &Host, now: SystemTime) -> Changes {
    let known = sightings.get(&host.name).and_then(|id| table.nodes.get(id));
    let known = known.filter(|node| may_be(node, host.mac_address)).or_else(|| same_machine(table, host));
    let Some(node) = known else { return discovered(table, sightings, host, now) };
    sightings.insert(host.name.clone(), node.id);
    if node.id == OWN {
        return Changes::default();
    }
    let mut node = Node { last_seen: Some(now), ..node.clone() };
    let (ip, mac) = (host.ip_address.to_string(), host.mac_address.map(|mac| mac.to_string()));
    let facts = node.facts.clone();
    node.facts.mac_address = mac.or(facts.mac_address);
    if node.server_id.is_none() {
        node.facts.ip_address = Some(ip);
        if matches!(node.status, NodeStatus::Unknown | NodeStatus::Offline) {
            node.status = NodeStatus::Discovered;
        }
    } else {
        node.facts.ip_address = facts.ip_address.or(Some(ip));
    }
    Changes::node(node)
}

pub fn lost(table: &Table, sightings: &mut Sightings, name: &str) -> Changes {
    let Some(id) = sightings.remove(name) else { return Changes::default() };
    let there = sightings.values().any(|other| *other == id);
    match table.nodes.get(&id).filter(|node| !there && node.status == NodeStatus::Discovered) {
        Some(node) => Changes::node(Node { status: NodeStatus::Unknown, ..node.clone() }),
        None => Changes::default(),
    }
}

/// A machine that nobody knew.
fn discovered(table: &Table, sightings: &mut Sightings, host: &Host, now: SystemTime) -> Changes {
    let strangers: Vec<&Node> = table.nodes.values().filter(|node| is_stranger(node)).collect();
    let mut changes = Changes::default();
    if strangers.len() >= MAX_DISCOVERED || table.nodes.len() >= MAX_NODES {
        let gone = strangers.into_iter().filter(|node| node.status == NodeStatus::Unknown);
        match gone.min_by_key(|node| node.last_seen) {
            Some(longest_gone) => drop(changes.nodes.insert(longest_gone.id, None)),
            None => {
                log::debug!("'{}' is not kept: {MAX_DISCOVERED} machines of the network are there already", host.name);
                return changes;
            }
        }
    }
    let facts = NodeFacts {
        ip_address: Some(host.ip_address.to_string()),
        mac_address: host.mac_address.map(|mac| mac.to_string()),
        ..NodeFacts::default()
    };
    let node = new_node(table, &host.name, NodeStatus::Discovered, facts, now);
    sightings.insert(host.name.clone(), node.id);
    changes.nodes.insert(node.id, Some(node));
    changes
}

/// Only ever seen on the network: nobody has given it a place.
fn is_stranger(node: &Node) -> bool {
    node.id != OWN
        && node.server_id.is_none()
        && node.cluster_id.is_none()
        && matches!(node.status, NodeStatus::Discovered | NodeStatus::Unknown)
}

pub fn new_node(table: &Table, name: &str, status: NodeStatus, facts: NodeFacts, now: SystemTime) -> Node {
    Node {
        id: table.next_node(),
        name: table.free_name(name, None),
        status,
        role: NodeRole::Worker,
        facts,
        cluster_id: None,
        server_id: None,
        last_seen: Some(now),
        created_at: now,
        updated_at: now,
    }
}

/// Whether a node may have this hardware address: not where it is known to have another.
fn may_be(node: &Node, mac: Option<Mac>) -> bool {
    match (node.facts.mac_address.as_deref().and_then(Mac::parse), mac) {
        (Some(own), Some(other)) => own == other,
        _ => true,
    }
}

/// The node that is this machine: by its hardware address, else by its IP address, else by its name.
fn same_machine<'t>(table: &'t Table, host: &Host) -> Option<&'t Node> {
    let ip = host.ip_address.to_string();
    let has_mac = |node: &&Node| host.mac_address.is_some() && node_mac(node) == host.mac_address;
    let has_ip = |node: &&Node| node.facts.ip_address.as_deref() == Some(&ip) && may_be(node, host.mac_address);
    let has_name = |node: &&Node| node.name == host.name && node.id != OWN && may_be(node, host.mac_address);
    let nodes = || table.nodes.values();
    nodes().find(has_mac).or_else(|| nodes().find(has_ip)).or_else(|| nodes().find(has_name))
}

fn node_mac(node: &Node) -> Option<Mac> {
    node.facts.mac_address.as_deref().and_then(Mac::parse)
}

/// What has become of a server: as it is now, or gone; and what its agent said when it last came.
pub fn server(
    table: &Table,
    sightings: &Sightings,
    id: &str,
    server: Option<&Server>,
    agent: Option<&AgentInfo>,
    own: bool,
    now: SystemTime,
) -> Changes {
    let node = table.nodes.values().find(|node| node.server_id.as_deref() == Some(id));
    let node = node.or_else(|| table.nodes.get(&OWN).filter(|_| own));
    let Some(server) = server else {
        return node.map(|node| left(node, sightings, now)).unwrap_or_default();
    };
    let told = agent.and_then(|agent| agent.node.clone()).unwrap_or_default();
    let node = node.or_else(|| unclaimed(table, &told));
    // A server whose agent has never come is no machine yet.
    if node.is_none() && (server.status == ServerStatus::Unknown || table.nodes.len() >= MAX_NODES) {
        return Changes::default();
    }
    let name = agent.and_then(|agent| agent.name.as_deref()).filter(|name| is_name(name)).unwrap_or(&server.name);
    let mut node =
        node.cloned().unwrap_or_else(|| new_node(table, name, NodeStatus::Unknown, NodeFacts::default(), now));
    node.server_id = Some(id.to_owned());
    node.facts = merged(told, node.facts);
    let host = server.host.as_deref().filter(|host| host.parse::<std::net::IpAddr>().is_ok());
    node.facts.ip_address = node.facts.ip_address.or(host.map(str::to_owned));
    if node.id != OWN {
        if agent.is_some() {
            node.name = table.free_name(name, Some(node.id));
        }
        // An operator who has taken it out of service puts it back.
        if node.status != NodeStatus::Maintenance {
            node.status = status(server);
        }
    }
    if server.status == ServerStatus::Online {
        node.last_seen = Some(now);
    } else {
        node.last_seen = server.last_seen.or(node.last_seen);
    }
    let mut changes = Changes::default();
    if let Some(cluster) = agent.and_then(|agent| agent.cluster.as_deref()).filter(|name| is_name(name)) {
        match table.cluster_named(cluster) {
            Some(known) => node.cluster_id = Some(known.id),
            None if table.clusters.len() < MAX_CLUSTERS => {
                let made = new_cluster(table, cluster, "", now);
                node.cluster_id = Some(made.id);
                changes.clusters.insert(made.id, Some(made));
            }
            None => log::warn!("'{}' cannot join '{cluster}': there are {MAX_CLUSTERS} clusters already", node.name),
        }
    }
    if table.nodes.get(&node.id) != Some(&node) {
        changes.nodes.insert(node.id, Some(node));
    }
    changes
}

pub fn new_cluster(table: &Table, name: &str, description: &str, now: SystemTime) -> Cluster {
    Cluster {
        id: table.next_cluster(),
        name: name.to_owned(),
        description: description.to_owned(),
        status: ClusterStatus::Active,
        created_at: now,
        updated_at: now,
    }
}

/// Its server is no more: what is left is a machine on the network, or nothing.
fn left(node: &Node, sightings: &Sightings, now: SystemTime) -> Changes {
    if node.id == OWN {
        return Changes::node(Node { server_id: None, updated_at: now, ..node.clone() });
    }
    if sightings.values().any(|seen| *seen == node.id) {
        let status = NodeStatus::Discovered;
        return Changes::node(Node { server_id: None, status, updated_at: now, ..node.clone() });
    }
    Changes { nodes: [(node.id, None)].into(), ..Changes::default() }
}

/// The node without a server that is the machine of which an agent tells these facts.
fn unclaimed<'t>(table: &'t Table, told: &NodeFacts) -> Option<&'t Node> {
    let mac = told.mac_address.as_deref().and_then(Mac::parse);
    let free = || table.nodes.values().filter(|node| node.id != OWN && node.server_id.is_none());
    free().find(|node| mac.is_some() && node_mac(node) == mac).or_else(|| {
        free().find(|node| told.ip_address.is_some() && node.facts.ip_address == told.ip_address && may_be(node, mac))
    })
}

fn status(server: &Server) -> NodeStatus {
    match (server.status, server.health) {
        (ServerStatus::Online, Health::Critical) => NodeStatus::NotReady,
        (ServerStatus::Online, _) => NodeStatus::Ready,
        (ServerStatus::Offline, _) => NodeStatus::Offline,
        (ServerStatus::Unknown, _) => NodeStatus::Unknown,
    }
}

/// What was told now, and where that says nothing, what was known before.
pub fn merged(now: NodeFacts, before: NodeFacts) -> NodeFacts {
    let mac = now.mac_address.as_deref().and_then(Mac::parse).map(|mac| mac.to_string());
    NodeFacts {
        ip_address: now.ip_address.or(before.ip_address),
        mac_address: mac.or(before.mac_address),
        architecture: now.architecture.or(before.architecture),
        model: now.model.or(before.model),
        serial_number: now.serial_number.or(before.serial_number),
        cpu_cores: now.cpu_cores.or(before.cpu_cores),
        memory: now.memory.or(before.memory),
        os_version: now.os_version.or(before.os_version),
        kernel_version: now.kernel_version.or(before.kernel_version),
    }
}

/// Whether something can be called this.
pub fn is_name(name: &str) -> bool {
    let count = name.chars().count();
    (1..=NAME_CHARS).contains(&count) && name.trim() == name && !name.chars().any(char::is_control)
}
