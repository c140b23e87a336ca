//! What a value may be, once all layers are in place. Defaults pass, so whatever fails here was written.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::source::{ConfigError, Source};
use super::{Config, Front};
use crate::types::line::Pin;

const MIB: usize = 1024 * 1024;
const GIB: usize = 1024 * MIB;

/// Far above what the descriptor limit of any small machine allows.
const MOST_CONNECTIONS: usize = 1_000_000;

/// More than a line can have within 100 ms.
const MOST_EDGES: usize = 1_000_000;

/// Each of them is an open HTTP request.
const MOST_ORDERS: usize = 100_000;

/// Each has its latest sample in memory.
const MOST_SERVERS: usize = 100_000;

/// Nor more events of a topic, or topics.
const MOST_EVENTS: usize = 1_000_000;

/// Waiting is counted in milliseconds by the kernel, and a deadline of zero would always have passed.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// Longer than any wait here makes sense, and far from where adding to a clock could overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name of this device, of a line or of a chip, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// # Errors
/// Names the first setting that is out of bounds, with its bounds; where two settings conflict, both.
pub(super) fn check(config: &Config, source: &Source) -> Result<(), ConfigError> {
    counts(config, source)?;
    periods(config, source)?;
    conflicts(config, source)?;
    names(config, source)
}

fn counts(config: &Config, source: &Source) -> Result<(), ConfigError> {
    let Config { front, session, gpio, hub, history, .. } = config;
    let bounds: [(&str, usize, RangeInclusive<usize>); 21] = [
        ("front.max_connections", front.max_connections, 1..=MOST_CONNECTIONS),
        ("front.max_per_address", front.max_per_address, 1..=MOST_CONNECTIONS),
        ("front.head_bytes", front.head_bytes, 256..=65536),
        ("front.body_bytes", front.body_bytes, 1..=16 * MIB),
        ("session.message_bytes", session.message_bytes, 1..=16 * MIB),
        ("session.backlog_bytes", session.backlog_bytes, 1..=GIB),
        ("session.total_backlog_bytes", session.total_backlog_bytes, 1..=GIB),
        ("session.send_buffer_bytes", session.send_buffer_bytes, 1024..=16 * MIB),
        ("history.count", history.count, 0..=MOST_EVENTS),
        ("history.bytes", history.bytes, 64 * 1024..=GIB),
        ("history.topics", history.topics, 1..=MOST_EVENTS),
        ("store.pending_bytes", config.store.pending_bytes, 64 * 1024..=GIB),
        ("store.max_mib", (config.store.max_bytes / MIB as u64) as usize, 16..=MIB),
        ("store.durable_mib", (config.store.durable_bytes / MIB as u64) as usize, 1..=GIB / MIB),
        ("gpio.edge_events", gpio.edge_events, 0..=MOST_EDGES),
        ("gpio.software_pwm_limit", gpio.software_pwm_limit, 1..=1000),
        ("hub.message_bytes", hub.message_bytes, 1024..=16 * MIB),
        ("hub.invalid_messages", hub.invalid_messages, 1..=MOST_EDGES),
        ("hub.orders_per_server", hub.orders_per_server, 1..=MOST_ORDERS),
        ("hub.orders", hub.orders, 1..=MOST_ORDERS),
        ("hub.servers", hub.servers, 1..=MOST_SERVERS),
    ];
    bounds.into_iter().try_for_each(|(key, value, allowed)| count(source, key, value, allowed))
}

/// # Errors
/// Names the setting with its bounds.
pub(super) fn count(
    source: &Source,
    key: &str,
    value: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    refuse(source.at(key), format_args!("is {value}, it must be from {least} to {most}"))
}

fn periods(config: &Config, source: &Source) -> Result<(), ConfigError> {
    let Config { front, session, telemetry, .. } = config;
    let bounds = [
        ("shutdown_deadline", config.shutdown_deadline, SHORTEST),
        ("front.head_deadline", front.head_deadline, SHORTEST),
        ("front.body_deadline", front.body_deadline, SHORTEST),
        ("front.idle_deadline", front.idle_deadline, SHORTEST),
        ("front.response_deadline", front.response_deadline, SHORTEST),
        ("session.message_deadline", session.message_deadline, SHORTEST),
        ("session.ping_interval", session.ping_interval, SHORTEST),
        ("session.pong_deadline", session.pong_deadline, SHORTEST),
        ("session.auth_deadline", session.auth_deadline, SHORTEST),
        ("session.close_deadline", session.close_deadline, SHORTEST),
        ("picloud.info_interval", config.picloud.info_interval, SHORTEST),
        // No sharing of readings at all is a wish one may have.
        ("telemetry.max_age", telemetry.max_age, Duration::ZERO),
        ("telemetry.firmware_interval", telemetry.firmware_interval, SHORTEST),
        ("telemetry.firmware_deadline", telemetry.firmware_deadline, SHORTEST),
        ("history.age", config.history.age, Duration::from_secs(1)),
        ("hub.auth_deadline", config.hub.auth_deadline, SHORTEST),
        ("hub.agent_silence", config.hub.agent_silence, SHORTEST),
        ("hub.order_timeout", config.hub.order_timeout, SHORTEST),
        ("hub.order_timeout_max", config.hub.order_timeout_max, SHORTEST),
    ];
    bounds.into_iter().try_for_each(|(key, value, least)| period(source, key, value, least..=LONGEST))?;
    let flush = Duration::from_secs(1)..=Duration::from_secs(15 * 60);
    period(source, "store.flush_interval", config.store.flush_interval, flush)
}

