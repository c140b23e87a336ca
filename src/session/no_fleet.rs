//! In the place of the fleet's sockets where no hub is built in: there are none.

use std::convert::Infallible;
use std::sync::Arc;

use super::{Conversation, Host};
use crate::conn::Conn;

/// None of them comes.
pub struct FleetKind(Infallible);

impl FleetKind {
    /// As told where there is no such socket.
    pub const PATHS: &str = " and /info";

    pub fn at(_: &str, _: Option<&str>, _: Option<&str>) -> Option<FleetKind> {
        None
    }

    pub(super) fn open(self, _: &Arc<Host>, _: &Arc<Conn>) -> Box<dyn Conversation> {
        match self.0 {}
    }
}
