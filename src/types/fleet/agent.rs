//! What an agent says of itself when it connects.

use std::sync::Arc;

/// Everything an agent told with its authentication; ChatOps' agents tell nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentInfo {
    /// How the device calls itself. The server's name at the hub is the owner's choice.
    pub name: Option<String>,
    /// The version of this program; missing: the agent is of another program.
    pub version: Option<String>,
    /// The kernel's boot id.
    pub boot_id: Option<String>,
    /// The cluster it wants to be in, by name.
    pub cluster: Option<String>,
    /// Streams of records it still has, of this run and of earlier ones.
    pub streams: Vec<Arc<str>>,
    pub node: Option<NodeFacts>,
}

/// The machine an agent runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub ip_address: Option<String>,
    pub mac_address: Option<String>,
    pub model: Option<String>,
    pub architecture: Option<String>,
    pub serial_number: Option<String>,
    pub cpu_cores: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    pub os_version: Option<String>,
    pub kernel_version: Option<String>,
}
