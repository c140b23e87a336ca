//! What clients get: every model, with its members in the order of ChatOps' own answers.

use std::time::Duration;

use super::super::super::picloud::string;
use super::super::metrics::{self, Absent};
use super::super::write::{Object, list};
use crate::types::fleet::{
    Alert, AlertCause, ApiKey, Container, DeviceEvent, LogEntry, Point, Sample, Server, Threshold, User,
};

/// Appends an error.
pub fn detail(out: &mut Vec<u8>, text: &str) {
    Object::open(out).text("detail", text).close();
}

/// Appends the error for what the agent's own rules forbid, which is not the same as a failure.
pub fn denied(out: &mut Vec<u8>, text: &str) {
    Object::open(out).text("detail", text).bool("denied", true).close();
}

/// Appends `{"message": …}`: logout, change of password.
pub fn message(out: &mut Vec<u8>, text: &str) {
    Object::open(out).text("message", text).close();
}

/// Appends `{"status": …, "message": …}`: containers, and samples by HTTP.
pub fn status(out: &mut Vec<u8>, status: &str, message: &str) {
    Object::open(out).text("status", status).text("message", message).close();
}

pub fn user(out: &mut Vec<u8>, user: &User) {
    Object::open(out)
        .text("email", &user.email)
        .text("username", &user.username)
        .text_or_null("full_name", user.full_name.as_deref())
        .text("id", &user.id)
        .bool("is_active", user.is_active)
        .time("created_at", user.created_at)
        .text("role", user.role.as_str())
        .close();
}

/// Appends an error for the clients of both systems that log in here.
pub fn error(out: &mut Vec<u8>, text: &str) {
    Object::open(out).text("detail", text).text("error", text).text("message", text).close();
}

/// Appends the answer to a login or a registration; `life` is the access token's.
pub fn token(out: &mut Vec<u8>, access: &str, refresh: &str, life: Duration, owner: &User) {
    Object::open(out)
        .text("access_token", access)
        .text("refresh_token", refresh)
        .text("token_type", "bearer")
        .shown("expires_in", life.as_secs())
        .with("user", |out| user(out, owner))
        .close();
}

/// Appends the answer to a refresh.
pub fn access_token(out: &mut Vec<u8>, access: &str, life: Duration) {
    let object = Object::open(out).text("access_token", access).text("token_type", "bearer");
    object.shown("expires_in", life.as_secs()).close();
}

pub fn server(out: &mut Vec<u8>, server: &Server) {
    Object::open(out)
        .text("name", &server.name)
        .text_or_null("host", server.host.as_deref())
        .shown_or_null("port", server.port)
        .raw("metadata", server.metadata.as_deref().unwrap_or("{}"))
        .text("id", &server.id)
        .text("status", server.status.as_str())
        .text("health_status", server.health.as_str())
        .time_or_null("last_seen", server.last_seen)
        .time("created_at", server.created_at)
        .time("updated_at", server.updated_at)
        .close();
}

pub fn servers(out: &mut Vec<u8>, servers: &[Server]) {
    list(out, servers, server);
}

/// Appends the answer to `POST /servers/{id}/health`.
pub fn health(out: &mut Vec<u8>, server: &Server, message: &str) {
    Object::open(out).text("status", server.health.as_str()).text("message", message).close();
}

/// Appends a key's description; the key itself only in the answer to its making.
pub fn api_key(out: &mut Vec<u8>, info: &ApiKey, key: Option<&str>) {
    Object::open(out)
        .text_or_null("name", info.name.as_deref())
        .time_or_null("expires_at", info.expires_at)
        .text("id", &info.id)
        .text("server_id", &info.server_id)
        .text_if("key", key)
        .bool("is_active", info.is_active)
        .time_or_null("last_used", info.last_used)
        .time("created_at", info.created_at)
        .close();
}

/// Appends a server's keys, or with a user's token `GET /api-keys/me`.
pub fn api_keys(out: &mut Vec<u8>, keys: &[ApiKey]) {
    list(out, keys, |out, key| api_key(out, key, None));
}

/// Appends `GET /api-keys/me` with a key: an agent does not start without this answer.
pub fn key_info(out: &mut Vec<u8>, key: &ApiKey) {
    Object::open(out)
        .text("server_id", &key.server_id)
        .text("key_id", &key.id)
        .text_or_null("name", key.name.as_deref())
        .bool("is_active", key.is_active)
        .close();
}

pub fn alert(out: &mut Vec<u8>, alert: &Alert) {
    Object::open(out)
        .text("server_id", &alert.server_id)
        .text("type", alert.kind.as_str())
        .text("severity", alert.severity.as_str())
        .text("message", &alert.message)
        .float_or_null("threshold", alert.threshold)
        .float_or_null("current_value", alert.current_value)
        .text("id", &alert.id)
        .bool("resolved", alert.resolved_at.is_some())
        .time("created_at", alert.created_at)
        .time_or_null("resolved_at", alert.resolved_at)
        .time_if("acknowledged_at", alert.acknowledged_at)
        .text_if("threshold_id", alert.threshold_id.as_deref())
        .text_if("cause", alert.cause.map(AlertCause::as_str))
        .close();
}

