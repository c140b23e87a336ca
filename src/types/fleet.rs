//! A fleet's vocabulary: users, servers and their keys, samples, logs, alerts, and what a hub asks of an agent.

use std::time::{Duration, SystemTime};

mod agent;
mod audit;
mod change;
mod cluster;
mod order;
mod record;
mod sample;

pub use agent::AgentInfo;
pub use audit::{AuditEntry, AuditPhase};
pub use change::Change;
pub use cluster::{Cluster, ClusterState, ClusterStatus, ClusterWish, Node, NodeFacts, NodeRole, NodeWish};
pub use order::{ContainerAction, Order, Outcome};
pub use record::{ClockState, DeviceEvent, Issuer, Record, Stamp};
pub use sample::{Container, Cpu, Disk, Interface, Point, Port, Process, Sample, Space, Traffic};

/// An enumeration whose values are words of the protocol.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// Every word, in the protocol's order.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word of the protocol.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $word,)+
                }
            }

            /// The value of exactly this word.
            pub fn from_word(word: &str) -> Option<$name> {
                match word {
                    $($word => Some($name::$value),)+
                    _ => None,
                }
            }
        }
    };
}
use words;

words! {
    /// The two forms of ChatOps' agent socket: as documented, and as its code speaks.
    Protocol {
        /// Flat metrics, `command`, `docker_command`.
        Documented = "documented",
        /// Metrics below `data`, `execute_command`, `start_container`.
        Code = "code",
    }
}

words! {
    ServerStatus {
        Online = "online",
        Offline = "offline",
        /// Its agent has never connected.
        Unknown = "unknown",
    }
}

words! {
    Health {
        Healthy = "healthy",
        Warning = "warning",
        Critical = "critical",
    }
}

words! {
    LogLevel {
        Debug = "debug",
        Info = "info",
        Warning = "warning",
        Error = "error",
        Critical = "critical",
    }
}

impl LogLevel {
    /// The level of a word in any case, with the usual other names.
    pub fn lenient(word: &str) -> Option<LogLevel> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" => LogLevel::Debug,
            "notice" => LogLevel::Info,
            "warn" => LogLevel::Warning,
            "err" => LogLevel::Error,
            "crit" | "fatal" | "alert" | "emerg" | "emergency" => LogLevel::Critical,
            word => LogLevel::from_word(word)?,
        })
    }
}

words! {
    /// Who wrote a log entry.
    LogSource {
        System = "system",
        Agent = "agent",
        Application = "application",
        Alert = "alert",
    }
}

words! {
    /// What an alert or a threshold is about.
    AlertKind {
        Cpu = "cpu",
        Memory = "memory",
        Disk = "disk",
        Network = "network",
        Service = "service",
    }
}

words! {
    Severity {
        Info = "info",
        Warning = "warning",
        Critical = "critical",
    }
}

words! {
    /// What a user may do; each may do what those before it may.
    Role {
        /// Look.
        Viewer = "viewer",
        /// Change servers, send commands.
        Operator = "operator",
        /// Everything, also what belongs to others.
        Admin = "admin",
    }
}

words! {
    /// Why there is an alert, where no threshold is behind it.
    AlertCause {
        /// The agent has not been heard of.
        Offline = "offline",
        /// The firmware reports too little voltage, now.
        UnderVoltage = "under_voltage",
        DiskFull = "disk_full",
        /// The hub's own store works from memory.
        Store = "store",
        ClockNotSynchronised = "clock",
    }
}

words! {
    /// What happened to an alert.
    AlertChange {
        Created = "created",
        Acknowledged = "acknowledged",
        Resolved = "resolved",
    }
}

words! {
    /// How a value is compared with its threshold, strictly.
    Comparison {
        Above = "gt",
        Below = "lt",
    }
}

/// A password, a key or a token: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub email: String,
    pub username: String,
    pub full_name: Option<String>,
    pub is_active: bool,
    pub role: Role,
    pub created_at: SystemTime,
}

/// A machine with an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub id: String,
    /// The user it belongs to; `None`: to the administrators.
    pub owner: Option<String>,
    pub name: String,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// A JSON object of the owner's own, as written.
    pub metadata: Option<Box<str>>,
    pub status: ServerStatus,
    pub health: Health,
    pub last_seen: Option<SystemTime>,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

/// What an agent's key is known by; the key itself is told once and not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub server_id: String,
    pub name: Option<String>,
    pub is_active: bool,
    pub expires_at: Option<SystemTime>,
    pub last_used: Option<SystemTime>,
    pub created_at: SystemTime,
}

/// When a server's metric is worth an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    pub id: String,
    pub server_id: String,
    pub metric: AlertKind,
    /// Percent, for cpu, memory and disk.
    pub value: f64,
    pub comparison: Comparison,
    pub enabled: bool,
    /// How long the value has to be beyond the threshold; zero for at once.
    pub duration: Duration,
    /// How far the value has to come back before the alert is resolved.
    pub hysteresis: f64,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

/// Something a user should look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub id: String,
    pub server_id: String,
    /// Missing where a threshold is behind the alert.
    pub cause: Option<AlertCause>,
    pub threshold_id: Option<String>,
    pub kind: AlertKind,
    pub severity: Severity,
    pub message: String,
    /// Both are missing where no threshold is behind the alert.
    pub threshold: Option<f64>,
    pub current_value: Option<f64>,
    pub created_at: SystemTime,
    pub acknowledged_at: Option<SystemTime>,
    /// Present in resolved alerts only.
    pub resolved_at: Option<SystemTime>,
}

/// One log line as an agent sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    pub message: String,
    /// The agent's clock.
    pub at: Option<SystemTime>,
    pub source: Option<LogSource>,
    /// Unit, program or file.
    pub component: Option<String>,
}

/// One log line as the hub keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub id: String,
    pub server_id: String,
    pub at: SystemTime,
    pub level: LogLevel,
    pub source: LogSource,
    pub component: Option<String>,
    pub message: String,
    /// A JSON object, as written.
    pub extra: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways_and_levels_come_in_any_case() {
        for word in AlertKind::WORDS {
            assert_eq!(AlertKind::from_word(word).map(AlertKind::as_str), Some(*word));
        }
        assert_eq!(Comparison::from_word("GT"), None);
        for (word, level) in [("INFO", LogLevel::Info), ("Warn", LogLevel::Warning), ("fatal", LogLevel::Critical)] {
            assert_eq!(LogLevel::lenient(word), Some(level), "{word}");
        }
        assert_eq!(LogLevel::lenient("loud"), None);
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "(secret)");
    }
}
