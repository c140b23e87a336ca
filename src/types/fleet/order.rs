//! What a hub asks of an agent, and what comes of it.

use super::words;

words! {
    ContainerAction {
        Start = "start",
        Stop = "stop",
        Restart = "restart",
    }
}

/// Something an agent is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Command {
        command: String,
    },
    Container {
        action: ContainerAction,
        container_id: String,
        /// How long a stopping container has before it is killed, in seconds.
        timeout: Option<u32>,
    },
    /// The last `tail` lines of a container's log.
    ContainerLogs {
        container_id: String,
        tail: u32,
    },
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A command ran, whatever its exit code.
    Command {
        /// Both output streams, in the order of their coming.
        output: String,
        /// Whether `output` is only its beginning.
        truncated: bool,
        /// -1: killed by a signal.
        exit_code: i32,
        duration_ms: Option<u64>,
    },
    /// A container was started, stopped or restarted; the documented form does not say which.
    Container { action: Option<ContainerAction>, container_id: Option<String>, message: Option<String> },
    ContainerLogs {
        container_id: Option<String>,
        lines: Vec<String>,
        /// Whether lines before these were cut off.
        truncated: bool,
    },
    /// It was tried and went wrong.
    Failed { message: String },
    /// The agent's own rules forbid it: nothing was tried.
    Denied { message: String },
    /// The agent answered with something that is no outcome.
    Unexpected,
}
