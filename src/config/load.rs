//! From what was written to what it means: flag, environment, file, default, in this order.

use std::path::PathBuf;
use std::str::FromStr;

use log::LevelFilter;

use super::access::Access;
use super::source::{ConfigError, Source};
use super::{
    AgentFlags, access, accounts, agent, alerts, built, docker, listen, pins, raw, templates, tls, topics, validate,
};
use super::{
    AuthMode, Backend, Config, ErrorStyle, Front, History, Hub, Passed, Session, SlowEvents, Store, Telemetry,
};
use crate::types::features;

/// The command line of `serve` as typed; everything absent unless given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file; there is none unless named here.
    pub config: Option<PathBuf>,
    /// `HOST:PORT` each; replaces all addresses of environment and file.
    pub listen: Vec<String>,
    pub state_dir: Option<PathBuf>,
    pub gpio: Option<Backend>,
    pub root: Option<PathBuf>,
    pub api_key_file: Option<PathBuf>,
    pub auth: Option<AuthMode>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub log_level: Option<String>,
    pub debug_echo: bool,
    pub debug_actions: bool,
    /// Sockets that are open already.
    pub passed: Vec<Passed>,
    /// Connect to a hub, and listen only where that is said.
    pub agent: Option<AgentFlags>,
}

/// Layers flags, environment and file over the defaults and checks the result.
///
/// The environment is PiCloud's: `PORT`, `API_KEY`, `USE_TLS`, `CERT_FILE`, `KEY_FILE`; an empty variable counts as
/// unset. `ENABLE_INFO_SOCKET` needs no reading, because `/info` is always on.
///
/// # Errors
/// A file that cannot be read, a key or value that is not allowed, settings that contradict each other, or an
/// address reachable from outside without a decision who may come in.
pub fn load(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    match examine(flags, env)? {
        Examined { keyless: Some(why), .. } | Examined { agent_keyless: Some(why), .. } => Err(why),
        Examined { config, .. } => Ok(config),
    }
}

/// A configuration that is good but for keys that are not there, for who wants to look at the rest all the same.
pub struct Examined {
    pub config: Config,
    /// Why there is no key where one is needed; `config.auth` is then [`super::Auth::Stored`].
    pub keyless: Option<ConfigError>,
    /// Why there is no key to show the hub; `config.agent.key` is then empty.
    pub agent_keyless: Option<ConfigError>,
    /// Files with secrets in them, and who names them.
    pub secrets: Vec<(String, PathBuf)>,
}

