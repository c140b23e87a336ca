//! `watch`: events as they happen, and with `--since` those that happened meanwhile.

use std::io::Write as _;
use std::time::Duration;

use crossbeam_channel::never;
use serde_json::{Value, json};
use tungstenite::WebSocket;

use super::link::{Link, Stream};
use super::{ClientError, Ended, next, print_line, request};
use crate::cli::{Since, WatchArgs};
use crate::types::position::{Epoch, Position};

/// A daemon pings at least every 25 s by default; silence for longer means that it is gone.
const SILENCE: Duration = Duration::from_secs(90);

/// The first and the longest wait before a connection is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// Prints events, one JSON object per line.
///
/// # Errors
/// No daemon, a refused pattern, or the end of the connection.
pub fn watch(args: &WatchArgs) -> Result<(), ClientError> {
    let link = Link::new(&args.client)?;
    let mut watch = Watch {
        topics: if args.patterns.is_empty() { vec!["**".to_owned()] } else { args.patterns.clone() },
        seen: match args.since {
            Some(Since::At(position)) => Some(position),
            Some(Since::Now) | None => None,
        },
        left: args.count,
        tells: args.since.is_some(),
        begun: false,
        wait: RETRY.0,
    };
    loop {
        let Err(ended) = watch.run(&link) else { return Ok(()) };
        if args.since.is_none() || !watch.begun || !ended.may_return {
            return Err(ended.error);
        }
        say(&format!("pinwire: {}; trying again", ended.error));
        // Nobody ever sends: this is the limit alone.
        let _ = never::<()>().recv_timeout(watch.wait);
        watch.wait = (watch.wait * 2).min(RETRY.1);
    }
}

struct Watch {
    topics: Vec<String>,
    /// Everything up to here was printed, or is not wanted.
    seen: Option<Position>,
    /// Events still to print.
    left: Option<u64>,
    /// From where it begins is told: who ends it before its first event knows then where to go on.
    tells: bool,
    /// It was subscribed before.
    begun: bool,
    wait: Duration,
}

impl Watch {
    /// One connection, to its end or that of the command.
    fn run(&mut self, link: &Link) -> Result<(), Ended> {
        let fatal = |error: ClientError| Ended { error, may_return: false };
        let mut socket = link.open("/")?;
        self.subscribe(&mut socket)?;
        // What comes before the answer is not of this subscription, and comes again.
        let mut subscribed = false;
        while self.left != Some(0) {
            let text = next(&mut socket)?;
            let message: Value =
                serde_json::from_str(&text).map_err(|error| fatal(ClientError(format!("not JSON: {error}"))))?;
            match message["action"].as_str() {
                Some("EVENT") if subscribed => self.event(message).map_err(fatal)?,
                Some("EVENT") => {}
                // It was too slow: what was left out is in the daemon's history.
                Some("LAGGED") => {
                    subscribed = false;
                    self.subscribe(&mut socket)?;
                }
                _ if message["success"] != true => {
                    let text = format!("the daemon refused the subscription: {}", message["error"]);
                    return Err(fatal(ClientError(text)));
                }
                _ => {
                    subscribed = true;
                    self.subscribed(&message["data"]);
                    link.set_read_timeout(&socket, SILENCE).map_err(fatal)?;
                }
            }
        }
        let _ = socket.close(None);
        Ok(())
    }

    fn subscribe(&self, socket: &mut WebSocket<Stream>) -> Result<(), Ended> {
        let mut params = json!({ "topics": self.topics, "position": true });
        if let Some(seen) = self.seen {
            params["since"] = Value::from(seen.to_string());
        }
        let sent = request(socket, "SUBSCRIBE", Some(&params.to_string()));
        sent.map_err(|error| Ended { error, may_return: true })
    }

    fn subscribed(&mut self, answer: &Value) {
        if answer["recovered"] == false
            && let Some(seen) = self.seen
        {
            say(&format!("pinwire: the daemon does not know what happened since {seen}: events may be missing here"));
        }
        // A daemon of before there were positions answers a text.
        self.seen = position(answer).or(self.seen);
        if !self.begun {
            let since = self.seen.filter(|_| self.tells).map_or_else(String::new, |seen| format!(" --since {seen}"));
            say(&format!("watching {}{since}", self.topics.join(" ")));
        }
        self.begun = true;
        self.wait = RETRY.0;
    }

    fn event(&mut self, mut message: Value) -> Result<(), ClientError> {
        let at = position(&message);
        let mut event = message["data"].take();
        if let Some(at) = at {
            if self.seen.is_some_and(|seen| seen.epoch == at.epoch && at.offset <= seen.offset) {
                return Ok(());
            }
            self.seen = Some(at);
            event["position"] = Value::from(at.to_string());
        }
        print_line(&event.to_string())?;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

fn position(message: &Value) -> Option<Position> {
    let epoch: Epoch = message["epoch"].as_str()?.parse().ok()?;
    Some(Position { epoch, offset: message["offset"].as_u64()? })
}

/// To who looks on; if nobody does any more, the events on stdout still count.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
