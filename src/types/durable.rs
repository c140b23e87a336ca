//! Durable topics, as the hub and the store speak of them.
//!
//! A durable event is delivered once it is in the database, with the number that it has there: what a subscriber has seen
//! no restart forgets, and what was refused has never been.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;

/// The furthest the hub's sequence runs ahead of what the database reserves; a start takes so many numbers at once, so
/// that none is ever given twice. With 53 bits, which every JSON reader has, that is two million starts.
pub const BLOCK: u64 = 1 << 32;

/// Topics there may be that something durable is kept of.
pub const MOST_TOPICS: usize = 10_000;

/// How long a durable event may wait for the disk before its publisher is told.
pub const KEEP_LIMIT: Duration = Duration::from_secs(5);

/// Events to be kept together, in one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The number of the first; the others follow.
    pub first: u64,
    /// None, where numbers are to be reserved and nothing else.
    pub events: Vec<Arc<Event>>,
    /// These events again, which were kept under other numbers and delivered under none.
    pub instead_of: Option<Range<u64>>,
}

impl Batch {
    /// The numbers of its events.
    pub fn numbers(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.events.len() as u64)
    }
}

/// Why a durable event was not kept, in words for its publisher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Nothing was published.
    #[error("the store is busy ({0}); try again")]
    Busy(String),
    /// Nothing was published.
    #[error("the event was not published: {0}")]
    Unwritable(String),
    #[error(
        "the disk has not said within {} s whether the event is kept; it may still be, and is delivered then",
        KEEP_LIMIT.as_secs()
    )]
    Unknown,
}

/// Where the hub's sequence begins with this start, and what it has of durable topics.
#[derive(Debug, Default)]
pub struct Sequence {
    pub epoch: u64,
    /// The number of the first event.
    pub first: u64,
    pub topics: Vec<Past>,
}

/// What is kept of one topic.
#[derive(Debug)]
pub struct Past {
    pub topic: Box<str>,
    /// The number of the last event that is no longer kept; 0: none was lost.
    pub lost_to: u64,
    /// With their numbers, which grow.
    pub events: Vec<(u64, Arc<Event>)>,
}
