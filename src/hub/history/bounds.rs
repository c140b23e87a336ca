//! An event with its number, and how many of them are kept.

use std::sync::Arc;
use std::time::Duration;

use crate::types::event::Event;

/// An event and its number.
#[derive(Clone, Debug)]
pub struct Numbered {
    pub offset: u64,
    pub event: Arc<Event>,
}

/// What of a topic is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub count: usize,
    /// And how old they may be; `None`: any age.
    pub age: Option<Duration>,
}

/// What is kept in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of each topic, unless it has bounds of its own. None at all: there is no history.
    pub each: Bounds,
    pub bytes: usize,
    pub topics: usize,
}
