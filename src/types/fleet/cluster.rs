//! Clusters and nodes, with Pi-Controller's words.

use std::time::SystemTime;

use super::words;
use crate::types::event::NodeStatus;

words! {
    ClusterStatus {
        Pending = "pending",
        Provisioning = "provisioning",
        Active = "active",
        Degraded = "degraded",
        Maintenance = "maintenance",
        Failed = "failed",
    }
}

words! {
    NodeRole {
        Master = "master",
        Worker = "worker",
    }
}

/// A named group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: u32,
    pub name: String,
    pub description: String,
    pub status: ClusterStatus,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

/// How a cluster is, with what its members come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    pub id: u32,
    pub name: String,
    pub status: ClusterStatus,
    pub nodes_ready: usize,
    pub nodes_total: usize,
}

/// What a machine says of itself, or is known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub ip_address: Option<String>,
    /// As written; see [`Mac`](crate::types::mac::Mac) for what it means.
    pub mac_address: Option<String>,
    pub architecture: Option<String>,
    pub model: Option<String>,
    pub serial_number: Option<String>,
    pub cpu_cores: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    pub os_version: Option<String>,
    pub kernel_version: Option<String>,
}

/// A machine of the fleet, or one that was only seen on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: u32,
    /// The `node_id` of events.
    pub name: String,
    pub status: NodeStatus,
    pub role: NodeRole,
    pub facts: NodeFacts,
    pub cluster_id: Option<u32>,
    /// The server whose agent runs on it.
    pub server_id: Option<String>,
    pub last_seen: Option<SystemTime>,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

/// What is to be of a cluster; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterWish {
    pub name: Option<String>,
    pub description: Option<String>,
    pub status: Option<ClusterStatus>,
}

/// What is to be of a node; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeWish {
    pub name: Option<String>,
    pub status: Option<NodeStatus>,
    pub role: Option<NodeRole>,
    pub facts: NodeFacts,
}
