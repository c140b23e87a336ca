//! One POST to the webhook.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::config;
use crate::conn::client::{Dial, DialError, Stream, Trust};
use crate::rt::clock;

/// More than any answer's head has; its body is not read.
const HEAD_BYTES: usize = 16 * 1024;

/// What came of it.
pub enum Attempt {
    Done,
    /// Once more may help.
    Failed(String),
    /// The other side does not want it.
    Refused(String),
}

/// Where to post.
pub struct Webhook {
    dial: Dial,
    /// Path and query.
    target: String,
    timeout: Duration,
}

/// The host only: path and query may be a secret.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alerts.webhook at {}", self.dial.peer())
    }
}

impl Webhook {
    /// # Errors
    /// A URL or certificate file that cannot be used.
    pub fn new(config: &config::Webhook) -> Result<Webhook, String> {
        let trust = config.ca.clone().map_or(Trust::System, Trust::Ca);
        let dial = Dial::new(&config.url, &trust, config.timeout).map_err(|error| match error {
            DialError::Url(_) => "alerts.webhook is not a URL with a host and, where it says one, a port".to_owned(),
            error => format!("alerts.webhook: {error}"),
        })?;
        Ok(Webhook { dial, target: target(&config.url), timeout: config.timeout })
    }

    pub fn post(&self, body: &[u8]) -> Attempt {
        match self.status(body) {
            Ok(200..=299) => Attempt::Done,
            // Too early, too many, or the other side's own trouble.
            Ok(status @ (408 | 425 | 429 | 500..)) => Attempt::Failed(format!("it answers {status}")),
            Ok(status) => Attempt::Refused(format!("it answers {status}")),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    fn status(&self, body: &[u8]) -> Result<u16, DialError> {
        let ends = clock::now() + self.timeout;
        let lost = |error: io::Error| self.dial.lost(&error);
        let mut stream = self.dial.connect()?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: pinwire/{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.target,
            self.dial.peer(),
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        stream.write_all(&request).and_then(|()| stream.flush()).map_err(lost)?;
        read_status(&mut stream, ends).map_err(lost)
    }
}

/// Reads to the end of the answer's head.
fn read_status(stream: &mut Stream, ends: Instant) -> io::Result<u16> {
    let mut head = Vec::new();
    let mut buf = [0; 1024];
    loop {
        let left = ends.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.tcp().set_read_timeout(Some(left))?;
        let length = match stream.read(&mut buf) {
            Ok(0) => return Err(io::Error::other("it ended before its answer did")),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        head.extend_from_slice(&buf[..length]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head) {
            Ok(httparse::Status::Complete(_)) => return Ok(response.code.unwrap_or_default()),
            Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES => {}
            Ok(httparse::Status::Partial) => return Err(io::Error::other("its answer has too long a head")),
            Err(error) => return Err(io::Error::other(format!("its answer is not HTTP: {error}"))),
        }
    }
}

/// Path and query of a URL, as they are asked for.
fn target(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_path_and_query() {
        for (url, expected) in [
            ("https://a", "/"),
            ("https://a/", "/"),
            ("https://a:1/b/c/?d=e#f", "/b/c/?d=e"),
            ("http://[::1]?x", "/?x"),
            ("http://a#b/c", "/"),
        ] {
            assert_eq!(target(url), expected, "{url}");
        }
    }
}