pub fn alerts(out: &mut Vec<u8>, alerts: &[Alert]) {
    list(out, alerts, alert);
}

pub fn threshold(out: &mut Vec<u8>, threshold: &Threshold) {
    Object::open(out)
        .text("server_id", &threshold.server_id)
        .text("metric_type", threshold.metric.as_str())
        .float("threshold_value", threshold.value)
        .text("comparison", threshold.comparison.as_str())
        .bool("enabled", threshold.enabled)
        .shown("for_seconds", threshold.duration.as_secs())
        .float("hysteresis", threshold.hysteresis)
        .text("id", &threshold.id)
        .time("created_at", threshold.created_at)
        .time("updated_at", threshold.updated_at)
        .close();
}

pub fn thresholds(out: &mut Vec<u8>, thresholds: &[Threshold]) {
    list(out, thresholds, threshold);
}

/// Appends log entries, newest first as given.
pub fn log_entries(out: &mut Vec<u8>, entries: &[LogEntry]) {
    list(out, entries, |out, entry| {
        let object = Object::open(out).text("message", &entry.message).text("level", entry.level.as_str());
        log_origin(object, entry).time("timestamp", entry.at).close();
    });
}

/// Appends a log entry as it is pushed: the documented members first, and the level in capitals as documented.
pub fn pushed_log_entry(out: &mut Vec<u8>, entry: &LogEntry) {
    let level = entry.level.as_str().to_ascii_uppercase();
    let object = Object::open(out).text("level", &level).text("message", &entry.message);
    log_origin(object.time("timestamp", entry.at), entry).close();
}

fn log_origin<'o>(object: Object<'o>, entry: &LogEntry) -> Object<'o> {
    object
        .text("source", entry.source.as_str())
        .text_or_null("component", entry.component.as_deref())
        .raw("extra_data", entry.extra.as_deref().unwrap_or("null"))
        .text("id", &entry.id)
        .text("server_id", &entry.server_id)
}

/// A command that ran.
#[derive(Clone, Copy, Debug)]
pub struct CommandReply<'a> {
    pub command_id: &'a str,
    pub command: &'a str,
    pub output: &'a str,
    pub exit_code: i32,
    pub duration_ms: u64,
    pub truncated: bool,
}

/// Appends a command's result: the members of the code, then those of the documentation.
pub fn command_reply(out: &mut Vec<u8>, reply: &CommandReply<'_>) {
    let success = reply.exit_code == 0;
    let object = Object::open(out)
        .bool("success", success)
        .text("output", reply.output)
        .text_or_null("error", (!success).then_some(reply.output))
        .shown("exit_code", reply.exit_code)
        .text("command_id", reply.command_id)
        .text("command", reply.command)
        .shown("duration_ms", reply.duration_ms);
    if reply.truncated { object.bool("truncated", true).close() } else { object.close() }
}

/// Appends `GET /metrics/{id}/latest`.
pub fn latest(out: &mut Vec<u8>, server_id: &str, sample: &Sample) {
    metrics::nested(out, Some(server_id), sample, Absent::EmptyList);
}

/// Appends `GET /metrics/{id}`.
pub fn flat_metrics(out: &mut Vec<u8>, server_id: &str, sample: &Sample) {
    metrics::flat_members(Object::open(out), Some(server_id), sample, Absent::EmptyList).close();
}

/// Appends `GET /metrics/{id}/history`, in the order given.
pub fn history(out: &mut Vec<u8>, points: &[Point]) {
    list(out, points, |out, point| {
        Object::open(out)
            .time("timestamp", point.at)
            .shown("samples", point.samples)
            .float_or_null("cpu_percent", point.cpu_percent)
            .float_or_null("memory_percent", point.memory_percent)
            .float_or_null("disk_percent", point.disk_percent)
            .float_or_null("temperature_celsius", point.temperature_celsius)
            .float_or_null("load_1m", point.load_1m)
            .shown_or_null("bytes_sent", point.bytes_sent)
            .shown_or_null("bytes_recv", point.bytes_received)
            .close();
    });
}

/// Appends `GET /servers/{id}/events`, in the order given, each with its number.
pub fn events<'a>(out: &mut Vec<u8>, events: impl IntoIterator<Item = (u64, &'a DeviceEvent)>) {
    list(out, events, |out, (number, event)| {
        let object = Object::open(out).shown("id", number).text("type", &event.topic);
        object.time("timestamp", event.at).raw("data", &event.data).close();
    });
}

/// Appends `GET /docker/{id}/containers`; none where nobody looked.
pub fn containers(out: &mut Vec<u8>, containers: Option<&[Container]>) {
    metrics::containers(out, containers.unwrap_or_default());
}

/// Appends `GET /docker/{id}/containers/{cid}/logs`.
pub fn container_logs(out: &mut Vec<u8>, lines: &[String]) {
    list(out, lines, |out, line| string(out, line));
}
