//! Events: facts the daemon saw, and messages its clients published.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::types::line::{Bias, Direction, Level, Pin};

/// One event, made once and shared by everyone who sends it on.
#[derive(Debug)]
pub struct Event {
    /// When it happened (wall clock; a Pi without a clock chip may be wrong about it).
    pub at: SystemTime,
    pub body: Body,
}

/// What happened.
#[derive(Debug)]
pub enum Body {
    /// A line's level or duty changed: by a write, an edge or a simulated input.
    GpioState { resource: Arc<str>, pin: Pin, level: Level, pwm_duty: Option<u8>, edges: Option<Edges> },
    /// Another process took, released or reconfigured a line.
    GpioLine { resource: Arc<str>, pin: Pin, change: LineChange },
    /// A lease ran out, and its lines went to their safe state.
    GpioLease { lease: Box<str>, holder: Arc<str>, lines: Vec<(Arc<str>, Pin)>, reason: &'static str },
    /// This device changed its own state.
    NodeStatus { node_id: Arc<str>, status: NodeStatus },
    /// The daemon logged something at or above the configured level.
    Log { level: log::Level, target: String, message: String },
    /// A client published `data` under the name `event`. Both `action` and `created_at` are the client's own
    /// wish (PiCloud forwards them), already validated.
    Published { event: Box<str>, data: Box<str>, action: Option<Box<str>>, created_at: Option<Box<str>> },
}

/// What the kernel said of the edges behind a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// How many edges this event stands for: one, or more in a summary of a line that changes too fast, or none
    /// where it only tells of a loss.
    pub count: u32,
    /// Over what time, in a summary.
    pub period: Option<Duration>,
    /// Edges known to have been lost since the line's last event.
    pub lost: u32,
    /// CLOCK_MONOTONIC at the last edge, in nanoseconds; the kernel's stamp where it gives one.
    pub monotonic_ns: u64,
    /// The kernel's numbers of the last edge: within the request, and within the line. Character device only.
    pub seqno: Option<(u32, u32)>,
}

/// What another process did with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineChange {
    pub kind: LineChangeKind,
    /// Who holds it now.
    pub consumer: Option<String>,
    pub direction: Option<Direction>,
    pub bias: Option<Bias>,
    pub active_low: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineChangeKind {
    Requested,
    Released,
    Reconfigured,
}

impl LineChangeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            LineChangeKind::Requested => "requested",
            LineChangeKind::Released => "released",
            LineChangeKind::Reconfigured => "reconfigured",
        }
    }
}

/// The forms in which an event is written, one encoding each for all who want that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PiCloud's `/subscribe`.
    Picloud,
    /// Pi-Controller's documented events on `/ws`.
    Events,
    /// The pushes of Pi-Controller's code, for clients that sent its `subscribe`.
    Code,
    /// Endrpi's passive messages.
    Endrpi,
}

impl Dialect {
    /// Every dialect, in the order of their numbers.
    pub const ALL: [Dialect; 4] = [Dialect::Picloud, Dialect::Events, Dialect::Code, Dialect::Endrpi];
}

/// The states this device reports of itself, with Pi-Controller's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    Ready,
    Stopping,
}

impl NodeStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            NodeStatus::Ready => "ready",
            NodeStatus::Stopping => "stopping",
        }
    }
}

impl Event {
    /// The topic subscribers name to get this event.
    pub fn topic(&self) -> &str {
        match &self.body {
            Body::GpioState { .. } => "gpio.state.changed",
            Body::GpioLine { .. } => "gpio.line.changed",
            Body::GpioLease { .. } => "gpio.lease.expired",
            Body::NodeStatus { .. } => "node.status.changed",
            Body::Log { .. } => "system.log.created",
            Body::Published { event, .. } => event,
        }
    }

    /// Whether the daemon itself is the source, not a publishing client.
    pub fn is_fact(&self) -> bool {
        !matches!(self.body, Body::Published { .. })
    }
}
