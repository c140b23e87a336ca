//! Fan-out: every event goes to S subscribers; the next is published when all of them have an earlier one.

use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{BUFFER_BYTES, Client, EVENT, Role};
use crate::frames::client_text;
use crate::options::Options;
use crate::pairs::{Goal, Load, Pairs};
use crate::publisher::{Publisher, Via};
use crate::ready::Ready;
use crate::server::{Kind, Server};
use crate::table::{Row, Target};

/// Payload of a delivered message, as the daemon sends it with a time in nanoseconds.
const MESSAGE_BYTES: usize = 128;

/// A subscription has no acknowledgement, so events are published until each subscriber has seen one: this
/// many at most, with this much patience for each.
const PROBES: usize = 40;
const PROBE_PATIENCE: Duration = Duration::from_millis(250);
/// No delivery for this long: the probes are through.
const QUIET: Duration = Duration::from_millis(50);

/// How many of each.
#[derive(Clone, Copy)]
pub struct Shape {
    pub subscribers: usize,
    pub publishers: usize,
    /// Events that may be on their way at the same time.
    pub window: usize,
}

impl Shape {
    pub fn name(self) -> String {
        let publishers = match self.publishers {
            1 => String::new(),
            count => format!(", {count} publishers"),
        };
        format!("fan-out to {}, {} in flight{publishers}", self.subscribers, self.window)
    }

    fn goal(self) -> Goal {
        match (self.window, self.subscribers) {
            (1, 100) => Goal::Cpu(1.05),
            (1, 10 | 1000) => Goal::Cpu(1.1),
            (8, _) => Goal::Rate(3.5),
            _ => Goal::None,
        }
    }
}

