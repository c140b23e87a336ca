//! What the configuration means: one struct per room, all values checked.
//!
//! `raw` holds what was written in the file; [`load()`] layers flags, environment and file in that order over the
//! defaults. It, [`examine()`] and [`load_lines`] are the only ways from them to a [`Config`]. After them, a bad value cannot exist.

mod access;
mod accounts;
mod agent;
mod alerts;
mod built;
mod commands;
mod defaults;
mod docker;
mod gpio;
mod history;
mod hub;
mod in_use;
mod listen;
mod load;
mod passed;
#[cfg_attr(not(feature = "commands"), path = "no_pattern.rs")]
mod pattern;
mod pin_rules;
mod pins;
mod raw;
mod settings;
mod source;
mod templates;
mod tls;
mod topics;
mod validate;

pub use accounts::Accounts;
pub use agent::{Agent, AgentFlags, HubProtocol};
pub use alerts::{Alerts, Blank, Notifier, Part, Webhook};
pub use commands::{Commands, Kind, Limits, Param, Piece, Template, Word};
pub use docker::Docker;
pub use gpio::{Backend, Gpio, Initial, Line, Mode, Safe, SysfsBias};
pub use history::{History, SlowEvents};
pub use hub::Hub;
pub use in_use::{lines_file, lines_in_use, load_safe};
pub use load::{Examined, Flags, examine, load, load_lines, load_state_dir};
pub use passed::Passed;
pub use settings::{Changed, Setting, When, line_table};
pub use source::ConfigError;
pub use topics::Topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; empty only for an agent that nobody is to connect to.
    pub listen: Vec<SocketAddr>,
    /// A directory for what must outlive the process; created at start when set.
    pub state_dir: Option<PathBuf>,
    /// Telemetry is read below this directory (`/` on a real machine).
    pub root: PathBuf,
    /// What goes to stderr.
    pub log_level: log::LevelFilter,
    /// What becomes `system.log.created` events as well.
    pub log_events: log::LevelFilter,
    /// How this device calls itself in events; the host name unless set.
    pub node_id: String,
    /// How long a shutdown may take in all.
    pub shutdown_deadline: Duration,
    /// Answer `DEBUG_PANIC` and `DEBUG_HANG`, for failure tests.
    pub debug_actions: bool,
    pub auth: Auth,
    pub accounts: Accounts,
    pub tls: Option<TlsFiles>,
    pub front: Front,
    pub session: Session,
    pub endrpi: Endrpi,
    pub picloud: Picloud,
    /// What of the topics that clients publish to outlives the process, one entry per pattern.
    pub topics: Vec<Topic>,
    pub gpio: Gpio,
    pub telemetry: Telemetry,
    pub store: Store,
    pub commands: Commands,
    pub docker: Docker,
    pub alerts: Alerts,
    pub mdns: Mdns,
    pub hub: Hub,
    pub history: History,
    pub agent: Agent,
    /// What the operator should hear of, one line each, although it does not keep the daemon from starting.
    pub warnings: Vec<String>,
}

/// Who may come in.
#[derive(Clone)]
pub enum Auth {
    /// Everybody, because the operator said so in words.
    None,
    /// Nobody decided: everybody, on loopback only, until the store in the state directory has a key.
    Undecided,
    /// Whoever shows a key of the store, of which there must be one at the start.
    Stored,
    /// Whoever shows this key, or one of the store's.
    Key(String),
}

/// Never prints the key.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Undecided => "Undecided",
            Auth::Stored => "Stored",
            Auth::Key(_) => "Key(…)",
        })
    }
}

/// What was asked for in words; the [`Auth`] that follows from it also depends on whether there is a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    None,
    Key,
}

/// PEM files, read at start and again on SIGHUP.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The front door's limits.
#[derive(Clone, Debug)]
pub struct Front {
    /// Connections in all; lowered at start to what the descriptor limit allows.
    pub max_connections: usize,
    /// Connections per remote address; loopback is exempt.
    pub max_per_address: usize,
    /// Largest request head, in bytes.
    pub head_bytes: usize,
    /// From accept (and TLS handshake) to the end of the head.
    pub head_deadline: Duration,
    /// Largest HTTP request body, in bytes.
    pub body_bytes: usize,
    /// From the end of the head to the end of the body.
    pub body_deadline: Duration,
    /// A kept-alive HTTP connection with nothing in flight is closed after this.
    pub idle_deadline: Duration,
    /// From a whole HTTP request to progress on its answer.
    pub response_deadline: Duration,
    /// Names (besides IP addresses, `localhost` and this host's own name) the `Host` header may carry; `*` for any.
    pub hosts: Vec<String>,
    /// Web origins (besides the daemon's own) that may connect; `*` for any.
    pub origins: Vec<String>,
    /// Serve `/echo`, for conformance suites.
    pub debug_echo: bool,
}

/// A WebSocket session's limits.
#[derive(Clone, Debug)]
pub struct Session {
    /// Largest inbound message, in bytes.
    pub message_bytes: usize,
    /// From the first byte of a message to its last.
    pub message_deadline: Duration,
    /// Silence after which the daemon sends a ping.
    pub ping_interval: Duration,
    /// Silence after that ping before the peer counts as gone.
    pub pong_deadline: Duration,
    /// From the handshake to the first-message key, where one is required and was not shown before.
    pub auth_deadline: Duration,
    /// From our Close to the end of the connection.
    pub close_deadline: Duration,
    /// Bytes that may wait for one slow client.
    pub backlog_bytes: usize,
    /// Bytes that may wait for all clients together.
    pub total_backlog_bytes: usize,
    /// Kernel send buffer per connection, in bytes (`SO_SNDBUF`).
    pub send_buffer_bytes: usize,
    /// What becomes of events for subscribers of Endrpi's and Pi-Controller's dialects that read too slowly.
    pub slow_events: SlowEvents,
}

/// Endrpi's dialect.
#[derive(Clone, Debug)]
pub struct Endrpi {
    pub error_style: ErrorStyle,
}

/// The shape of `error` in Endrpi's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorStyle {
    /// `"error": "text"`, as Endrpi's documentation says.
    String,
    /// `"error": {"message": "text"}`, as Endrpi's code does.
    Object,
}

/// PiCloud's dialect.
#[derive(Clone, Debug)]
pub struct Picloud {
    /// How often `/info` pushes.
    pub info_interval: Duration,
}

/// Multicast DNS. Both are on by default where the daemon listens on an address that others can reach.
#[derive(Clone, Debug, Default)]
pub struct Mdns {
    /// Announce `_pinwire._tcp` on the network.
    pub announce: bool,
    /// Look for other machines on the network.
    pub discover: bool,
}

/// What outlives the process.
#[derive(Clone, Debug)]
pub struct Store {
    /// Samples, log entries and events wait at most so long before they are written.
    pub flush_interval: Duration,
    /// Bytes of samples, log entries and events that may wait to be written.
    pub pending_bytes: usize,
    /// The database's size above which its oldest points, entries and events go.
    pub max_bytes: u64,
    /// Bytes of durable events, on the disk and in memory, above which the oldest go.
    pub durable_bytes: u64,
}

/// Telemetry.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// A reading younger than this is shared instead of taken again.
    pub max_age: Duration,
    /// The `vcgencmd` program; `None` looks in `PATH`.
    pub vcgencmd: Option<PathBuf>,
    /// How often `vcgencmd` is run while somebody asks for its values.
    pub firmware_interval: Duration,
    /// How long one `vcgencmd` run may take.
    pub firmware_deadline: Duration,
}
