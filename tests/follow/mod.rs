//! Publishers that number what they write, and clients of every dialect that follow it and notice what is missing.
#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::common::{Daemon, Ws};

/// Publishers, each with a topic and a pin of its own.
pub const PUBLISHERS: usize = 8;

/// The pin that says that no more comes, and the topic.
const END_PIN: u64 = 27;
const END_TOPIC: &str = "load.end";

/// Room for everything that is written, a minute long: clients that are cut again and again fall far behind.
pub const HISTORY: &str = "[history]\ncount = 1000000\nbytes = 1073741824\n";

/// Writes numbered messages on `load.<who>` and turns GPIO4 and the next ones on and off.
pub struct Publisher {
    messages: Ws,
    pins: Ws,
    who: usize,
    pub written: u64,
}

impl Publisher {
    pub fn new(daemon: &Daemon, who: usize) -> Publisher {
        let messages = daemon.ws(&format!("/publish?clientName=p{who}"));
        Publisher { messages, pins: daemon.ws("/"), who, written: 0 }
    }

    /// One message and one change of its pin; both are with the hub then.
    pub fn write(&mut self) {
        let (who, n) = (self.who, self.written);
        self.messages.send(&json!({"event": format!("load.p{who}"), "data": n.to_string()}).to_string());
        set(&mut self.pins, 4 + who as u64, n.is_multiple_of(2));
        self.written += 1;
        if self.written.is_multiple_of(16) {
            self.messages.sync();
        }
    }

    pub fn end(mut self) -> u64 {
        self.messages.sync();
        self.written
    }
}

fn set(ws: &mut Ws, pin: u64, high: bool) {
    let pins = json!({pin.to_string(): {"io": "OUTPUT", "state": u8::from(high)}});
    let answer = ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
}

/// Nothing is written behind this.
pub fn write_end(daemon: &Daemon) {
    let body = json!({"event": END_TOPIC, "data": "0"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=end", &[], &body).status, 201);
    set(&mut daemon.ws("/"), END_PIN, true);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Picloud,
    Endrpi,
    Events,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Picloud, Kind::Endrpi, Kind::Events];
}

/// What came of one connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// All that was written was seen.
    End,
    /// The daemon is gone, or has cut it.
    Gone(Option<u16>),
    /// As many as were asked for.
    Enough,
}

/// One client, over any number of connections.
pub struct Follower {
    pub kind: Kind,
    addr: SocketAddr,
    /// What comes before the answer comes again behind it.
    answered: bool,
    /// As the daemon named it last.
    pub seen: Option<(String, u64)>,
    /// The next number of each publisher.
    pub next: BTreeMap<String, u64>,
    pub events: u64,
    pub resumed: u64,
    /// Events that came because of `since`, as the answers said.
    pub missed: u64,
    pub lagged: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub not_recovered: u64,
}

impl Follower {
    pub fn new(kind: Kind, addr: SocketAddr) -> Follower {
        Follower {
            kind,
            addr,
            answered: false,
            seen: None,
            next: BTreeMap::new(),
            events: 0,
            resumed: 0,
            missed: 0,
            lagged: 0,
            lost: 0,
            duplicates: 0,
            not_recovered: 0,
        }
    }

    /// The position as a text.
    pub fn since(&self) -> Option<String> {
        self.seen.as_ref().map(|(epoch, offset)| format!("{epoch}:{offset}"))
    }

    /// Connects and asks for what is missing; the answer is not read yet.
    pub fn connect(&mut self) -> Result<Ws, tungstenite::Error> {
        self.answered = false;
        let path = match (self.kind, self.since()) {
            (Kind::Picloud, _) => "/subscribe?clientName=follower".to_owned(),
            (Kind::Endrpi, _) => "/".to_owned(),
            (Kind::Events, None) => "/ws?types=gpio.state.changed&positions=1".to_owned(),
            (Kind::Events, Some(since)) => format!("/ws?types=gpio.state.changed&since={since}"),
        };
        let mut ws = Ws::connect(self.addr, &path, &[])?;
        if self.kind != Kind::Events {
            self.ask(&mut ws)?;
        }
        Ok(ws)
    }

    fn ask(&self, ws: &mut Ws) -> Result<(), tungstenite::Error> {
        let since = self.since();
        let ask = match self.kind {
            Kind::Picloud => {
                json!({"action": "subscribe", "event": "load.*", "pattern": true, "position": true, "since": since})
            }
            Kind::Endrpi => {
                json!({"action": "SUBSCRIBE", "params": {"topics": ["load.*"], "position": true, "since": since}})
            }
            Kind::Events => {
                json!({"type": "subscribe", "payload": {"topic": "gpio.state.changed", "position": true, "since": since}})
            }
        };
        ws.0.send(Message::text(ask.to_string()))
    }

    /// Reads the answer to the first subscription, before anything is written.
    pub fn first_answer(&mut self, ws: &mut Ws) {
        while !self.answered {
            if let What::Answer(answer) = self.what(&ws.json()) {
                self.answered(&answer);
            }
        }
    }

