//! What became of a server.

use super::AgentInfo;

/// What became of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// Its owner says something else of it; this was its name.
    Changed {
        name: String,
    },
    Removed,
    /// Its agent has come, or another one in its place.
    Connected(Box<AgentInfo>),
    /// Its agent has gone or fallen silent.
    Disconnected,
    /// Its silent agent speaks again.
    Back,
}
