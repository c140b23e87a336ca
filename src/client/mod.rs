//! The commands that talk to a running daemon: `call`, `watch`, `publish`; and those that look at what it would
//! find: `check-config`, `doctor`; and `key`, `user` and `audit`, which work on the daemon's database.

mod doctor;
#[cfg_attr(not(feature = "hub"), path = "nothing_kept.rs")]
pub mod kept;
mod link;
mod watch;

pub use doctor::{doctor, refused};
pub use watch::watch;

use std::io::{Read, Write};

use serde_json::Value;
use serde_json::value::RawValue;
use tungstenite::{Message, WebSocket};

use crate::cli::{CallArgs, PublishArgs};
use crate::config::{Auth, Backend, Config};
use crate::conn::{CLOSE_FOR_GOOD, Tls};
use crate::gpio::{Gpio, GpioError, Places, Sinks};
use crate::types::line::BackendInfo;
use link::{Link, Stream};

/// Why a command failed, in one line; empty where the answer that was printed says it already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(String);

impl ClientError {
    fn new(text: impl Into<String>) -> ClientError {
        ClientError(text.into())
    }
}

/// Sends one action and prints its answer.
///
/// # Errors
/// No daemon, no answer in time, or an answer that says `"success": false` (printed, then exit code 1).
pub fn call(args: &CallArgs) -> Result<(), ClientError> {
    let params = args.params.as_deref().map(serde_json::from_str::<&RawValue>).transpose();
    let params = params.map_err(|error| ClientError(format!("the parameters are not JSON: {error}")))?;
    let link = Link::new(&args.client)?;
    let mut socket = link.websocket("/")?;
    request(&mut socket, &args.action, params.map(RawValue::get))?;
    let answer = next_text(&mut socket)?;
    print_line(&answer)?;
    let success = serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer["success"] == true);
    let _ = socket.close(None);
    if success { Ok(()) } else { Err(ClientError::new("")) }
}

/// Publishes one event over HTTP, whose answer says that the daemon has it.
///
/// # Errors
/// No daemon, or a refusal (its text).
pub fn publish(args: &PublishArgs) -> Result<(), ClientError> {
    let data = match args.data.as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| ClientError(format!("cannot read the data from standard input: {error}")))?;
            text
        }
        other => other.unwrap_or_default().to_owned(),
    };
    let mut body = serde_json::json!({ "event": args.event, "data": data });
    if args.ack {
        body["ack"] = true.into();
    }
    let link = Link::new(&args.client)?;
    match link.post("/publish", &args.name, &body.to_string())? {
        (201, text) if args.ack => print_line(text.trim()),
        (201, _) => Ok(()),
        (status, text) => Err(ClientError(format!("the daemon answered {status}: {}", text.trim()))),
    }
}

/// Says what a configuration comes to, having checked what can be checked without starting.
///
/// # Errors
/// A certificate or key that cannot be used.
pub fn check(config: &Config) -> Result<(), ClientError> {
    if let Some(files) = &config.tls {
        Tls::load(files).map_err(|error| ClientError(error.to_string()))?;
    }
    warn(config);
    let addresses: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let auth = match config.auth {
        Auth::None | Auth::Undecided => "none",
        // Whether the store has one is seen at the start.
        Auth::Stored | Auth::Key(_) => "key",
    };
    // A file for another machine may be good all the same.
    let backend = backend(config).map(|backend| backend.name).unwrap_or_else(|error| {
        eprintln!("pinwire: note: not on this machine: {error}");
        match config.gpio.backend {
            Backend::Auto => "auto",
            Backend::Sim => "sim",
            Backend::Cdev => "cdev",
            Backend::Sysfs => "sysfs",
        }
    });
    let tls = if config.tls.is_some() { "on" } else { "off" };
    print_line(&format!(
        "configuration is good: listen {}, auth {auth}, tls {tls}, gpio {}",
        addresses.join(" "),
        backend
    ))
}

fn warn(config: &Config) {
    for warning in &config.warnings {
        eprintln!("pinwire: warning: {warning}");
    }
}

/// The backend that would drive the lines. No line is touched.
fn backend(config: &Config) -> Result<BackendInfo, GpioError> {
    let places = Places { root: config.root.clone(), state_dir: config.state_dir.clone() };
    let sinks = Sinks::new(|_| {}, |_| true);
    Ok(Gpio::new(&config.gpio, &places, sinks)?.backend())
}

fn request(socket: &mut WebSocket<Stream>, action: &str, params: Option<&str>) -> Result<(), ClientError> {
    let action = Value::from(action);
    let text = match params {
        Some(params) => format!("{{\"action\":{action},\"params\":{params}}}"),
        None => format!("{{\"action\":{action}}}"),
    };
    socket.send(Message::text(text)).map_err(link::lost)
}

/// The next text message; pings are answered on the way.
fn next_text(socket: &mut WebSocket<Stream>) -> Result<String, ClientError> {
    next(socket).map_err(|ended| ended.error)
}

/// A connection that is over, and whether it is worth while to try again.
struct Ended {
    error: ClientError,
    may_return: bool,
}

fn next(socket: &mut WebSocket<Stream>) -> Result<String, Ended> {
    loop {
        let message = socket.read().map_err(|error| Ended { error: link::lost(error), may_return: true })?;
        let (text, may_return) = match message {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(Some(frame)) if frame.reason.starts_with("Invalid API Key") => {
                let text = "the daemon wants an API key, or another one: give --api-key-file FILE or PINWIRE_API_KEY";
                (text.to_owned(), false)
            }
            Message::Close(Some(frame)) => {
                let code = u16::from(frame.code);
                let text = format!("the daemon closed the connection: {} {}", frame.code, frame.reason);
                (text, code < CLOSE_FOR_GOOD)
            }
            Message::Close(None) => ("the daemon closed the connection".to_owned(), true),
            _ => continue,
        };
        return Err(Ended { error: ClientError(text), may_return });
    }
}

/// A reader that has gone away is a normal end.
fn print_line(text: &str) -> Result<(), ClientError> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(ClientError(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
