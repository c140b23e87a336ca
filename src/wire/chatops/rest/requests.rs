//! What clients send of servers, thresholds, keys, commands and samples.

use std::time::{Duration, SystemTime};

use super::super::read::{Fault, fields, utf8};
use super::super::{limit, metrics as samples};
use super::invalid::{Body, Invalid, Item};
use crate::types::fleet::{AlertKind, Comparison, Sample};

const NAME: usize = limit::NAME_BYTES;
/// Thresholds and hysteresis: percent, or rates.
const VALUE_MAX: f64 = 1e15;
const DAY_SECONDS: i64 = 86_400;

/// `POST /servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewServer {
    pub name: String,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub metadata: Option<Box<str>>,
}

/// # Errors
/// The 422.
pub fn new_server(body: &[u8]) -> Result<NewServer, Invalid> {
    let mut body = Body::object(body)?;
    let name = body.text("name", 1, NAME);
    let name = body.required("name", name);
    let (host, port, metadata) = server_members(&mut body);
    body.finish(name.map(|name| NewServer { name, host, port, metadata }))
}

fn server_members(body: &mut Body) -> (Option<String>, Option<u16>, Option<Box<str>>) {
    let host = body.text("host", 0, NAME);
    let port = body.whole("port", 1, u16::MAX.into()).map(|port| port as u16);
    (host, port, body.json_object("metadata", limit::METADATA_BYTES))
}

/// `PUT /servers/{id}`: what is there changes, and `Some(None)` is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerChange {
    pub name: Option<String>,
    pub host: Option<Option<String>>,
    pub port: Option<Option<u16>>,
    pub metadata: Option<Option<Box<str>>>,
}

/// # Errors
/// The 422.
pub fn server_change(body: &[u8]) -> Result<ServerChange, Invalid> {
    let mut body = Body::object(body)?;
    let name = body.text("name", 1, NAME);
    let (host, port, metadata) = server_members(&mut body);
    let host = body.has("host").then_some(host);
    let port = body.has("port").then_some(port);
    let metadata = body.has("metadata").then_some(metadata);
    body.finish(Some(ServerChange { name, host, port, metadata }))
}

/// `POST /alerts/thresholds`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewThreshold {
    pub server_id: String,
    pub metric: AlertKind,
    pub value: f64,
    pub comparison: Comparison,
    pub enabled: bool,
    pub duration: Duration,
    pub hysteresis: f64,
}

/// # Errors
/// The 422.
pub fn new_threshold(body: &[u8]) -> Result<NewThreshold, Invalid> {
    let mut body = Body::object(body)?;
    let server_id = body.id("server_id");
    let server_id = body.required("server_id", server_id);
    let change = threshold_members(&mut body);
    let metric = body.required("metric_type", change.metric);
    let value = body.required("threshold_value", change.value);
    let comparison = body.required("comparison", change.comparison);
    let threshold = (|| {
        Some(NewThreshold {
            server_id: server_id?,
            metric: metric?,
            value: value?,
            comparison: comparison?,
            enabled: change.enabled.unwrap_or(true),
            duration: change.duration.unwrap_or_default(),
            hysteresis: change.hysteresis.unwrap_or_default(),
        })
    })();
    body.finish(threshold)
}

/// `PUT /alerts/thresholds/{id}`: what is there changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThresholdChange {
    pub metric: Option<AlertKind>,
    pub value: Option<f64>,
    pub comparison: Option<Comparison>,
    pub enabled: Option<bool>,
    pub duration: Option<Duration>,
    pub hysteresis: Option<f64>,
}

/// # Errors
/// The 422.
pub fn threshold_change(body: &[u8]) -> Result<ThresholdChange, Invalid> {
    let mut body = Body::object(body)?;
    let change = threshold_members(&mut body);
    body.finish(Some(change))
}

fn threshold_members(body: &mut Body) -> ThresholdChange {
    let metric = body.word("metric_type", AlertKind::WORDS, AlertKind::from_word);
    if metric == Some(AlertKind::Service) {
        // ChatOps takes it and never looks at it.
        let msg = "Value error, samples say nothing of services: write cpu, memory, disk or network";
        body.fault(Item::new("body", "metric_type", "value_error", msg).input("\"service\""));
    }
    ThresholdChange {
        metric,
        value: body.number("threshold_value", -VALUE_MAX, VALUE_MAX),
        comparison: body.word("comparison", Comparison::WORDS, Comparison::from_word),
        enabled: body.bool("enabled"),
        duration: body.whole("for_seconds", 0, DAY_SECONDS).map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        hysteresis: body.number("hysteresis", 0.0, VALUE_MAX),
    }
}

/// `POST /api-keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub server_id: String,
    pub name: Option<String>,
    pub expires_at: Option<SystemTime>,
}

/// # Errors
/// The 422.
pub fn new_key(body: &[u8]) -> Result<NewKey, Invalid> {
    let mut body = Body::object(body)?;
    let server_id = body.id("server_id");
    let server_id = body.required("server_id", server_id);
    let name = body.text("name", 0, NAME);
    let expires_at = body.time("expires_at");
    body.finish(server_id.map(|server_id| NewKey { server_id, name, expires_at }))
}

/// `POST /commands/{server_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub command: String,
    /// How long to wait for the result.
    pub timeout: Option<Duration>,
}

/// # Errors
/// The 422, also where it may take longer than `longest`.
pub fn command(body: &[u8], longest: Duration) -> Result<Command, Invalid> {
    let mut body = Body::object(body)?;
    let command = body.text("command", 1, limit::COMMAND_BYTES);
    let command = body.required("command", command);
    let timeout = body.whole("timeout", 1, whole_seconds(longest));
    let timeout = timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    body.finish(command.map(|command| Command { command, timeout }))
}

/// At least one.
fn whole_seconds(longest: Duration) -> i64 {
    longest.as_secs().clamp(1, DAY_SECONDS.unsigned_abs()) as i64
}

/// `POST /servers/{id}/actions`: a message in Endrpi's form, as sent.
///
/// # Errors
/// The 422.
pub fn action(body: &[u8]) -> Result<Box<str>, Invalid> {
    drop(Body::object(body)?);
    let text = utf8(body).map_err(|fault| Invalid::fault(&fault))?;
    Ok(text.trim().into())
}

/// Reads `POST /metrics` and `POST /metrics/{server_id}`: a sample in either form, and the server it names.
///
/// # Errors
/// The 422.
pub fn metrics(body: &[u8]) -> Result<(Option<String>, Sample), Invalid> {
    drop(Body::object(body)?);
    let read = || -> Result<_, Fault> {
        let text = utf8(body)?;
        let [server_id] = fields(text, ["server_id"])?;
        Ok((server_id.text(NAME)?, samples::sample(text)?))
    };
    read().map_err(|fault| Invalid::fault(&fault))
}
