//! What clients ask of outputs beyond a level: leases, sequences, and the report of a line with all of it.

use std::sync::Arc;
use std::time::Duration;

use super::line::{Level, LineState, Pin};

/// "Keep these lines as I set them while I live."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWish {
    /// Each once; never empty.
    pub pins: Vec<Pin>,
    /// How long the lease holds without being renewed.
    pub lease: Duration,
    /// How long after that (or after its holder's connection ended) the lines keep their levels.
    pub grace: Duration,
    /// What others are told of the holder; its address unless given.
    pub holder: Option<String>,
}

/// A lease as granted or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: String,
    pub pins: Vec<Pin>,
    pub lease: Duration,
    pub grace: Duration,
}

/// Levels at a time after the sequence's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub levels: Vec<(Pin, Level)>,
}

/// Levels over time, run on the device. Never empty; the steps are in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub steps: Vec<Step>,
    /// From one round's start to the next one's; at least the last step's time.
    pub period: Duration,
    /// How many rounds; `None` until it is cancelled.
    pub rounds: Option<u32>,
}

impl Sequence {
    /// From the start to the last step; `None` for one without end.
    pub fn duration(&self) -> Option<Duration> {
        let last = self.steps.last().map_or(Duration::ZERO, |step| step.at);
        self.rounds.map(|rounds| self.period * rounds.saturating_sub(1) + last)
    }

    /// Every line it sets, once.
    pub fn pins(&self) -> Vec<Pin> {
        let mut pins: Vec<Pin> = self.steps.iter().flat_map(|step| step.levels.iter().map(|(pin, _)| *pin)).collect();
        pins.sort_unstable();
        pins.dedup();
        pins
    }
}

/// A sequence that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub id: String,
    /// `None` for one without end.
    pub duration: Option<Duration>,
}

/// Edges of one line since the daemon took it: `rising`, `falling` and `lost` together are all there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounters {
    pub rising: u64,
    pub falling: u64,
    /// Known to have been lost before the daemon saw them. Those it saw and could not tell are not among them.
    pub lost: u64,
    /// Told in summaries instead of one by one.
    pub summarised: u64,
}

/// All that is known of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineReport {
    pub pin: Pin,
    /// What its events call it.
    pub resource: Arc<str>,
    pub state: LineState,
    /// Whether the daemon holds it.
    pub held: bool,
    /// Whether clients may touch it.
    pub allowed: bool,
    /// Where it goes when nobody answers for it, in the configuration's word.
    pub safe: &'static str,
    /// Who leases it.
    pub leased_by: Option<Arc<str>>,
    /// The sequence that plays on it.
    pub sequence: Option<String>,
    pub edges: EdgeCounters,
}
