//! Clusters and nodes, in Pi-Controller's forms. `parts` begins with `clusters` or `nodes`.

use super::super::{Asked, Reply, Rooms};
use super::not_found;

pub fn answer(_rooms: &Rooms, _asked: &Asked, _parts: &[&str]) -> Reply {
    not_found()
}
