//! Who subscribes, to what, and what others may know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

pub use crate::config::SlowEvents as Slow;
use crate::conn::Conn;
use crate::rt::clock;
use crate::types::event::Dialect;
use crate::types::position::Position;
use crate::types::topic::Pattern;

/// Subscriptions there may be, of all subscribers together.
pub const MAX_SUBSCRIPTIONS: usize = 100_000;

/// A subscriber's number; one connection may be several subscribers (in several dialects).
pub type MemberId = u64;

/// Who subscribes.
pub struct Member {
    pub conn: Arc<Conn>,
    pub dialect: Dialect,
    /// PiCloud's client name; empty elsewhere.
    pub name: String,
    pub since: SystemTime,
    /// Frames to send first, at the moment it joins: whoever has read them is subscribed.
    pub greeting: Vec<u8>,
    /// Send the last `node.status.changed` next: a newcomer cannot have seen it.
    pub replay_status: bool,
    /// What it is subscribed to from the beginning.
    pub patterns: Vec<Pattern>,
    /// Its events carry their position.
    pub positions: bool,
    /// What becomes of events it has no room for. [`Slow::Drop`] is overruled where the configuration says "cut".
    pub slow: Slow,
}

impl Member {
    /// A subscriber since now, without name, greeting or subscriptions.
    pub fn new(conn: &Arc<Conn>, dialect: Dialect) -> Member {
        let slow = match dialect {
            Dialect::Picloud | Dialect::Page => Slow::Cut,
            Dialect::Events | Dialect::Code | Dialect::Endrpi => Slow::Drop,
        };
        Member {
            conn: Arc::clone(conn),
            dialect,
            name: String::new(),
            since: clock::wall(),
            greeting: Vec::new(),
            replay_status: false,
            patterns: Vec::new(),
            positions: false,
            slow,
        }
    }
}

/// What a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Topics with exactly this name (PiCloud).
    Exact(Box<str>),
    /// Topics selected by this pattern.
    Pattern(Pattern),
}

impl Filter {
    /// The one topic it selects, if it is only one.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Filter::Exact(name) => Some(name),
            Filter::Pattern(pattern) => pattern.exact(),
        }
    }

    /// Whether it selects `topic`.
    pub fn selects(&self, topic: &str) -> bool {
        match self {
            Filter::Exact(name) => **name == *topic,
            Filter::Pattern(pattern) => pattern.matches(topic),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Filter::Exact(name) => name,
            Filter::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// There is no room for another subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many subscriptions on this server: at most {MAX_SUBSCRIPTIONS} in all")]
pub struct TooMany;

/// From where a subscription is to begin; without either, from now on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Behind what its client has seen.
    pub since: Option<Position>,
    /// With the last event of each topic first.
    pub last: bool,
}

/// How a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What follows continues from here: from what the client named where that is recovered, else from now.
    pub position: Position,
    /// Whether everything since the named position is there; `None` where none was named.
    pub recovered: Option<bool>,
    /// Events the client has missed, and will get, as of now.
    pub missed: u64,
    /// Last values it will get before anything else.
    pub last: u64,
}

/// One subscriber, as others may see it.
#[derive(Clone, Debug)]
pub struct Presence {
    pub id: MemberId,
    pub name: String,
    pub peer: SocketAddr,
    pub since: SystemTime,
    pub dialect: Dialect,
    /// As written, in the order of their letters.
    pub subscriptions: Vec<String>,
    /// Bytes that wait for it.
    pub backlog: usize,
    /// Events that were dropped for it, so far.
    pub lagged: u64,
}
