//! What is watched without a threshold, and whom alerts are told.

use std::path::PathBuf;
use std::time::Duration;

use super::load::{Written, given, set_period};
use super::source::{ConfigError, Source};
use super::validate::{LONGEST, SHORTEST, period, refuse};

/// Alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Say when an agent has been offline for a while.
    pub offline: bool,
    /// How long that is, from its status `offline`.
    pub offline_after: Duration,
    /// Say when the firmware reports too little voltage.
    pub under_voltage: bool,
    /// Say when a disk is nearly full.
    pub disk: bool,
    /// From how many percent on that is a warning.
    pub disk_warning: f64,
    /// And from how many it is critical.
    pub disk_critical: f64,
    /// Say when the hub's own store works from memory.
    pub store: bool,
    /// Say when a machine's clock is not synchronised.
    pub clock: bool,
    /// How long it has to be so.
    pub clock_after: Duration,
    pub webhook: Option<Webhook>,
    pub command: Option<Notifier>,
}

/// A URL to which alerts are posted.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// `http://` or `https://`; often a secret.
    pub url: String,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// For one attempt, from connecting to the answer.
    pub timeout: Duration,
}

/// Without the URL, which lets whoever knows it post.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("ca", &self.ca).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A program that is run for each alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Notifier {
    /// An absolute path.
    pub program: PathBuf,
    pub arguments: Vec<Vec<Part>>,
    /// How long one run may take.
    pub timeout: Duration,
}

/// A piece of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Blank(Blank),
}

/// What an alert fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// `created`, `acknowledged` or `resolved`.
    Change,
    Severity,
    /// `cpu`, `memory`, `disk`, `network` or `service`.
    Kind,
    Message,
    /// The server's name.
    Server,
    ServerId,
    /// The alert's own id.
    Id,
    /// Empty where there is none; so is the next.
    Value,
    Threshold,
}

const BLANKS: [(&str, Blank); 9] = [
    ("change", Blank::Change),
    ("severity", Blank::Severity),
    ("type", Blank::Kind),
    ("message", Blank::Message),
    ("server", Blank::Server),
    ("server_id", Blank::ServerId),
    ("id", Blank::Id),
    ("value", Blank::Value),
    ("threshold", Blank::Threshold),
];

/// Arguments of the command, its program included.
const MAX_ARGUMENTS: usize = 64;

/// How long an attempt at the webhook, or a run of the command, may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            offline: true,
            offline_after: Duration::from_secs(60),
            under_voltage: true,
            disk: true,
            disk_warning: 90.0,
            disk_critical: 97.0,
            store: true,
            clock: true,
            clock_after: Duration::from_secs(600),
            webhook: None,
            command: None,
        }
    }
}

/// # Errors
/// A URL or a command that cannot be one, or a value out of bounds.
pub(super) fn alerts(alerts: &mut Alerts, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { file, source, .. } = *written;
    let file = &file.alerts;
    let switches = [
        (&mut alerts.offline, file.offline),
        (&mut alerts.under_voltage, file.under_voltage),
        (&mut alerts.disk, file.disk),
        (&mut alerts.store, file.store),
        (&mut alerts.clock, file.clock),
    ];
    for (switch, said) in switches {
        *switch = said.unwrap_or(*switch);
    }
    set_period(&mut alerts.offline_after, file.offline_after);
    set_period(&mut alerts.clock_after, file.clock_after);
    alerts.disk_warning = file.disk_warning.unwrap_or(alerts.disk_warning);
    alerts.disk_critical = file.disk_critical.unwrap_or(alerts.disk_critical);
    let [mut webhook_timeout, mut command_timeout] = [TIMEOUT; 2];
    set_period(&mut webhook_timeout, file.webhook_timeout);
    set_period(&mut command_timeout, file.command_timeout);
    if let Some(url) = file.webhook.as_ref().filter(|url| !url.is_empty()) {
        check_url(url, source)?;
        alerts.webhook = Some(Webhook { url: url.clone(), ca: given(&file.webhook_ca), timeout: webhook_timeout });
    }
    if let Some(words) = file.command.as_deref()
        && let Some((program, arguments)) = words.split_first()
    {
        alerts.command = Some(notifier(program, arguments, command_timeout, source)?);
    }
    for (key, value, least) in [
        ("alerts.offline_after", alerts.offline_after, Duration::ZERO),
        ("alerts.clock_after", alerts.clock_after, Duration::ZERO),
        ("alerts.webhook_timeout", webhook_timeout, SHORTEST),
        ("alerts.command_timeout", command_timeout, SHORTEST),
    ] {
        period(source, key, value, least..=LONGEST)?;
    }
    disk_limits(alerts, source)
}

/// What a URL may be said wrong of without repeating it.
fn check_url(url: &str, source: &Source) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.filter(|_| url.bytes().all(|byte| byte.is_ascii_graphic())) else {
        return refuse(
            source.at("alerts.webhook"),
            "is not a URL, write one such as \"https://hooks.example/alerts\"; what is not ASCII in it needs escapes",
        );
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return refuse(source.at("alerts.webhook"), "must name a host, and no user or password before it");
    }
    Ok(())
}

fn notifier(program: &str, arguments: &[String], timeout: Duration, source: &Source) -> Result<Notifier, ConfigError> {
    let place = || source.at("alerts.command");
    if !program.starts_with('/') || program.contains('\0') {
        return Err(ConfigError::new(
            place(),
            format_args!("{program:?} is not an absolute path, write the whole one"),
        ));
    }
    if arguments.len() >= MAX_ARGUMENTS {
        return Err(ConfigError::new(place(), format_args!("has more than {MAX_ARGUMENTS} words")));
    }
    let arguments = arguments.iter().map(|argument| pieces(argument)).collect::<Result<_, _>>();
    let arguments = arguments.map_err(|why| ConfigError::new(place(), why))?;
    Ok(Notifier { program: program.into(), arguments, timeout })
}

/// Takes an argument apart at its `{word}`s; other braces are text.
fn pieces(argument: &str) -> Result<Vec<Part>, String> {
    if argument.contains('\0') {
        return Err("has a NUL character in it, which no program can be given".into());
    }
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = argument;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let word = behind
            .split_once('}')
            .filter(|(word, _)| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        let Some((word, after)) = word else {
            text.push('{');
            rest = behind;
            continue;
        };
        let Some((_, blank)) = BLANKS.iter().find(|(known, _)| *known == word) else {
            let known: Vec<String> = BLANKS.iter().map(|(known, _)| format!("{{{known}}}")).collect();
            return Err(format!("{{{word}}} is not known, there are {}", known.join(", ")));
        };
        if !text.is_empty() {
            pieces.push(Part::Text(std::mem::take(&mut text)));
        }
        pieces.push(Part::Blank(*blank));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Part::Text(text));
    }
    Ok(pieces)
}

fn disk_limits(alerts: &Alerts, source: &Source) -> Result<(), ConfigError> {
    for (key, percent) in [("disk_warning", alerts.disk_warning), ("disk_critical", alerts.disk_critical)] {
        if !(1.0..=100.0).contains(&percent) {
            let message = format_args!("is {percent}, it must be from 1 to 100 percent");
            return Err(ConfigError::new(source.at(&format!("alerts.{key}")), message));
        }
    }
    if alerts.disk_warning > alerts.disk_critical {
        let place = source.at_any(["alerts.disk_warning", "alerts.disk_critical"]);
        let (warning, critical) = (alerts.disk_warning, alerts.disk_critical);
        let message = format!("alerts.disk_warning ({warning}) is more than alerts.disk_critical ({critical})");
        return refuse(place, message);
    }
    Ok(())
}
