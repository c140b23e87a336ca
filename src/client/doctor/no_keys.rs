//! In the place of a look at the store's keys where no hub is built in: there are none.

use std::path::Path;

use super::Patient;
use super::report::Finding;
use crate::types::features;

/// For who has no key.
pub const FIX: &str =
    "put one word into a file (`openssl rand -hex 32`), `chmod 600` it and name it in auth.api_key_file";

/// For who may not have meant that everybody is let in.
pub const INSTEAD: &str = "if that is not meant, take it out and name a file with a key in auth.api_key_file";

pub fn database(_: &Path) -> Option<Finding> {
    None
}

pub fn lets_in(_: &Path) -> bool {
    false
}

pub fn look(_: &Patient, _: &Path) -> Finding {
    Finding::problem("key", features::HUB.needed_by("a key in the state directory"), FIX)
}
