//! `[agent]`: the hub this device belongs to, and what it is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::load::{Written, given, set_count, set_period};
use super::source::ConfigError;
use super::{access, raw, validate};
use crate::types::fingerprint::Fingerprint;
use crate::types::topic::Pattern;

/// What `pinwire agent` has on its command line; it beats the file.
#[derive(Clone, Debug, Default)]
pub struct AgentFlags {
    pub hub: Option<String>,
    pub key_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub pin: Option<String>,
    pub name: Option<String>,
}

/// This device as an agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Agent {
    /// The hub's URL; `None`: there is no hub.
    pub hub: Option<String>,
    /// The key the hub knows this device by; empty without a hub.
    pub key: String,
    /// Where its file was named, for an error: `--key-file`, or `pinwire.toml:9: agent.key_file`.
    pub key_place: String,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Trust exactly this certificate or public key.
    pub pin: Option<Fingerprint>,
    /// What the device calls itself; `None`: as its node id.
    pub name: Option<String>,
    /// The cluster it wants to be in.
    pub cluster: Option<String>,
    pub protocol: HubProtocol,
    /// From one sample to the next.
    pub metrics_interval: Duration,
    /// Bytes of records kept in memory.
    pub spool_ram: usize,
    /// Bytes of records kept in files, where there is a state directory.
    pub spool_bytes: usize,
    /// Topics that are told the hub.
    pub forward: Vec<Pattern>,
    /// Let the hub use this device's own actions.
    pub actions: bool,
    /// Tell the hub the journal.
    pub journal: bool,
    /// Tell the hub what is appended to these files.
    pub log_files: Vec<PathBuf>,
}

/// What the hub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubProtocol {
    /// One of this program: it has to prove that it knows the key before it is shown.
    Pinwire,
    /// ChatOps: shown the key at once, and obeyed in nothing.
    Chatops,
}

impl Default for Agent {
    fn default() -> Agent {
        let forward = ["gpio.**", "system.**", "node.**"];
        Agent {
            hub: None,
            key: String::new(),
            key_place: "agent.key_file".to_owned(),
            ca: None,
            pin: None,
            name: None,
            cluster: None,
            protocol: HubProtocol::Pinwire,
            metrics_interval: Duration::from_secs(5),
            spool_ram: 4 << 20,
            spool_bytes: 16 << 20,
            forward: forward.into_iter().filter_map(|pattern| Pattern::new(pattern).ok()).collect(),
            actions: true,
            journal: false,
            log_files: Vec::new(),
        }
    }
}

/// Never prints the key.
impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("hub", &self.hub)
            .field("ca", &self.ca)
            .field("pin", &self.pin)
            .field("name", &self.name)
            .field("cluster", &self.cluster)
            .field("protocol", &self.protocol)
            .field("metrics_interval", &self.metrics_interval)
            .field("spool_ram", &self.spool_ram)
            .field("spool_bytes", &self.spool_bytes)
            .field("forward", &self.forward)
            .field("actions", &self.actions)
            .field("journal", &self.journal)
            .field("log_files", &self.log_files)
            .finish_non_exhaustive()
    }
}

