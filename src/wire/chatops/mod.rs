//! ChatOps: agents, browsers and REST of a fleet's hub.
//!
//! Two forms of the agent socket are spoken: the documented one, and the one of ChatOps' code (`protocol` decides
//! per connection). `agent` reads what an agent says, `server` writes what it is told; `client` is the other end,
//! for the agent of this program. `browser` is the sockets of the web page, `rest` the bodies of HTTP. `metrics` reads and
//! writes samples in every form. `read` and `write` are the plumbing. Nothing here acts.
//!
//! A message that is not understood gets an error frame whose `message` is [`INVALID_MESSAGE`], as documented, and whose
//! `detail` names the member and what is wrong with it. Unknown members are ignored; `null` is the same as missing.

pub mod agent;
pub mod browser;
pub mod client;
pub mod limit;
mod metrics;
mod protocol;
pub(in crate::wire) mod read;
pub mod rest;
pub mod server;
pub(in crate::wire) mod write;

use crate::types::fleet::Alert;
pub use protocol::Speech;
pub use read::Fault;

/// The documented text for every message that is not understood.
pub const INVALID_MESSAGE: &str = "Invalid message format";

/// The documented text for a key that does not fit; also the reason of the Close frame (code 1008).
pub const INVALID_KEY: &str = "Invalid or inactive API key";

/// The documented form's word for reading a container's log, which the documentation leaves out.
const LOGS_ACTION: &str = "logs";

/// Appends the `data` of an alert's event on `/ws` and its like: the alert as in REST, and its server's name.
pub(in crate::wire) fn alert_event(out: &mut Vec<u8>, server_name: &str, alert: &Alert) {
    let object = write::Object::open(out).text("server_name", server_name);
    object.with("alert", |out| rest::alert(out, alert)).close();
}

/// Why the first message of a socket is no authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAuth {
    /// It is something else, or has no key or token.
    Required,
    /// It is not JSON, or its members make no sense.
    Failed(String),
}