/// As [`load()`], but goes on where a key is missing or its file cannot be read.
///
/// # Errors
/// As [`load()`], but for keys.
pub fn examine(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Examined, ConfigError> {
    let (file, source) = read(flags)?;
    let written = Written { flags, env, file: &file, source: &source };

    let mut config = Config::default();
    general(&mut config, &written)?;
    access::mode(&written)?;
    let access = access::decide(&written, config.state_dir.is_some(), &mut config.warnings);
    let (access, mut keyless) = access.map_or_else(|why| (Access::Stored, Some(why)), |access| (access, None));
    config.listen = match listen::addresses(&written, &access) {
        Ok(listen) => listen,
        // Refused for want of a key only, if it is fine with one.
        Err(why) => {
            let listen = listen::addresses(&written, &Access::Stored).map_err(|_| why.clone())?;
            keyless = keyless.or(Some(why));
            listen
        }
    };
    config.auth = access.into_auth();
    config.tls = tls::files(&written, &mut config.warnings)?;
    front(&mut config.front, &file.front);
    config.front.debug_echo |= flags.debug_echo;
    session(&mut config.session, &file.session);
    if let Some(style) = file.endrpi.error_style {
        config.endrpi.error_style = match style {
            raw::ErrorStyle::String => ErrorStyle::String,
            raw::ErrorStyle::Object => ErrorStyle::Object,
        };
    }
    set_period(&mut config.picloud.info_interval, file.picloud.info_interval);
    history(&mut config.history, &file.history);
    pins::gpio(&mut config, &written)?;
    pins::keep(&config, &source)?;
    telemetry(&mut config.telemetry, &file.telemetry);
    let reachable = features::MDNS.built_in && listen::is_reachable(&config.listen);
    config.mdns.announce = file.mdns.announce.unwrap_or(reachable);
    config.mdns.discover = file.mdns.discover.unwrap_or(reachable && features::HUB.built_in);
    accounts::accounts(&mut config.accounts, &written)?;
    store(&mut config.store, &file.store);
    alerts::alerts(&mut config.alerts, &written)?;
    templates::commands(&mut config.commands, &written)?;
    docker::docker(&mut config.docker, &written)?;
    hub(&mut config.hub, &file.hub);
    config.topics = topics::topics(&written, config.state_dir.is_some(), &mut config.warnings)?;
    agent::agent(&mut config.agent, &written, &mut config.warnings)?;
    let agent_keyless = agent::key(&mut config.agent, &written, &mut config.warnings).err();
    built::check(&config, &written)?;
    validate::check(&config, &source)?;
    let tls_key = config.tls.as_ref().map(|files| ("tls.key".to_owned(), files.key.clone()));
    let agent_key = agent::key_file(&written).filter(|_| config.agent.hub.is_some());
    let secrets = access::key_file(&written).into_iter().chain(agent_key).chain(tls_key).collect();
    Ok(Examined { config, keyless, agent_keyless, secrets })
}

/// As [`load()`], but only what concerns the lines: the rest keeps its defaults.
///
/// For commands that run beside the daemon, perhaps after it has ended: a line must reach its safe state also where
/// the key file cannot be read, or where `serve` was told on its command line who may come in or where to keep levels.
///
/// # Errors
/// As [`load()`], for the settings it looks at. The whole file must be readable all the same.
pub fn load_lines(flags: &Flags) -> Result<Config, ConfigError> {
    let (file, source) = read(flags)?;
    let written = Written { flags, env: &|_| None, file: &file, source: &source };
    let mut config = Config::default();
    general(&mut config, &written)?;
    pins::gpio(&mut config, &written)?;
    validate::check(&config, &source)?;
    Ok(config)
}

/// As [`load()`], but only the state directory, for commands that open the store beside the daemon.
///
/// # Errors
/// A file that cannot be read, or no state directory in flag and file.
pub fn load_state_dir(flags: &Flags) -> Result<PathBuf, ConfigError> {
    let (file, _) = read(flags)?;
    flags.state_dir.clone().or_else(|| given(&file.state_dir)).ok_or_else(|| {
        let message = "no state directory is named: give --state-dir DIR, or --config FILE with state_dir";
        ConfigError::new("--state-dir", message)
    })
}

fn read(flags: &Flags) -> Result<(raw::File, Source), ConfigError> {
    match &flags.config {
        Some(path) => Source::read(path),
        None => Ok(Default::default()),
    }
}

/// All that was written, and where.
pub(super) struct Written<'a> {
    pub flags: &'a Flags,
    env: &'a dyn Fn(&str) -> Option<String>,
    pub file: &'a raw::File,
    pub source: &'a Source,
}

impl Written<'_> {
    /// An environment variable with something in it.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.is_empty())
    }
}

