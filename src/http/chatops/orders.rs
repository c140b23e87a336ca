//! Orders to agents: commands and containers. `parts` begins with `commands` or `docker`.

use super::super::{Asked, Reply, Rooms};
use super::not_found;

pub fn answer(_rooms: &Rooms, _asked: &Asked, _parts: &[&str]) -> Reply {
    not_found()
}
