//! Alerts and thresholds.

use super::super::{Asked, Reply, Rooms};
use super::not_found;

pub fn answer(_rooms: &Rooms, _asked: &Asked, _rest: &[&str]) -> Reply {
    not_found()
}
