//! Clusters and nodes, with Pi-Controller's words.

use std::time::SystemTime;

use super::words;

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

/// A machine of the fleet, or one that was only seen on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: u32,
    /// The `node_id` of events.
    pub name: String,
    pub ip_address: Option<String>,
    pub mac_address: Option<String>,
    pub status: crate::types::event::NodeStatus,
    pub role: NodeRole,
    pub architecture: Option<String>,
    pub model: Option<String>,
    pub serial_number: Option<String>,
    pub cpu_cores: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    pub cluster_id: Option<u32>,
    pub os_version: Option<String>,
    pub kernel_version: Option<String>,
    /// The server whose agent runs on it.
    pub server_id: Option<String>,
    pub last_seen: Option<SystemTime>,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}
