//! The way to the hub: one connection at a time, for ever again.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, WebSocket};

use super::backoff::Backoff;
use super::session::Session;
use super::shared::Shared;
use crate::agent::facts;
use crate::agent::orders::{Orders, Reply};
use crate::auth::{Digest, KeyId};
use crate::config;
use crate::conn::client::{Cancel, Dial, DialError, Stream, TlsFault};
use crate::dispatch::Desk;
use crate::rt::{clock, random};
use crate::systemd::{Fact, Notify};
use crate::types::fleet::{AgentInfo, Issuer, Order, Outcome, Protocol};
use crate::wire::chatops::client::{self, Terms};

/// Where agents are expected, behind the hub's own path.
const PATH: &str = "/api/v1/agents/ws";

/// For the WebSocket handshake as a whole.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Streams that are named to a hub, whose limit this is.
const MOST_STREAMS: usize = 64;

/// The largest message of a hub.
const MESSAGE_BYTES: usize = 2 << 20;

/// Why there is no connection any more.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The agent itself ends.
    Stopped,
    /// Worth another attempt soon.
    Failed(String),
    /// The hub does not want us, in its words.
    Refused(String),
    /// It says that it is of no use to come back.
    Unwanted(String),
    /// It does not know our key.
    Impostor,
    /// Another session with this server's key has our place.
    Replaced,
    /// It had no room for something, and wants it again.
    Resend,
}

pub struct Link {
    pub shared: Arc<Shared>,
    pub config: config::Agent,
    pub dial: Dial,
    pub key_id: Option<KeyId>,
    pub digest: Digest,
    pub desk: Arc<Desk>,
    pub orders: Arc<Orders>,
    pub root: PathBuf,
    pub boot_id: Option<Arc<str>>,
    /// What the device is called where `agent.name` does not say.
    pub node_id: String,
    /// Who shows a person how the link is.
    pub notify: Arc<Notify>,
}

impl Link {
    /// Runs until the agent ends.
    pub fn run(self) {
        let mut backoff = Backoff::new();
        let mut said = None;
        self.notify.tell(Fact::Hub, || format!("connecting to hub {}", self.name()));
        while !self.shared.is_stopping() {
            let (end, since) = self.attempt();
            self.shared.set_connected(false);
            if since.is_some() {
                said = None;
            }
            let random = random::fraction();
            let (what, wait) = match end {
                End::Stopped => return,
                End::Failed(what) => (what, backoff.wait(since, clock::now(), random)),
                End::Resend => {
                    let what = "it had no room for records, and wants them again".to_owned();
                    (what, backoff.soon(since, clock::now(), random))
                }
                End::Refused(why) => (
                    format!("it refuses this device: {why}; check the key in {}", self.config.key_place),
                    Backoff::long(random),
                ),
                End::Unwanted(why) => return self.stay_away(&why),
                End::Impostor => {
                    let what = format!(
                        "whoever answers there does not know this device's key, and was not shown it: check agent.hub, \
                         and whether the key in {} was made by that hub and still counts",
                        self.config.key_place
                    );
                    (what, Backoff::long(random))
                }
                End::Replaced => {
                    let what = "another session with a key of the same server has taken over: check whether two devices \
                                use one key";
                    (what.to_owned(), Backoff::long(random))
                }
            };
            let name = self.name();
            let wait_text = humantime::format_duration(Duration::from_millis(wait.as_millis() as u64));
            // Once, not at every attempt.
            if said.as_ref() == Some(&what) {
                log::debug!("hub {name}: {what}; again in {wait_text}");
            } else {
                log::warn!("hub {name}: {what}; records are kept meanwhile, and it is tried again");
            }
            self.notify.tell(Fact::Hub, || format!("hub {}: {what}", self.name()));
            said = Some(what);
            self.pause(wait);
        }
    }

