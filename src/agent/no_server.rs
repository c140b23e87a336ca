//! In the place of the hub's own server where no hub is built in.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::OwnServerRooms;
use crate::config;

/// There is none.
pub struct OwnServer(Infallible);

impl OwnServer {
    /// # Errors
    /// Always; the configuration has seen to it that none is wanted.
    pub fn start(_: &config::Agent, _: OwnServerRooms) -> io::Result<OwnServer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn stop(&self, _: Duration) {
        match self.0 {}
    }
}
