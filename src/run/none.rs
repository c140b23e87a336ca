//! In the runner's place where it is not built in: every command is denied, and the reply says why.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::Watcher;
use crate::config::Commands;
use crate::types::features;

/// No arguments are a keeper's or a launcher's.
pub fn inner_main(_: &[std::ffi::OsString]) -> Option<u8> {
    None
}

/// There is none.
#[derive(Clone, Debug)]
pub struct Ready(Infallible);

impl Ready {
    #[must_use]
    pub fn within(self, _: Option<Duration>) -> Ready {
        self
    }
}

/// Runs nothing.
pub struct Runner;

impl Runner {
    /// # Errors
    /// None.
    pub fn start(_: &Commands, _: &Path) -> io::Result<Runner> {
        Ok(Runner)
    }

    /// Nothing is allowed, before or after.
    pub fn replace(&self, _: &Commands) -> bool {
        true
    }

    pub fn enabled(&self) -> bool {
        false
    }

    /// # Errors
    /// Always.
    pub fn check(&self, _: &str) -> Result<Ready, String> {
        Err(features::COMMANDS.needed_by("running commands on this machine"))
    }

    pub fn run(&self, ready: Ready, _: Box<dyn Watcher>) {
        match ready.0 {}
    }

    pub fn stop(&self, _: Duration) {}
}
