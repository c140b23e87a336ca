//! The way to the hub, step by step as the agent would go it: name, port, TLS, WebSocket, and whether the hub knows this
//! device's key. The key itself is not shown and no place is taken, so an agent that is connected stays so.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::bounded;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::Patient;
use super::report::Finding;
use crate::auth::{self, proof};
use crate::config::{Agent, HubProtocol};
use crate::conn::client::{Dial, DialError, Stream, TlsFault, Trust};
use crate::rt::worker::Worker;
use crate::rt::{clock, random};
use crate::types::fingerprint::Fingerprint;
use crate::wire::chatops::client::{self, Told};

/// Where agents are expected, behind the hub's own path.
const PATH: &str = "/api/v1/agents/ws";

/// For the look-up of a name, which cannot be given a limit otherwise.
const LOOK_UP: Duration = Duration::from_secs(6);

/// To connect, and for each read.
const STEP: Duration = Duration::from_secs(4);

/// What the hub may say before its proof.
const MOST_MESSAGES: usize = 8;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let agent = &patient.config.agent;
    let Some(url) = &agent.hub else { return Vec::new() };
    match walk(agent, url) {
        Ok(socket) => match key(patient, socket) {
            Ok(finding) | Err(finding) => vec![finding],
        },
        Err(finding) => vec![finding],
    }
}

fn problem(what: impl Into<String>, fix: &str) -> Finding {
    Finding::problem("hub", what, fix)
}

fn walk(agent: &Agent, url: &str) -> Result<WebSocket<Stream>, Finding> {
    let trust = match (&agent.ca, &agent.pin) {
        (_, Some(pin)) => Trust::Pin(*pin),
        (Some(ca), None) => Trust::Ca(ca.clone()),
        (None, None) => Trust::System,
    };
    let dial = Dial::new(url, &trust, STEP).map_err(|error| {
        problem(
            error.to_string(),
            "name the hub in agent.hub like \"wss://hub.example:9000\", and PEM files in agent.ca",
        )
    })?;
    find(&dial)?;
    let stream = dial.connect().map_err(|error| refused(&dial, &error))?;
    upgrade(&dial, stream)
}

/// DNS, told apart from everything after it.
fn find(dial: &Dial) -> Result<(), Finding> {
    let peer = dial.peer();
    let (done, answer) = bounded(1);
    let name = peer.clone();
    let looking = Worker::spawn("doctor-dns", move || {
        let found = name.to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
        drop(done.send(found));
    });
    let found = looking.and_then(|_| answer.recv_timeout(LOOK_UP).unwrap_or(Err(io::ErrorKind::TimedOut.into())));
    let host = peer.rsplit_once(':').map_or(peer.as_str(), |(host, _)| host);
    let test = format!("`getent hosts {host}`");
    match found {
        Ok(addresses) if addresses.is_empty() => Err(problem(format!("DNS: '{host}' has no address"), &test)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let limit = humantime::format_duration(LOOK_UP);
            let what = format!("DNS: no answer about '{host}' within {limit}: the name server is not reached");
            Err(problem(what, "`cat /etc/resolv.conf` names it; is the network up (`ip route`)?"))
        }
        Err(error) => {
            // The words of glibc and of musl.
            let text = error.to_string();
            if ["emporary", "Try again"].iter().any(|word| text.contains(word)) {
                let what = format!("DNS: '{host}' cannot be looked up now: no name server answers ({text})");
                let fix = "is the network up (`ip route`)? `cat /etc/resolv.conf` says who is asked";
                return Err(problem(what, fix));
            }
            let fix = if host.ends_with(".local") {
                format!(
                    "the .local name is known only on its own network, to machines with libnss-mdns; {test}, or \
                         write the hub's address"
                )
            } else {
                format!("check the spelling in agent.hub; {test} must find it")
            };
            Err(problem(format!("DNS: there is no '{host}' ({text})"), &fix))
        }
    }
}

