//! What holds where nothing was said. `systemd/pinwire.toml` shows the same values; a test compares them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::{
    Accounts, Agent, Alerts, Auth, Backend, Commands, Config, Docker, Endrpi, ErrorStyle, Front, Gpio, History, Hub,
    Mdns, Picloud, Session, SlowEvents, Store, SysfsBias, Telemetry,
};
use crate::types::line::Pin;

/// The port Endrpi's and PiCloud's clients expect.
pub(super) const PORT: u16 = 9000;

const MIB: usize = 1024 * 1024;

/// All defaults; nothing is read but the host's name.
impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            state_dir: None,
            root: PathBuf::from("/"),
            log_level: LevelFilter::Info,
            log_events: LevelFilter::Warn,
            node_id: host_name(),
            shutdown_deadline: Duration::from_secs(5),
            debug_actions: false,
            auth: Auth::Undecided,
            accounts: Accounts::default(),
            tls: None,
            front: Front::default(),
            session: Session::default(),
            endrpi: Endrpi { error_style: ErrorStyle::String },
            picloud: Picloud { info_interval: Duration::from_secs(5) },
            topics: Vec::new(),
            gpio: Gpio::default(),
            telemetry: Telemetry::default(),
            mdns: Mdns::default(),
            store: Store::default(),
            commands: Commands::default(),
            docker: Docker::default(),
            alerts: Alerts::default(),
            hub: Hub::default(),
            history: History::default(),
            agent: Agent::default(),
            warnings: Vec::new(),
        }
    }
}

impl Default for Gpio {
    fn default() -> Gpio {
        // The EEPROM of add-on boards answers on these two.
        let eeprom = [0, 1].into_iter().filter_map(Pin::new).collect();
        Gpio {
            backend: Backend::Auto,
            chip: None,
            lines: BTreeMap::new(),
            allow: None,
            deny: eeprom,
            edge_events: 50,
            sysfs_bias: SysfsBias::Refuse,
            software_pwm_limit: 200,
        }
    }
}

impl Default for Front {
    fn default() -> Front {
        Front {
            max_connections: 4000,
            max_per_address: 64,
            head_bytes: 8192,
            head_deadline: Duration::from_secs(5),
            body_bytes: 65536,
            body_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(30),
            response_deadline: Duration::from_secs(30),
            hosts: Vec::new(),
            origins: Vec::new(),
            debug_echo: false,
        }
    }
}

impl Default for Session {
    fn default() -> Session {
        Session {
            message_bytes: 65536,
            message_deadline: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_deadline: Duration::from_secs(8),
            auth_deadline: Duration::from_secs(5),
            close_deadline: Duration::from_secs(2),
            backlog_bytes: 262_144,
            total_backlog_bytes: 16 * MIB,
            send_buffer_bytes: 65536,
            slow_events: SlowEvents::Drop,
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store {
            flush_interval: Duration::from_secs(60),
            pending_bytes: 8 * MIB,
            max_bytes: 256 * MIB as u64,
            durable_bytes: 8 * MIB as u64,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry {
            max_age: Duration::from_millis(100),
            vcgencmd: None,
            firmware_interval: Duration::from_secs(5),
            firmware_deadline: Duration::from_secs(3),
        }
    }
}

/// What the kernel calls this host; an event needs some name, so a nameless host is called `pinwire`.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "pinwire".into() } else { name }
}
