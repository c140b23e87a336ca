//! What an agent says of itself when it connects.

use std::sync::Arc;

use super::NodeFacts;

/// Everything an agent told with its authentication; ChatOps' agents tell nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentInfo {
    /// How the device calls itself. The server's name at the hub is the owner's choice.
    pub name: Option<String>,
    /// The version of this program; missing: the agent is of another program.
    pub version: Option<String>,
    /// The kernel's boot id.
    pub boot_id: Option<String>,
    /// Its CLOCK_BOOTTIME when it said this: by it a record's age is known whatever the two wall clocks say.
    pub monotonic_ns: Option<u64>,
    /// The cluster it wants to be in, by name.
    pub cluster: Option<String>,
    /// Streams of records it still has, of this run and of earlier ones.
    pub streams: Vec<Arc<str>>,
    pub node: Option<NodeFacts>,
}