    /// One connection to its end, and since when it was a good one.
    fn attempt(&self) -> (End, Option<Instant>) {
        let socket = match self.connect() {
            Ok(socket) => socket,
            Err(end) => return (end, None),
        };
        let mut session = Session::new(self, socket);
        let end = session.run();
        (end, session.welcomed)
    }

    fn connect(&self) -> Result<WebSocket<Stream>, End> {
        let failed = |what: String| End::Failed(what);
        let is_due = || {
            self.shared.heard();
            self.shared.is_stopping()
        };
        let cancel = Cancel { bell: self.shared.bell(), is_due: &is_due };
        let stream = self.dial.connect_unless(Some(cancel)).map_err(|error| match error {
            DialError::Cancelled => End::Stopped,
            error => failed(explained(&error)),
        })?;
        stream.tcp().set_nonblocking(true).map_err(|error| failed(error.to_string()))?;
        let scheme = if self.dial.is_secure() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}{PATH}", self.dial.peer(), self.dial.prefix());
        let mut request = url.into_client_request().map_err(|error| failed(error.to_string()))?;
        let agent = HeaderValue::from_static(concat!("pinwire/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert("User-Agent", agent);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES))
            .read_buffer_size(8 * 1024);
        let until = clock::now() + HANDSHAKE;
        let mut attempt = tungstenite::client::client_with_config(request, stream, Some(limits));
        loop {
            let half = match attempt {
                Ok((socket, _)) => return Ok(socket),
                Err(HandshakeError::Failure(Error::Http(response))) => {
                    let status = response.status();
                    if status == 404 {
                        return Err(failed(self.nothing_there()));
                    }
                    let body = response.body().as_deref().unwrap_or_default();
                    return Err(failed(format!("no agents are let in there: {status} {}", client::said(body))));
                }
                Err(HandshakeError::Failure(error)) => return Err(failed(format!("no WebSocket: {error}"))),
                Err(HandshakeError::Interrupted(half)) => half,
            };
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() || self.shared.is_stopping() {
                let limit = humantime::format_duration(HANDSHAKE);
                return Err(failed(format!("no WebSocket within {limit}")));
            }
            self.wait_for(Some(half.get_ref().get_ref()), left);
            attempt = half.handshake();
        }
    }

    /// For a 404: the path is the usual mistake, and the fix stands before the words of whoever answers there.
    fn nothing_there(&self) -> String {
        let fix = match self.dial.prefix() {
            "" => "agent.hub is the address of no Pinwire or ChatOps hub",
            _ => "write agent.hub without a path, unless the hub stands behind one of a proxy's",
        };
        format!("no agents are let in there: 404 Not Found, nothing is at {}{PATH}; {fix}", self.dial.prefix())
    }

    /// Waits until the socket has something, the agent ends, or the time is over.
    fn wait_for(&self, stream: Option<&Stream>, limit: Duration) {
        let bell = self.shared.bell();
        let mut fds = vec![PollFd::new(&bell, PollFlags::IN)];
        fds.extend(stream.map(|stream| PollFd::new(stream.tcp(), PollFlags::IN)));
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let _ = poll(&mut fds, Some(&limit));
        self.shared.heard();
    }

    /// Waits; what rings meanwhile is no reason to hurry, but the end is.
    /// The hub wants it gone, and nothing here will change that. The device goes on without: its pins are others' business.
    fn stay_away(&self, why: &str) {
        let what = format!("it wants this device not to come back ({why}): it is not tried again before a restart");
        log::error!("hub {}: {what}", self.name());
        self.notify.tell(Fact::Hub, || format!("hub {}: {what}", self.name()));
        while !self.shared.is_stopping() {
            self.pause(Backoff::long(0.0));
        }
    }

    fn pause(&self, wait: Duration) {
        let until = clock::now() + wait;
        while !self.shared.is_stopping() {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            self.wait_for(None, left);
        }
    }

    /// The hub as people know it: without what a URL could hide.
    pub fn name(&self) -> String {
        format!("{}{}", self.dial.peer(), self.dial.prefix())
    }

    pub fn key_id(&self) -> &str {
        self.key_id.as_ref().map_or("", KeyId::as_str)
    }

    /// What the hub is told of this device.
    pub fn info(&self, own: Option<IpAddr>) -> AgentInfo {
        AgentInfo {
            name: Some(self.config.name.clone().unwrap_or_else(|| self.node_id.clone())),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            boot_id: self.boot_id.as_deref().map(str::to_owned),
            monotonic_ns: Some(clock::boot_ns()),
            cluster: self.config.cluster.clone(),
            streams: asked_for(self.shared.spool().streams()),
            node: Some(facts::of_this_machine(&self.root, &self.desk.telemetry, own)),
        }
    }

    /// Has an order carried out; its outcome is said when it is there, whatever connection there is then.
    pub fn take_order(&self, id: String, protocol: Protocol, order: Order, terms: Terms) {
        let shared = Arc::clone(&self.shared);
        let answer = Box::new(Answer { shared, id: id.clone(), protocol, order: order.clone() });
        let unknown = || Issuer { who: "the hub".to_owned(), id: None, from: self.name() };
        let issuer = terms.issuer.unwrap_or_else(unknown);
        match self.config.protocol {
            config::HubProtocol::Pinwire => self.orders.take(&id, &order, &issuer, terms.timeout, answer),
            config::HubProtocol::Chatops => {
                let why = "this agent takes no orders: agent.protocol is \"chatops\"";
                self.orders.refuse(&id, &order, &issuer, answer, why);
            }
        }
    }
}

/// What the hub is told of an order.
struct Answer {
    shared: Arc<Shared>,
    id: String,
    protocol: Protocol,
    order: Order,
}

impl Reply for Answer {
    fn output(&mut self, offset: usize, text: &str) {
        // While the hub is away nobody watches, and the outcome has it all.
        if self.shared.away_since().is_none() {
            let mut out = Vec::new();
            client::command_output(&mut out, &self.id, offset as u64, text);
            self.shared.say(out);
        }
    }

