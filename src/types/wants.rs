//! What a client may ask for with a subscription, beside the topics.

use super::position::Position;

/// Nothing, unless a client asks: so the seeds' clients see the frames they know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// What was missed since then.
    pub since: Option<Position>,
    /// The last event of each topic.
    pub last: bool,
    /// Events with their position.
    pub position: bool,
}

impl Wants {
    /// Whether anything is asked for: then there is an answer, and events carry their position.
    pub fn any(self) -> bool {
        self.since.is_some() || self.last || self.position
    }
}

/// What such a subscription is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What follows continues from here.
    pub position: Position,
    /// Whether everything since the named position follows; only where one was named.
    pub recovered: Option<bool>,
    /// How many events that is, as of now.
    pub missed: u64,
}
