//! Events: facts the daemon saw, and messages its clients published.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::types::fleet::{Alert, AlertChange, ClusterState, DeviceEvent, LogEntry, Sample};
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
    /// Another device of the fleet is in another state.
    FleetNode { number: u32, node_id: Arc<str>, ip_address: Box<str>, status: NodeStatus },
    /// A machine was seen on the network that nobody knew.
    NodeDiscovered { node_id: Arc<str>, ip_address: std::net::IpAddr },
    /// A node has become, or is no longer, part of a cluster.
    ClusterNode { added: bool, cluster_id: Arc<str>, node_id: Arc<str>, ip_address: Box<str>, status: NodeStatus },
    /// A cluster's status, or how many of its nodes are ready, has changed.
    Cluster(ClusterState),
    /// An alert was raised, acknowledged or resolved.
    Alert { change: AlertChange, server_name: Arc<str>, alert: Arc<Alert> },
    /// An agent handed over an event of its device; the topic is `agent.<name>.<its topic>`.
    Device { topic: Box<str>, server_id: Arc<str>, event: Arc<DeviceEvent> },
    /// What only a web page that watches one server gets.
    Page { topic: Box<str>, server_id: Arc<str>, news: PageNews },
    /// The daemon logged something at or above the configured level.
    Log { level: log::Level, target: String, message: String },
    /// A client published `data` under the name `event`. Both `action` and `created_at` are the client's own
    /// wish (PiCloud forwards them), already validated.
    Published { event: Box<str>, data: Box<str>, action: Option<Box<str>>, created_at: Option<Box<str>> },
    /// A client came to the hub, or left it.
    Presence { joined: bool, name: Box<str>, address: SocketAddr, dialect: Dialect, since: SystemTime },
}

/// What a web page hears of the server it watches.
#[derive(Debug)]
pub enum PageNews {
    Metrics(Arc<Sample>),
    Log(Arc<LogEntry>),
    Alert(Arc<Alert>),
}

/// The topics of pages that watch one server: `page.<kind>.<server id>`.
pub mod page_topic {
    /// Samples and alerts.
    pub fn metrics(server_id: &str) -> String {
        format!("page.metrics.{server_id}")
    }

    /// Log entries.
    pub fn logs(server_id: &str) -> String {
        format!("page.logs.{server_id}")
    }
}

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Subscribers of facts and of messages.
    Facts,
    /// Those of messages: a client published it.
    Messages,
    /// Web pages that watch a server, and nobody else whatever it subscribes to.
    Pages,
}

impl Audience {
    /// How many there are.
    pub const COUNT: usize = Audience::ALL.len();

    /// Every audience, in the order of their numbers.
    pub const ALL: [Audience; 3] = [Audience::Facts, Audience::Messages, Audience::Pages];
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
    /// ChatOps' web pages.
    Page,
}

impl Dialect {
    /// Every dialect, in the order of their numbers.
    pub const ALL: [Dialect; 5] = [Dialect::Picloud, Dialect::Events, Dialect::Code, Dialect::Endrpi, Dialect::Page];
}

/// The states of a node, with Pi-Controller's words and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// Seen on the network, and no agent of ours.
    Discovered,
    Provisioning,
    /// Its agent is connected and well.
    Ready,
    /// Its agent is connected, and something is wrong with the device.
    NotReady,
    Maintenance,
    Failed,
    /// Its agent is not connected.
    Offline,
    Stopping,
    Unknown,
}

impl NodeStatus {
    const WORDS: [(NodeStatus, &str); 9] = [
        (NodeStatus::Discovered, "discovered"),
        (NodeStatus::Provisioning, "provisioning"),
        (NodeStatus::Ready, "ready"),
        (NodeStatus::NotReady, "not_ready"),
        (NodeStatus::Maintenance, "maintenance"),
        (NodeStatus::Failed, "failed"),
        (NodeStatus::Offline, "offline"),
        (NodeStatus::Stopping, "stopping"),
        (NodeStatus::Unknown, "unknown"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(status, _)| *status == self).map_or("unknown", |(_, word)| word)
    }

    /// The status of exactly this word.
    pub fn from_word(word: &str) -> Option<NodeStatus> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(status, _)| *status)
    }
}

impl Event {
    /// The topic subscribers name to get this event.
    pub fn topic(&self) -> &str {
        match &self.body {
            Body::GpioState { .. } => "gpio.state.changed",
            Body::GpioLine { .. } => "gpio.line.changed",
            Body::GpioLease { .. } => "gpio.lease.expired",
            Body::NodeStatus { .. } | Body::FleetNode { .. } => "node.status.changed",
            Body::NodeDiscovered { .. } => "node.discovered",
            Body::ClusterNode { added: true, .. } => "cluster.node.added",
            Body::ClusterNode { added: false, .. } => "cluster.node.removed",
            Body::Cluster(_) => "cluster.status.changed",
            Body::Alert { change: AlertChange::Created, .. } => "system.alert.created",
            Body::Alert { change: AlertChange::Acknowledged, .. } => "system.alert.acknowledged",
            Body::Alert { change: AlertChange::Resolved, .. } => "system.alert.resolved",
            Body::Device { topic, .. } | Body::Page { topic, .. } => topic,
            Body::Log { .. } => "system.log.created",
            Body::Published { event, .. } => event,
            Body::Presence { joined: true, .. } => "presence.joined",
            Body::Presence { joined: false, .. } => "presence.left",
        }
    }

    /// The bytes of memory it costs to keep it, about; never fewer than its texts have.
    pub fn weight(&self) -> usize {
        let texts = match &self.body {
            Body::Published { event, data, action, created_at } => {
                event.len()
                    + data.len()
                    + [action, created_at].into_iter().flatten().map(|text| text.len()).sum::<usize>()
            }
            Body::Device { topic, event, .. } => {
                size_of::<DeviceEvent>() + topic.len() + event.topic.len() + event.data.len()
            }
            Body::Log { target, message, .. } => target.len() + message.len(),
            Body::Alert { alert, .. } => size_of::<Alert>() + 160 + alert.message.len(),
            Body::GpioLease { lease, lines, .. } => lease.len() + lines.len() * size_of::<(Arc<str>, Pin)>(),
            Body::GpioLine { change, .. } => change.consumer.as_ref().map_or(0, String::len),
            Body::Presence { name, .. } => name.len(),
            Body::Page { topic, .. } => topic.len(),
            _ => 64,
        };
        // With the two counts of the Arc around it.
        size_of::<Event>() + 2 * size_of::<usize>() + texts
    }

    /// Whom it is for.
    pub fn audience(&self) -> Audience {
        match self.body {
            Body::Published { .. } => Audience::Messages,
            Body::Page { .. } => Audience::Pages,
            _ => Audience::Facts,
        }
    }
}