/// A path in the file that may be left empty for "none".
pub(super) fn given(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

fn general(config: &mut Config, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { flags, file, source, .. } = *written;
    config.state_dir = flags.state_dir.clone().or_else(|| given(&file.state_dir));
    if let Some(root) = flags.root.as_ref().or(file.root.as_ref()) {
        config.root = root.clone();
    }
    if let Some(node_id) = file.node_id.as_ref().filter(|text| !text.is_empty()) {
        config.node_id = node_id.clone();
    }
    if let Some(text) = &flags.log_level {
        config.log_level = level(text, "--log-level".into())?;
    } else if let Some(text) = &file.log_level {
        config.log_level = level(text, source.at("log_level"))?;
    }
    if let Some(text) = &file.log_events {
        config.log_events = level(text, source.at("log_events"))?;
    }
    set_period(&mut config.shutdown_deadline, file.shutdown_deadline);
    config.debug_actions = flags.debug_actions || file.debug_actions.unwrap_or(config.debug_actions);
    Ok(())
}

fn level(text: &str, place: String) -> Result<LevelFilter, ConfigError> {
    LevelFilter::from_str(text).map_err(|_| {
        let message = format!("{text:?} is not a log level, write one of off, error, warn, info, debug, trace");
        ConfigError::new(place, message)
    })
}

fn front(front: &mut Front, file: &raw::Front) {
    set_count(&mut front.max_connections, file.max_connections);
    set_count(&mut front.max_per_address, file.max_per_address);
    set_count(&mut front.head_bytes, file.head_bytes);
    set_period(&mut front.head_deadline, file.head_deadline);
    set_count(&mut front.body_bytes, file.body_bytes);
    set_period(&mut front.body_deadline, file.body_deadline);
    set_period(&mut front.idle_deadline, file.idle_deadline);
    set_period(&mut front.response_deadline, file.response_deadline);
    if let Some(hosts) = &file.hosts {
        front.hosts.clone_from(hosts);
    }
    if let Some(origins) = &file.origins {
        front.origins.clone_from(origins);
    }
    front.debug_echo = file.debug_echo.unwrap_or(front.debug_echo);
}

fn session(session: &mut Session, file: &raw::Session) {
    set_count(&mut session.message_bytes, file.message_bytes);
    set_period(&mut session.message_deadline, file.message_deadline);
    set_period(&mut session.ping_interval, file.ping_interval);
    set_period(&mut session.pong_deadline, file.pong_deadline);
    set_period(&mut session.auth_deadline, file.auth_deadline);
    set_period(&mut session.close_deadline, file.close_deadline);
    set_count(&mut session.backlog_bytes, file.backlog_bytes);
    set_count(&mut session.total_backlog_bytes, file.total_backlog_bytes);
    set_count(&mut session.send_buffer_bytes, file.send_buffer_bytes);
    if let Some(slow_events) = file.slow_events {
        session.slow_events = match slow_events {
            raw::SlowEvents::Drop => SlowEvents::Drop,
            raw::SlowEvents::Cut => SlowEvents::Cut,
        };
    }
}

fn history(history: &mut History, file: &raw::History) {
    set_count(&mut history.count, file.count);
    set_period(&mut history.age, file.age);
    set_count(&mut history.bytes, file.bytes);
    set_count(&mut history.topics, file.topics);
}

fn telemetry(telemetry: &mut Telemetry, file: &raw::Telemetry) {
    set_period(&mut telemetry.max_age, file.max_age);
    telemetry.vcgencmd = given(&file.vcgencmd);
    set_period(&mut telemetry.firmware_interval, file.firmware_interval);
    set_period(&mut telemetry.firmware_deadline, file.firmware_deadline);
}

fn hub(hub: &mut Hub, file: &raw::Hub) {
    hub.own_server = file.own_server.unwrap_or(hub.own_server);
    set_period(&mut hub.auth_deadline, file.auth_deadline);
    set_period(&mut hub.agent_silence, file.agent_silence);
    set_count(&mut hub.message_bytes, file.message_bytes);
    set_count(&mut hub.invalid_messages, file.invalid_messages);
    set_period(&mut hub.order_timeout, file.order_timeout);
    set_period(&mut hub.order_timeout_max, file.order_timeout_max);
    set_count(&mut hub.orders_per_server, file.orders_per_server);
    set_count(&mut hub.orders, file.orders);
    set_count(&mut hub.servers, file.servers);
}

fn store(store: &mut Store, file: &raw::Store) {
    set_period(&mut store.flush_interval, file.flush_interval);
    set_count(&mut store.pending_bytes, file.pending_bytes);
    if let Some(mib) = file.max_mib {
        store.max_bytes = (mib.0 as u64).saturating_mul(1024 * 1024);
    }
    if let Some(mib) = file.durable_mib {
        store.durable_bytes = (mib.0 as u64).saturating_mul(1024 * 1024);
    }
}

pub(super) fn set_count(target: &mut usize, written: Option<raw::Count>) {
    if let Some(count) = written {
        *target = count.0;
    }
}

pub(super) fn set_period(target: &mut std::time::Duration, written: Option<raw::Period>) {
    if let Some(period) = written {
        *target = period.0;
    }
}
