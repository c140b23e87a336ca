//! The sockets of a web page: `/api/v1/ws/metrics/{server_id}` and `/api/v1/ws/logs/{server_id}`.

use std::time::SystemTime;

use super::read::{Fault, Read, fields, utf8};
use super::write::Object;
use super::{NoAuth, metrics, rest};
use crate::types::event::{Body, Event, PageNews};
use crate::types::fleet::{Alert, LogEntry, Sample, Secret};

pub use super::server::{error, invalid, pong};

/// Reasons for the Close frame (code 1008) after a good first message, in the words of ChatOps' code.
pub const INVALID_TOKEN: &str = "Invalid token";
pub const USER_NOT_FOUND: &str = "User not found";
pub const ACCESS_DENIED: &str = "Server not found or access denied";
pub const INVALID_SERVER_ID: &str = "Invalid server ID";

const AUTH_REQUIRED: &str = "Authentication required: send {'type': 'auth', 'token': '...'} as first message";

/// More than any token has.
const TOKEN_BYTES: usize = 8 << 10;

/// The reason for the Close frame; the error frame before it says the same.
pub fn auth_reason(refusal: &NoAuth) -> String {
    refusal.reason(AUTH_REQUIRED)
}

/// Reads the first message: the access token.
///
/// # Errors
/// Why it is no authentication; [`auth_reason`] has the words.
pub fn first(message: &[u8]) -> Result<Secret, NoAuth> {
    let failed = |fault: Fault| NoAuth::Failed(fault.to_string());
    let [kind, token] = fields(utf8(message).map_err(failed)?, ["type", "token"]).map_err(failed)?;
    let is_auth = kind.any_text().map_err(failed)?.as_deref() == Some("auth");
    let token = token.text(TOKEN_BYTES).map_err(failed)?.filter(|token| !token.is_empty());
    token.filter(|_| is_auth).map(Secret).ok_or(NoAuth::Required)
}

/// What a page says after its authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Ping,
    /// Anything else that has a type.
    Ignored,
}

/// Reads a message after the authentication.
///
/// # Errors
/// What is wrong with it, for [`invalid`]; the socket stays.
pub fn parse(message: &[u8]) -> Read<Said> {
    let [kind] = fields(utf8(message)?, ["type"])?;
    let kind = kind.required(kind.any_text()?)?;
    Ok(if kind == "ping" { Said::Ping } else { Said::Ignored })
}

/// Appends the answer to a good token.
pub fn auth_success(out: &mut Vec<u8>) {
    Object::typed(out, "auth_success").text("message", "Authenticated successfully").close();
}

/// Appends what a page hears of its server.
pub fn news(out: &mut Vec<u8>, event: &Event) {
    // The hub gives pages nothing else.
    let Body::Page { server_id, news, .. } = &event.body else { return };
    match news {
        PageNews::Metrics(sample) => metrics(out, server_id, sample, event.at),
        PageNews::Log(entry) => log(out, entry, event.at),
        PageNews::Alert(raised) => alert(out, raised, event.at),
    }
}

/// Appends a sample, in both forms at once. `at` is the time of sending.
pub fn metrics(out: &mut Vec<u8>, server_id: &str, sample: &Sample, at: SystemTime) {
    let object = Object::typed(out, "metrics").with("data", |out| metrics::merged(out, server_id, sample));
    object.time("timestamp", at).close();
}

/// Appends a log entry: for logs sockets only.
pub fn log(out: &mut Vec<u8>, entry: &LogEntry, at: SystemTime) {
    let object = Object::typed(out, "log").with("data", |out| rest::pushed_log_entry(out, entry));
    object.time("timestamp", at).close();
}

/// Appends an alert: for metrics sockets only.
pub fn alert(out: &mut Vec<u8>, alert: &Alert, at: SystemTime) {
    let object = Object::typed(out, "alert").with("data", |out| rest::alert(out, alert));
    object.time("timestamp", at).close();
}

#[cfg(test)]
mod tests;