/// # Errors
/// Names the setting with its bounds.
pub(super) fn period(
    source: &Source,
    key: &str,
    value: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    let words = |period| match period {
        // Not "1day", which nobody would write.
        LONGEST => "24h".to_owned(),
        _ => humantime::format_duration(period).to_string(),
    };
    let [value, least, most] = [value, least, most].map(words);
    refuse(source.at(key), format_args!("is \"{value}\", it must be from \"{least}\" to \"{most}\""))
}

fn conflicts(config: &Config, source: &Source) -> Result<(), ConfigError> {
    let (one, all) = (config.session.backlog_bytes, config.session.total_backlog_bytes);
    if one > all {
        let place = source.at_any(["session.backlog_bytes", "session.total_backlog_bytes"]);
        let message = format!(
            "session.backlog_bytes ({one}) is more than session.total_backlog_bytes ({all}) for all clients together, \
             lower the first or raise the second"
        );
        return refuse(place, message);
    }
    let (usual, most) = (config.hub.order_timeout, config.hub.order_timeout_max);
    if usual > most {
        let place = source.at_any(["hub.order_timeout", "hub.order_timeout_max"]);
        let [usual, most] = [usual, most].map(humantime::format_duration);
        let message = format!(
            "hub.order_timeout (\"{usual}\") is more than hub.order_timeout_max (\"{most}\"), lower the first or raise the \
             second"
        );
        return refuse(place, message);
    }
    Ok(())
}

fn names(config: &Config, source: &Source) -> Result<(), ConfigError> {
    if let Err(why) = plain_name(&config.node_id) {
        return refuse(source.at("node_id"), why);
    }
    if config.root.as_os_str().is_empty() {
        return refuse(source.at("root"), "is empty, write \"/\" for this machine's own files");
    }
    if let Some(chip) = &config.gpio.chip
        && let Err(why) = plain_name(chip)
    {
        return refuse(source.at("gpio.chip"), why);
    }
    let Front { hosts, origins, .. } = &config.front;
    if let Some(wrong) = hosts.iter().find(|host| !is_host(host)) {
        let message = format!("{wrong:?} is not a host name, write it without scheme and port such as \"pi.local\"");
        return refuse(source.at("front.hosts"), message);
    }
    if let Some(wrong) = origins.iter().find(|origin| !is_origin(origin)) {
        let message =
            format!("{wrong:?} is not an origin, write scheme and host such as \"https://panel.example:8443\"");
        return refuse(source.at("front.origins"), message);
    }
    Ok(())
}

/// Whether a line may be called `name`: like nothing that means a line by itself, unless it is this one.
///
/// # Errors
/// Says what is wrong with the name.
pub(super) fn line_name(name: &str, pin: Pin) -> Result<(), String> {
    plain_name(name)?;
    let lower = name.to_ascii_lowercase();
    let number = lower.strip_prefix("gpio").or_else(|| lower.strip_prefix("pin")).unwrap_or(&lower);
    let looks_like_a_line = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if looks_like_a_line && Pin::parse(name) != Some(pin) {
        return Err(format!(
            "{name:?} looks like the name of another line than {pin}, choose a word such as \"led-1\""
        ));
    }
    Ok(())
}

pub(super) fn plain_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(format!("a name has 1 to {MAX_NAME_BYTES} bytes, this one has {}", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("{name:?} has control characters in it, leave them out"));
    }
    Ok(())
}

/// Names only: IPv6 addresses are let in anyway, so a colon can only be a port that would never match.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'@'))
}

/// As a browser sends it, without path: `scheme://host[:port]`, or `null` for a page without one.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
    let plain = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    text == "*" || text == "null" || host.is_some_and(plain)
}

pub(super) fn refuse(place: String, message: impl Display) -> Result<(), ConfigError> {
    Err(ConfigError::new(place, message))
}