fn refused(dial: &Dial, error: &DialError) -> Finding {
    let now = humantime::format_rfc3339_seconds(clock::wall());
    let of_clock = format!("renew the hub's certificate; or this machine's clock, which says {now}, is wrong");
    match error {
        DialError::Refused { address, reason } => {
            let fix = if reason.contains("refused") {
                "the machine is there, and nobody listens on this port: is the hub running, is the port right, and does it \
                 listen on more than 127.0.0.1?"
            } else if reason.contains("unreachable") || reason.contains("no route") {
                "there is no way there: `ip route`, and is the hub in this network or VPN?"
            } else {
                "the machine is off, or a firewall drops what is sent there: `ping` it, and see the hub's firewall"
            };
            problem(format!("TCP: no connection to {address}: {reason}"), fix)
        }
        DialError::Tls { fault, .. } => {
            let fix = match fault {
                TlsFault::Untrusted { ca: None } => {
                    "copy the hub's certificate here and name it in agent.ca (--ca), or its SHA-256 in agent.pin (--pin)"
                }
                TlsFault::Untrusted { ca: Some(_) } => {
                    "name the hub's own certificate in agent.ca (--ca), or that of the authority that signed it"
                }
                TlsFault::Pin { .. } => {
                    "if the hub's certificate was renewed, put the new SHA-256 into agent.pin (--pin); if not, somebody else \
                     answers there"
                }
                TlsFault::Name { .. } => {
                    "call the hub by a name that its certificate has, or pin it with agent.pin (--pin)"
                }
                TlsFault::Expired | TlsFault::NotYet => &of_clock,
                TlsFault::Plain => {
                    "the hub speaks no TLS on this port: write ws:// in agent.hub, or give the hub a \
                                    certificate"
                }
                TlsFault::Other(_) => "`openssl s_client -connect HOST:PORT` shows what it answers",
            };
            problem(format!("TLS: {} answers, but {fault}", dial.peer()), fix)
        }
        DialError::Late { .. } | DialError::Lost { .. } if dial.is_secure() => problem(
            format!("TLS: {} takes the connection and shakes no hands: {error}", dial.peer()),
            "is that port a hub's? `openssl s_client -connect HOST:PORT` shows what it answers",
        ),
        other => problem(format!("TCP: {other}"), "see that the hub runs, and that agent.hub is its address"),
    }
}

fn upgrade(dial: &Dial, stream: Stream) -> Result<WebSocket<Stream>, Finding> {
    let scheme = if dial.is_secure() { "wss" } else { "ws" };
    let path = format!("{}{PATH}", dial.prefix());
    let request = format!("{scheme}://{}{path}", dial.peer())
        .into_client_request()
        .map_err(|error| problem(error.to_string(), "name the hub in agent.hub like \"wss://hub.example:9000\""))?;
    let peer = dial.peer();
    match tungstenite::client::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(response))) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let text = client::said(body);
            if !dial.is_secure() && (speaks_tls(dial) || text.contains("speaks TLS")) {
                return Err(secret(&peer));
            }
            let fix = match status.as_u16() {
                404 => "nothing is there: write agent.hub without a path, unless the hub stands behind a proxy's",
                403 | 421 | 400 => {
                    "add the name by which agent.hub calls it to front.hosts of the hub, or use its address"
                }
                429 | 503 => "the hub has too many connections: see front.max_connections there",
                500..=599 => "a proxy before the hub does not reach it",
                _ => "is that a Pinwire or ChatOps hub?",
            };
            Err(problem(format!("HTTP: {peer}{path} answers {status}, not a WebSocket: {text}"), fix))
        }
        Err(_) if !dial.is_secure() && speaks_tls(dial) => Err(secret(&peer)),
        Err(HandshakeError::Failure(error)) => {
            let what = format!("HTTP: {peer} is connected, and speaks no WebSocket: {error}");
            Err(problem(what, "is that port a hub's? Open it in a browser"))
        }
        Err(HandshakeError::Interrupted(_)) => {
            let limit = humantime::format_duration(STEP);
            let what = format!("HTTP: {peer} is connected, and does not answer within {limit}");
            Err(problem(what, "is that port a hub's? Open it in a browser"))
        }
    }
}