    /// Reads until the end of all, of the connection, or of `enough` events.
    pub fn read(&mut self, ws: &mut Ws, enough: u64) -> Left {
        let until = self.events.saturating_add(enough);
        while self.events < until {
            let value: Value = match ws.0.read() {
                Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
                Ok(Message::Close(frame)) => return Left::Gone(frame.map(|frame| frame.code.into())),
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("{:?} waits in vain behind {:?}", self.kind, self.seen)
                }
                Err(_) => return Left::Gone(None),
            };
            match self.what(&value) {
                What::Answer(answer) => self.answered(&answer),
                What::Lagged => {
                    self.lagged += 1;
                    self.answered = false;
                    if self.ask(ws).is_err() {
                        return Left::Gone(None);
                    }
                }
                What::Event(who, n) if self.answered => {
                    if self.event(&value, &who, n) {
                        return Left::End;
                    }
                }
                What::Event(..) | What::Other => {}
            }
        }
        Left::Enough
    }

    fn answered(&mut self, answer: &Value) {
        self.answered = true;
        let offset = answer["offset"].as_u64().unwrap_or_else(|| panic!("no position: {answer}"));
        let epoch = answer["epoch"].as_str().expect("an epoch").to_owned();
        if let Some((_, seen)) = &self.seen {
            self.resumed += 1;
            if answer["recovered"] == true {
                assert_eq!(offset, *seen, "what follows continues from what was named: {answer}");
                self.missed += answer["missed"].as_u64().expect("a number");
            } else {
                self.not_recovered += 1;
            }
        }
        self.seen = Some((epoch, offset));
    }

    /// Whether it is the last one.
    fn event(&mut self, value: &Value, who: &str, n: Numbered) -> bool {
        let offset = value["offset"].as_u64().unwrap_or_else(|| panic!("no position: {value}"));
        let (epoch, seen) = self.seen.as_mut().expect("answered");
        assert_eq!(value["epoch"].as_str(), Some(epoch.as_str()));
        if offset <= *seen {
            self.duplicates += 1;
            return false;
        }
        *seen = offset;
        self.events += 1;
        let next = self.next.entry(who.to_owned()).or_default();
        match n {
            Numbered::End => return true,
            Numbered::Count(n) => {
                self.lost += n.saturating_sub(*next);
                self.duplicates += next.saturating_sub(n);
                *next = n + 1;
            }
            Numbered::Level(high) => {
                self.lost += u64::from(high != next.is_multiple_of(2));
                *next += 1;
            }
        }
        false
    }

    fn what(&self, value: &Value) -> What {
        let count = |who: &Value, n: &Value| {
            let who = who.as_str().expect("a topic").to_owned();
            let n = n.as_str().and_then(|n| n.parse().ok()).expect("a number");
            let n = if who == END_TOPIC { Numbered::End } else { Numbered::Count(n) };
            What::Event(who, n)
        };
        match self.kind {
            Kind::Picloud => match value["action"].as_str() {
                Some("subscribed") => What::Answer(value.clone()),
                Some("publish") => count(&value["event"], &value["data"]),
                _ => panic!("unexpected: {value}"),
            },
            Kind::Endrpi => match value["action"].as_str() {
                Some("SUBSCRIBE") => {
                    assert_eq!(value["success"], true, "{value}");
                    What::Answer(value["data"].clone())
                }
                Some("EVENT") => count(&value["data"]["topic"], &value["data"]["data"]),
                Some("LAGGED") => What::Lagged,
                _ => panic!("unexpected: {value}"),
            },
            Kind::Events => match value["type"].as_str() {
                Some("subscribed") => What::Answer(value["payload"].clone()),
                Some("gpio.state.changed") => {
                    let pin = value["data"]["pin"].as_u64().expect("a pin");
                    let level = Numbered::Level(value["data"]["state"] == "high");
                    What::Event(pin.to_string(), if pin == END_PIN { Numbered::End } else { level })
                }
                Some("lagged") => What::Lagged,
                _ => What::Other,
            },
        }
    }

    /// Everything that was written was seen, once.
    pub fn check(&self, written: &[u64]) {
        let wrong = (self.lost, self.duplicates, self.not_recovered);
        assert_eq!(wrong, (0, 0, 0), "{:?}: lost, twice, not recovered", self.kind);
        for (who, written) in written.iter().enumerate() {
            let name = if self.kind == Kind::Events { (4 + who).to_string() } else { format!("load.p{who}") };
            assert_eq!(self.next.get(&name).copied().unwrap_or_default(), *written, "{:?}: {name}", self.kind);
        }
    }
}

enum What {
    Answer(Value),
    Event(String, Numbered),
    Lagged,
    Other,
}

enum Numbered {
    Count(u64),
    Level(bool),
    End,
}

/// Ends a connection with a reset: what is under way is gone.
pub fn abort(ws: Ws) {
    let stream = ws.0.get_ref();
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
}

/// The same in the middle of a frame.
pub fn abort_in_a_frame(mut ws: Ws) {
    let _ = ws.0.get_mut().write_all(&[0x81, 0xFE, 0x01, 0x00, 1, 2, 3, 4, b'{' ^ 1]);
    abort(ws);
}
