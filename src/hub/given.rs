//! What the hub is given: by the wiring, by the operator, and by publishers who want to know.

use super::history::Bounds;
use super::member::Slow;
use crate::config;
use crate::types::durable::NotKept;
use crate::types::event::{Dialect, Event};
use crate::types::position::{Epoch, Lagged, Position};
use crate::types::topic::Pattern;

/// Writes whole WebSocket frames in one dialect; given by the wiring, so that the hub knows no JSON.
#[derive(Clone, Copy)]
pub struct Encode {
    /// An event; with its position for those who have asked for positions.
    pub event: fn(Dialect, &Event, Option<Position>, &mut Vec<u8>),
    /// What somebody is told for whom events were dropped.
    pub lagged: fn(Dialect, &Lagged, &mut Vec<u8>),
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    pub history: config::History,
    pub slow_events: Slow,
}

/// Where the sequence of an earlier run goes on; see [`super::Hub::begin`].
pub struct Origin {
    pub epoch: Epoch,
    /// The first number of this run: larger than any that was ever given out under this epoch.
    pub next: u64,
    /// Topics whose events outlive the process. A position of before this start is recovered for these alone.
    pub kept: Vec<(Pattern, Bounds)>,
}

/// What became of an event whose publisher wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    pub position: Position,
    /// It is on disk.
    pub durable: bool,
}

/// Hears what became of an event, under the hub's lock: it must not wait, and not call the hub.
pub type Ack = Box<dyn FnOnce(Result<Acked, NotKept>) + Send>;