    fn done(self: Box<Self>, outcome: Outcome) {
        let mut out = Vec::new();
        client::outcome(&mut out, self.protocol, &self.id, &self.order, &outcome);
        self.shared.say(out);
    }
}

/// The streams the hub is asked how much it has of: no more than it takes, this run's among them. Of the others
/// everything is handed over, and what it has already it passes over.
fn asked_for(mut streams: Vec<Arc<str>>) -> Vec<Arc<str>> {
    if streams.len() > MOST_STREAMS {
        streams.drain(MOST_STREAMS - 1..streams.len() - 1);
    }
    streams
}

/// With the fix where there is a usual one.
fn explained(error: &DialError) -> String {
    let hint = match error {
        DialError::Tls { fault: TlsFault::Untrusted { ca: None }, .. } => {
            "; trust its certificate with agent.ca or agent.pin (--ca, --pin)"
        }
        DialError::Tls { fault: TlsFault::Untrusted { ca: Some(_) }, .. } => {
            "; name the hub's own certificate, or that of the authority that signed it, in agent.ca (--ca)"
        }
        DialError::Tls { fault: TlsFault::Pin { .. }, .. } => "; if that is your hub's, put it into agent.pin (--pin)",
        DialError::Tls { fault: TlsFault::Plain, .. } => "; use ws://",
        _ => "",
    };
    format!("{error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_asked_about_the_oldest_streams_and_this_run_s() {
        let streams = |count: usize| (0..count).map(|number| number.to_string().into()).collect::<Vec<Arc<str>>>();
        assert_eq!(asked_for(streams(64)), streams(64));
        let asked = asked_for(streams(100));
        assert_eq!((asked.len(), &*asked[0], &*asked[62], &*asked[63]), (64, "0", "62", "99"));
    }
}
