//! In the place of `over_tls.rs` where TLS is not built in.

use crate::explore::Tests;

pub const TESTS: Tests = &[];

pub fn prepare() -> Option<()> {
    None
}