fn secret(peer: &str) -> Finding {
    problem(format!("TLS: {peer} speaks TLS, and agent.hub is without"), "write wss:// in agent.hub")
}

/// Whether somebody shows a certificate there: none is the right one.
fn speaks_tls(dial: &Dial) -> bool {
    let nobody = Trust::Pin(Fingerprint([0; 32]));
    let secure = Dial::new(&format!("wss://{}", dial.peer()), &nobody, STEP).ok();
    let answer = secure.map(|dial| dial.connect());
    matches!(answer, Some(Err(DialError::Tls { fault: TlsFault::Pin { .. }, .. })))
}

/// Asks the hub to prove that it knows the key, which tells as well that the key counts there.
fn key(patient: &Patient, mut socket: WebSocket<Stream>) -> Result<Finding, Finding> {
    let agent = &patient.config.agent;
    let peer = socket.get_ref().tcp().peer_addr().map_or_else(|_| "the hub".to_owned(), |peer| peer.to_string());
    if let Some(why) = &patient.agent_keyless {
        let what = format!("{peer} is reached, but there is no key to show it: {why}");
        let make = "have the hub make one for this device, put it into a file of mode 0600 and name that";
        let named = patient.secrets.iter().find(|(place, _)| why.starts_with(&format!("{place}: ")));
        let closed = named.and_then(|(_, file)| super::key::closed(patient, file));
        return Err(problem(what, closed.as_deref().unwrap_or(make)));
    }
    if agent.protocol == HubProtocol::Chatops {
        let what = format!("{peer} is reached; the key was not tried, which would replace a running agent's session");
        return Ok(Finding::ok("hub", what));
    }
    let (id, digest) = auth::take_apart(&agent.key);
    let Some(id) = id else {
        let what = format!("{}: the file holds no key of a hub of this program (pw_….…)", agent.key_place);
        return Err(problem(what, "have the hub make one, or set agent.protocol = \"chatops\""));
    };
    let nonce: [u8; proof::NONCE_BYTES] =
        random::bytes().map_err(|error| problem(format!("no random numbers: {error}"), "reboot"))?;
    let mut hello = Vec::new();
    client::hello(&mut hello, id.as_str(), &nonce);
    let sent = socket.send(Message::text(String::from_utf8_lossy(&hello).into_owned()));
    let answer = sent.map_err(|error| error.to_string()).and_then(|()| proof_of(&mut socket));
    let _ = socket.close(None);
    let _ = socket.flush();
    match answer {
        Ok(shown) if proof::is_good(&shown, &digest, &nonce, id.as_str()) => Ok(Finding::ok(
            "hub",
            format!("{peer} is reached and knows this device's key {id}; its session was not touched"),
        )),
        Ok(_) => {
            let what = format!(
                "auth: {peer} is a hub, and cannot prove that it knows key {id}: the key is unknown there, has expired or \
                 was revoked, or that is another hub"
            );
            let fix = format!(
                "on the hub, `pinwire key list --state-dir DIR` says what became of {id}; make a new one there and put it \
                 into the file of {}",
                agent.key_place
            );
            Err(problem(what, &fix))
        }
        Err(why) => {
            let what = format!("auth: {peer} takes the connection, and gives no proof: {why}");
            Err(problem(what, "is it a Pinwire hub of this version? For ChatOps set agent.protocol = \"chatops\""))
        }
    }
}

fn proof_of(socket: &mut WebSocket<Stream>) -> Result<Vec<u8>, String> {
    for _ in 0..MOST_MESSAGES {
        match socket.read().map_err(|error| error.to_string())? {
            Message::Text(text) => match client::parse(text.as_bytes()) {
                Ok(Told::Proof { proof }) => return Ok(proof),
                Ok(Told::Error { message, .. }) => return Err(message),
                _ => {}
            },
            Message::Close(frame) => {
                return Err(
                    frame.map_or_else(|| "it closes".to_owned(), |frame| format!("it closes: {}", frame.reason))
                );
            }
            _ => {}
        }
    }
    Err("it says other things".to_owned())
}