/// # Errors
/// A value that makes no sense.
pub(super) fn agent(agent: &mut Agent, written: &Written<'_>, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let Written { file, source, .. } = *written;
    let (flags, file) = (written.flags.agent.as_ref(), &file.agent);
    let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let at = |flag: bool, key: &str, name: &str| if flag { name.to_owned() } else { source.at(key) };

    agent.hub = flags.and_then(|flags| flags.hub.clone()).or_else(|| text(&file.hub));
    agent.ca = flags.and_then(|flags| flags.ca.clone()).or_else(|| given(&file.ca));
    agent.name = flags.and_then(|flags| flags.name.clone()).or_else(|| text(&file.name));
    agent.cluster = text(&file.cluster);
    let pin_flag = flags.and_then(|flags| flags.pin.clone());
    if let Some(pin) = pin_flag.clone().or_else(|| text(&file.pin)) {
        let place = at(pin_flag.is_some(), "agent.pin", "--pin");
        agent.pin = Some(Fingerprint::parse(&pin).map_err(|why| ConfigError::new(place, why))?);
    }
    match file.protocol {
        Some(raw::HubProtocol::Chatops) => agent.protocol = HubProtocol::Chatops,
        Some(raw::HubProtocol::Pinwire) | None => {}
    }
    set_period(&mut agent.metrics_interval, file.metrics_interval);
    set_count(&mut agent.spool_ram, file.spool_ram);
    set_count(&mut agent.spool_bytes, file.spool_bytes);
    if let Some(forward) = &file.forward {
        let patterns = forward.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>();
        agent.forward = patterns.map_err(|why| ConfigError::new(source.at("agent.forward"), why))?;
    }
    agent.actions = file.actions.unwrap_or(agent.actions);
    agent.journal = file.journal.unwrap_or(agent.journal);
    if let Some(files) = &file.log_files {
        agent.log_files.clone_from(files);
    }

    validate::period(
        source,
        "agent.metrics_interval",
        agent.metrics_interval,
        Duration::from_millis(100)..=Duration::from_secs(3600),
    )?;
    validate::count(source, "agent.spool_ram", agent.spool_ram, 64 << 10..=1 << 30)?;
    validate::count(source, "agent.spool_bytes", agent.spool_bytes, 0..=most_spool_bytes())?;
    for (name, key) in [(&agent.name, "agent.name"), (&agent.cluster, "agent.cluster")] {
        if let Some(Err(why)) = name.as_deref().map(validate::plain_name) {
            let by_flag = key == "agent.name" && flags.is_some_and(|flags| flags.name.is_some());
            return validate::refuse(at(by_flag, key, "--name"), why);
        }
    }
    if agent.log_files.len() > MOST_FILES || agent.log_files.iter().any(|file| !file.is_absolute()) {
        let message =
            format!("names at most {MOST_FILES} files, each by its absolute path such as \"/var/log/syslog\"");
        return validate::refuse(source.at("agent.log_files"), message);
    }
    if agent.ca.is_some() && agent.pin.is_some() {
        let message = "agent.ca and agent.pin (--ca, --pin) both say whom to trust, leave one of them out";
        return validate::refuse(source.at_any(["agent.pin", "agent.ca"]), message);
    }

    let Some(hub) = &agent.hub else {
        let message = "an agent needs its hub: give --hub wss://HOST:PORT, or agent.hub in the file";
        return if flags.is_some() { Err(ConfigError::new("--hub", message)) } else { Ok(()) };
    };
    let by_flag = flags.is_some_and(|flags| flags.hub.is_some());
    let place = at(by_flag, "agent.hub", "--hub");
    let Some(secure) = scheme(hub) else {
        let message = format!("{hub:?} is not a hub's URL, write it like \"wss://hub.example:9000\"");
        return validate::refuse(place, message);
    };
    if !secure && (agent.ca.is_some() || agent.pin.is_some()) {
        let message = format!("{hub:?} is without TLS, so there is no certificate to trust: write wss://");
        return validate::refuse(place, message);
    }
    if !secure && !is_loopback(hub) {
        warnings.push(format!("{place}: {hub:?} is without TLS: others on the way can read everything, keys included"));
    }
    Ok(())
}

/// Reads the key for the hub, if there is one.
///
/// # Errors
/// No key file is named, or it cannot be used.
pub(super) fn key(agent: &mut Agent, written: &Written<'_>, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    if agent.hub.is_none() {
        return Ok(());
    }
    let Some((place, file)) = key_file(written) else {
        let by_flag = written.flags.agent.as_ref().is_some_and(|flags| flags.hub.is_some());
        let place = if by_flag { "--hub".to_owned() } else { written.source.at("agent.hub") };
        let message = "a hub is of no use without a key: give --key-file FILE, or agent.key_file in the file";
        return Err(ConfigError::new(place, message));
    };
    agent.key_place = place;
    agent.key = access::read_key(&file, &agent.key_place, warnings)?;
    Ok(())
}

/// The file with the key for the hub, and who names it.
pub(super) fn key_file(written: &Written<'_>) -> Option<(String, PathBuf)> {
    let by_flag = written.flags.agent.as_ref().and_then(|flags| flags.key_file.clone());
    let by_flag = by_flag.map(|file| ("--key-file".to_owned(), file));
    by_flag.or_else(|| Some((written.source.at("agent.key_file"), given(&written.file.agent.key_file)?)))
}

/// Each is watched.
const MOST_FILES: usize = 64;

/// A terabyte; where addresses have 32 bits, what those can count.
fn most_spool_bytes() -> usize {
    usize::try_from(1_u64 << 40).unwrap_or(usize::MAX)
}

/// Whether a hub's URL is one with TLS; `None` where it is no URL of a hub.
fn scheme(url: &str) -> Option<bool> {
    let schemes = [("wss://", true), ("https://", true), ("ws://", false), ("http://", false)];
    schemes.into_iter().find_map(|(scheme, secure)| {
        let rest = url.strip_prefix(scheme)?;
        let fine = !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(['@', '?', '#', ' ']);
        fine.then_some(secure)
    })
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
