//! In the place of ChatOps' REST where no hub is built in: nothing is there below `/api/v1`.

use super::{Asked, Reply, Rooms};

/// Nothing is, so that those paths are unknown as any others.
pub fn serves(_: &str) -> bool {
    false
}

pub fn answer(_: &Rooms, _: &Asked) -> Reply {
    super::endrpi::detail(404, "Not Found")
}
