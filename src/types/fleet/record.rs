//! What an agent hands over, and how it is numbered so that nothing is missing and nothing is there twice.

use std::sync::Arc;
use std::time::SystemTime;

use super::{LogLine, Sample, words};

words! {
    /// How an agent knows the wall time of a record.
    ClockState {
        /// The kernel said that the clock was synchronised when the record was made.
        Synchronised = "synchronised",
        /// It was not, and has been since, in the same boot: the time was computed from the monotonic clock.
        Corrected = "corrected",
        /// It was not, and nobody has set it right: the time may be years off, the order is not.
        Unsynchronised = "unsynchronised",
    }
}

/// A record's number. Records of one stream are handed over in order, and each is kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run of an agent: a UUID, new at each start.
    pub stream: Arc<str>,
    /// From 1, without holes.
    pub seq: u64,
    /// The kernel's boot id.
    pub boot_id: Option<Arc<str>>,
    /// CLOCK_BOOTTIME when the record was made.
    pub monotonic_ns: Option<u64>,
    pub clock: Option<ClockState>,
}

/// An event of an agent's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvent {
    /// As on the device, such as `gpio.state.changed`.
    pub topic: Box<str>,
    pub at: SystemTime,
    /// The event's `data`, as the device wrote it: JSON.
    pub data: Box<str>,
}

/// What is numbered.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Sample(Box<Sample>),
    Log(LogLine),
    Event(DeviceEvent),
}

/// Who gives an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// A user's or a key's name.
    pub who: String,
    /// The key's id, or the user's.
    pub id: Option<String>,
    /// The address the order came from.
    pub from: String,
}
