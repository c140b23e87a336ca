//! Events: facts the daemon saw, and messages its clients published.

use std::sync::Arc;
use std::time::SystemTime;

use crate::types::line::{Level, Pin};

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
    /// A line's level changed: by a write, an edge or a simulated input.
    GpioState { resource: Arc<str>, pin: Pin, level: Level, pwm_duty: Option<u8> },
    /// This device changed its own state.
    NodeStatus { node_id: Arc<str>, status: NodeStatus },
    /// The daemon logged something at or above the configured level.
    Log { level: log::Level, target: String, message: String },
    /// A client published `data` under the name `event`. Both `action` and `created_at` are the client's own
    /// wish (PiCloud forwards them), already validated.
    Published { event: Box<str>, data: Box<str>, action: Option<Box<str>>, created_at: Option<Box<str>> },
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
