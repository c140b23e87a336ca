//! The configuration file as written: every key optional, unknown keys refused, no meaning yet.
//!
//! A declaration per section; `tables` fills them, and the small types in `values` read one value each and say in plain
//! words what to write instead of a value of the wrong kind.

mod agent;
mod alerts;
mod commands;
mod gpio;
mod tables;
mod values;

pub(super) use agent::{Agent, HubProtocol};
pub(super) use alerts::Alerts;
pub(super) use commands::{Commands, Docker, Kind, Param, Template};
pub(super) use gpio::{Backend, Bias, Edge, Gpio, GpioPin, Initial, Mode, Safe, SysfsBias};
pub(super) use tables::fill;
pub(super) use values::{Count, LineOrName, OnDisconnect, OneOrMore, OrEmpty, Period};

use std::collections::BTreeMap;
use std::path::PathBuf;

use tables::{table, words};

table! {
    pub(super) struct File {
        pub listen: Option<OneOrMore>,
        pub state_dir: Option<PathBuf>,
        pub root: Option<PathBuf>,
        pub node_id: Option<String>,
        pub log_level: Option<String>,
        pub log_events: Option<String>,
        pub shutdown_deadline: Option<Period>,
        pub debug_actions: Option<bool>,
        pub auth: Auth,
        pub tls: Tls,
        pub front: Front,
        pub session: Session,
        pub endrpi: Endrpi,
        pub picloud: Picloud,
        pub topics: BTreeMap<String, Topic>,
        pub history: History,
        pub gpio: Gpio,
        pub telemetry: Telemetry,
        pub mdns: Mdns,
        pub store: Store,
        pub alerts: Alerts,
        pub commands: Commands,
        pub docker: Docker,
        pub hub: Hub,
        pub agent: Agent,
    }
}

table! {
    pub(super) struct Auth {
        /// Text, not a choice of words: the error would print a key written here by mistake.
        pub mode: Option<String>,
        pub api_key_file: Option<PathBuf>,
        pub first_key_file: Option<PathBuf>,
        pub open_registration: Option<bool>,
        pub access_token_life: Option<Period>,
        pub refresh_token_life: Option<Period>,
    }
}

table! {
    pub(super) struct Tls {
        pub cert: Option<PathBuf>,
        pub key: Option<PathBuf>,
    }
}

table! {
    pub(super) struct Front {
        pub max_connections: Option<Count>,
        pub max_per_address: Option<Count>,
        pub head_bytes: Option<Count>,
        pub head_deadline: Option<Period>,
        pub body_bytes: Option<Count>,
        pub body_deadline: Option<Period>,
        pub idle_deadline: Option<Period>,
        pub response_deadline: Option<Period>,
        pub hosts: Option<Vec<String>>,
        pub origins: Option<Vec<String>>,
        pub debug_echo: Option<bool>,
    }
}

table! {
    pub(super) struct Session {
        pub message_bytes: Option<Count>,
        pub message_deadline: Option<Period>,
        pub ping_interval: Option<Period>,
        pub pong_deadline: Option<Period>,
        pub auth_deadline: Option<Period>,
        pub close_deadline: Option<Period>,
        pub backlog_bytes: Option<Count>,
        pub total_backlog_bytes: Option<Count>,
        pub send_buffer_bytes: Option<Count>,
        pub slow_events: Option<SlowEvents>,
    }
}

words! {
    pub(super) enum SlowEvents {
        Drop = "drop",
        Cut = "cut",
    }
}

table! {
    pub(super) struct History {
        pub count: Option<Count>,
        pub age: Option<Period>,
        pub bytes: Option<Count>,
        pub topics: Option<Count>,
    }
}

table! {
    pub(super) struct Endrpi {
        pub error_style: Option<ErrorStyle>,
    }
}

words! {
    pub(super) enum ErrorStyle {
        String = "string",
        Object = "object",
    }
}

table! {
    pub(super) struct Picloud {
        pub info_interval: Option<Period>,
    }
}

table! {
    pub(super) struct Telemetry {
        pub max_age: Option<Period>,
        pub vcgencmd: Option<PathBuf>,
        pub firmware_interval: Option<Period>,
        pub firmware_deadline: Option<Period>,
    }
}

table! {
    pub(super) struct Mdns {
        pub announce: Option<bool>,
        pub discover: Option<bool>,
    }
}

table! {
    pub(super) struct Hub {
        pub own_server: Option<bool>,
        pub auth_deadline: Option<Period>,
        pub agent_silence: Option<Period>,
        pub message_bytes: Option<Count>,
        pub invalid_messages: Option<Count>,
        pub order_timeout: Option<Period>,
        pub order_timeout_max: Option<Period>,
        pub orders_per_server: Option<Count>,
        pub orders: Option<Count>,
        pub servers: Option<Count>,
    }
}

table! {
    pub(super) struct Store {
        pub flush_interval: Option<Period>,
        pub pending_bytes: Option<Count>,
        pub max_mib: Option<Count>,
        pub durable_mib: Option<Count>,
    }
}

table! {
    #[like("a table such as { durable = true }")]
    pub(super) struct Topic {
        pub durable: Option<bool>,
        pub keep: Option<Count>,
        pub keep_for: Option<Period>,
    }
}
