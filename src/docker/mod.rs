//! The Docker Engine API over its Unix socket: list, start, stop, restart, logs, and nothing else.
//!
//! Only containers that the configuration names are there at all; the engine is asked for their names each time, and
//! told only ids of its own. Every call blocks, for at most the configured time.

#[cfg_attr(not(feature = "docker"), path = "none.rs")]
mod engine;

pub use engine::Docker;

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The configuration forbids it; nothing was tried.
    #[error("{0}")]
    Denied(String),
    #[error("no container called '{0}' is there")]
    NoSuchContainer(String),
    /// There is no engine.
    #[error("Docker not available: {0}")]
    Unreachable(String),
    #[error("the Docker engine did not answer in time")]
    Slow,
    /// The engine's own words.
    #[error("{0}")]
    Refused(String),
    #[error("the Docker engine cannot be understood: {0}")]
    Nonsense(String),
}