/// Measures the daemon and the peers against the reference; units are deliveries, that is events times subscribers.
pub fn measure(options: &Options, shape: Shape) -> Result<Vec<Row>> {
    let daemon = Server::daemon(options)?;
    let reference = reference(options, &daemon)?;
    let peers = options.peers.iter().map(|peer| Server::peer(options, peer)).collect::<Result<Vec<_>>>()?;
    let servers: Vec<&Server> = [&daemon, &reference].into_iter().chain(&peers).collect();
    let connect = |_, server: &Server| FanOut::connect(server, shape, Via::Socket);
    let pairs = Pairs::measure(options, &shape.name(), &servers, connect)?;
    let mut rows = vec![pairs.row(shape.name(), shape.goal())];
    for (place, peer) in options.peers.iter().enumerate() {
        let mut row = pairs.row_of(place + 2, format!("… by {}", peer.name.as_str()), Goal::None);
        if shape.window > 1 && peer.name == crate::peers::Name::Bun {
            row.target = Target::ahead(pairs.per_second(0), pairs.per_second(place + 2));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Measures publishing over HTTP, connections kept, against publishing on a socket; as many publishers as events in
/// flight, because each has to wait for its answer.
pub fn measure_http(options: &Options, window: usize) -> Result<Vec<Row>> {
    let shape = Shape { subscribers: 100, publishers: window, window };
    let [http, socket] = [Server::daemon(options)?, Server::daemon(options)?];
    let name = format!("HTTP publish to 100, {window} in flight, against a socket's");
    let pairs = Pairs::measure(options, &name, &[&http, &socket], |place, server| {
        FanOut::connect(server, shape, if place == 0 { Via::Http } else { Via::Socket })
    })?;
    Ok(vec![pairs.row(name, Goal::Rate(0.9))])
}

/// The reference, for frames of the lengths that the daemon was seen to use.
pub fn reference(options: &Options, daemon: &Server) -> Result<Server> {
    let request = event_frame(daemon.kind, EVENT).len();
    Server::reference(options, request, delivery_bytes(daemon)?)
}

/// What a publisher sends, so long that [`MESSAGE_BYTES`] are delivered.
pub fn event_frame(kind: Kind, topic: &str) -> Vec<u8> {
    match kind {
        Kind::Peer(peer) => peer.publish(topic, &"x".repeat(MESSAGE_BYTES)),
        Kind::Daemon | Kind::Reference => client_text(&event_text(topic)),
    }
}

/// The same as the daemon reads it.
pub fn event_text(topic: &str) -> String {
    let delivered =
        format!(r#"{{"action":"publish","event":"{topic}","data":"","created_at":"2026-03-02T08:15:30.123456789Z"}}"#);
    let data = "x".repeat(MESSAGE_BYTES - delivered.len());
    format!(r#"{{"event":"{topic}","data":"{data}"}}"#)
}

/// Has one event delivered by the daemon: the length of that frame is what the reference will send.
fn delivery_bytes(daemon: &Server) -> Result<usize> {
    let alone = Shape { subscribers: 1, publishers: 1, window: 1 };
    let mut fan_out = FanOut::connect(daemon, alone, Via::Socket)?;
    fan_out.publish()?;
    let (bytes, text) = fan_out.subscribers[0].receive_text()?;
    let delivered: serde_json::Value = serde_json::from_str(&text)?;
    match delivered["event"].as_str() {
        Some(EVENT) => Ok(bytes),
        _ => Err(format!("a subscriber of {EVENT:?} received {text}").into()),
    }
}

/// A publisher or several, their subscribers, and what is on its way between them.
pub struct FanOut {
    publishers: Vec<Publisher>,
    subscribers: Vec<Client>,
    ready: Ready,
    buffer: Vec<u8>,
    /// Events each subscriber has received in this run.
    received: Vec<u64>,
    /// For event `n`, at `n % window`: how many subscribers it has yet to reach.
    missing: Vec<usize>,
    published: u64,
    /// Events that have reached everyone: all before this number.
    complete: u64,
}

impl FanOut {
    /// Connects everybody and returns when every subscription is live and nothing is on its way.
    pub fn connect(server: &Server, shape: Shape, via: Via) -> Result<Self> {
        let subscribers = Client::open_many(server, shape.subscribers, Role::Subscriber)?;
        let publishers =
            (0..shape.publishers).map(|number| Publisher::open(server, via, number)).collect::<Result<_>>()?;
        let mut fan_out = Self {
            publishers,
            ready: Ready::watch(&subscribers)?,
            buffer: vec![0; BUFFER_BYTES],
            received: vec![0; subscribers.len()],
            missing: vec![0; shape.window],
            subscribers,
            published: 0,
            complete: 0,
        };
        fan_out.probe()?;
        Ok(fan_out)
    }

    /// Publishes until each subscriber has received something, then waits for the last of it.
    fn probe(&mut self) -> Result<()> {
        let mut deaf = self.subscribers.len();
        for _ in 0..PROBES {
            self.publish()?;
            let until = Instant::now() + PROBE_PATIENCE;
            while deaf > 0 && self.hear(&mut deaf, until)? {}
            if deaf == 0 {
                while self.hear(&mut deaf, Instant::now() + QUIET)? {}
                return Ok(());
            }
        }
        Err(format!("{deaf} of {} subscribers never received an event", self.subscribers.len()).into())
    }

    /// Receives probes until `until` at most; `false` when nothing came.
    fn hear(&mut self, deaf: &mut usize, until: Instant) -> Result<bool> {
        let ready = self.ready.wait_until(until)?;
        for &number in ready {
            let count = self.subscribers[number].receive_ready(&mut self.buffer)? as u64;
            *deaf -= usize::from(self.received[number] == 0 && count > 0);
            self.received[number] += count;
        }
        Ok(!ready.is_empty())
    }

    /// Publishes one event; the publishers take turns.
    fn publish(&mut self) -> Result<()> {
        let turn = self.published as usize % self.publishers.len();
        let slot = self.published as usize % self.missing.len();
        self.missing[slot] = self.subscribers.len();
        self.published += 1;
        self.publishers[turn].publish()
    }

    /// Publishes one event and hands the time of each of its deliveries to `each`.
    pub fn timed(&mut self, mut each: impl FnMut(Duration)) -> Result<()> {
        let start = Instant::now();
        self.publish()?;
        let mut left = self.subscribers.len();
        while left > 0 {
            for &number in self.ready.wait()? {
                let count = self.subscribers[number].receive_ready(&mut self.buffer)?;
                left = left.checked_sub(count).ok_or("more deliveries than were published")?;
                (0..count).for_each(|_| each(start.elapsed()));
            }
        }
        Ok(())
    }

    /// Waits for deliveries, takes them, and notes the events that are complete with them.
    fn collect(&mut self) -> Result<()> {
        let window = self.missing.len() as u64;
        for &number in self.ready.wait()? {
            let count = self.subscribers[number].receive_ready(&mut self.buffer)? as u64;
            let first = self.received[number];
            if first + count > self.published {
                return Err("a subscriber received more events than were published".into());
            }
            for event in first..first + count {
                self.missing[(event % window) as usize] -= 1;
            }
            self.received[number] += count;
        }
        while self.complete < self.published && self.missing[(self.complete % window) as usize] == 0 {
            self.complete += 1;
        }
        Ok(())
    }
}

impl Load for FanOut {
    fn run(&mut self, time: Duration) -> Result<u64> {
        self.received.fill(0);
        self.published = 0;
        self.complete = 0;
        let window = self.missing.len() as u64;
        let until = Instant::now() + time;
        loop {
            if Instant::now() < until {
                while self.published - self.complete < window {
                    self.publish()?;
                }
            } else if self.complete == self.published {
                return Ok(self.published * self.subscribers.len() as u64);
            }
            self.collect()?;
        }
    }
}
