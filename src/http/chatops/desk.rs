//! Where a request about the fleet is answered: who asks, and which server it is about.

use super::super::{Asked, Reply, Rooms};
use super::{detail, invalid, not_stored, unknown, who};
use crate::auth::Principal;
use crate::fleet::FleetError;
use crate::types::fleet::Server;
use crate::wire::chatops::rest;

/// See the module's text.
pub struct Desk<'a> {
    pub rooms: &'a Rooms,
    pub asked: &'a Asked,
    pub who: Principal,
}

impl<'a> Desk<'a> {
    /// For people and programs, not for agents: their keys open nothing here.
    ///
    /// # Errors
    /// The 401 or 429.
    pub fn new(rooms: &'a Rooms, asked: &'a Asked) -> Result<Desk<'a>, Reply> {
        match who(rooms, asked)? {
            Principal::Agent { .. } => Err(unknown()),
            who => Ok(Desk { rooms, asked, who }),
        }
    }

    /// The server of this id, if it is there for who asks.
    ///
    /// # Errors
    /// The 422 or 404.
    pub fn server(&self, id: &str) -> Result<Server, Reply> {
        let id = rest::path_id("server_id", id).map_err(invalid)?;
        let found = self.rooms.fleet.server(&id).filter(|server| self.who.may_see(server.owner.as_deref()));
        found.ok_or_else(no_server)
    }

    /// # Errors
    /// The 403 of who may only look.
    pub fn may_change(&self) -> Result<(), Reply> {
        if self.who.may_change() { Ok(()) } else { Err(not_permitted()) }
    }

    /// # Errors
    /// The 403 of a user who may only look. What a key may do is said by its scopes, and was looked at.
    pub fn may_order(&self) -> Result<(), Reply> {
        match &self.who {
            Principal::User { .. } => self.may_change(),
            _ => Ok(()),
        }
    }
}

pub fn no_server() -> Reply {
    detail(404, "Server not found")
}

fn not_permitted() -> Reply {
    detail(403, "Not enough permissions")
}

/// What could not be done with the fleet.
pub fn not_done(error: &FleetError) -> Reply {
    match error {
        FleetError::Store(error) => not_stored(error),
        FleetError::Full(_) => detail(409, &error.to_string()),
        FleetError::System(_) => detail(500, &error.to_string()),
    }
}
