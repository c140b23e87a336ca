//! Running a command: templates, limits, and whatever it starts.
//!
//! Three processes of one binary: the daemon, a **keeper** that is the parent of one command and of all it leaves
//! behind, and the **launcher** that takes its limits and its user and then becomes the command. Nothing of it needs
//! `unsafe`, root or a cgroup; as root, the command cannot touch its keeper.

#[cfg_attr(not(feature = "commands"), path = "none.rs")]
mod runner;

use crate::types::fleet::Outcome;
pub use runner::{Ready, Runner, inner_main};

/// The daemon's own program, also after it has been replaced on the disk.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Follows one command.
pub trait Watcher: Send {
    /// Its turn has come.
    ///
    /// # Errors
    /// What came of it instead: it is not started.
    fn starting(&mut self) -> Result<(), Outcome> {
        Ok(())
    }

    /// What it has printed since, where it takes longer than a second; `offset` is in bytes.
    fn output(&mut self, offset: usize, text: &str) {
        let _ = (offset, text);
    }

    /// It has ended, or there is nothing to wait for.
    fn ended(self: Box<Self>, outcome: Outcome);
}
