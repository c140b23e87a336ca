//! The description of the sockets, `/asyncapi.yaml`: every channel and message of every dialect. It is written by hand,
//! and held against the daemon by `tests/asyncapi.rs`.

use crate::types::features;

const TEXT: &str = include_str!("asyncapi.yaml");

/// Lines that stand around what only a hub has.
const HUB_BEGINS: &str = "# hub begins";
const HUB_ENDS: &str = "# hub ends";

/// Makes the document. Asked for rarely, so it is not kept.
pub fn document() -> String {
    let mut out = String::with_capacity(TEXT.len());
    let mut hubs = false;
    for line in TEXT.lines() {
        match line {
            HUB_BEGINS => hubs = true,
            HUB_ENDS => hubs = false,
            _ if hubs && !features::HUB.built_in => {}
            line => {
                out.push_str(&line.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
                out.push('\n');
            }
        }
    }
    out
}
