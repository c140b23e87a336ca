//! Fan-out: every event goes to S subscribers; the next is published when all of them have an earlier one.

use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{BUFFER_BYTES, Client, EVENT, Role};
use crate::frames::client_text;
use crate::options::Options;
use crate::pairs::{Load, Pairs};
use crate::ready::Ready;
use crate::server::Server;
use crate::table::Row;

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

    fn target(self) -> Option<f64> {
        match self.window {
            1 => Some(0.9),
            8 => Some(3.0),
            _ => None,
        }
    }
}

/// Measures the daemon against the reference; units are deliveries, that is events times subscribers.
pub fn measure(options: &Options, shape: Shape) -> Result<Vec<Row>> {
    let daemon = Server::daemon(options)?;
    let event = event_frame();
    let reference = Server::reference(options, event.len(), delivery_bytes(&daemon, &event)?)?;
    let pairs =
        Pairs::measure(options, &shape.name(), [&daemon, &reference], |server| FanOut::connect(server, shape, &event))?;
    Ok(vec![pairs.row(shape.name(), shape.target())])
}

/// What a publisher sends, so long that [`MESSAGE_BYTES`] are delivered.
fn event_frame() -> Vec<u8> {
    let delivered =
        format!(r#"{{"action":"publish","event":"{EVENT}","data":"","created_at":"2026-03-02T08:15:30.123456789Z"}}"#);
    let data = "x".repeat(MESSAGE_BYTES - delivered.len());
    client_text(&format!(r#"{{"event":"{EVENT}","data":"{data}"}}"#))
}

/// Has one event delivered by the daemon: the length of that frame is what the reference will send.
fn delivery_bytes(daemon: &Server, event: &[u8]) -> Result<usize> {
    let alone = Shape { subscribers: 1, publishers: 1, window: 1 };
    let mut fan_out = FanOut::connect(daemon, alone, event)?;
    fan_out.publish()?;
    let (bytes, text) = fan_out.subscribers[0].receive_text()?;
    let delivered: serde_json::Value = serde_json::from_str(&text)?;
    match delivered["event"].as_str() {
        Some(EVENT) => Ok(bytes),
        _ => Err(format!("a subscriber of {EVENT:?} received {text}").into()),
    }
}

/// A publisher or several, their subscribers, and what is on its way between them.
struct FanOut<'a> {
    event: &'a [u8],
    publishers: Vec<Client>,
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

impl<'a> FanOut<'a> {
    /// Connects everybody and returns when every subscription is live and nothing is on its way.
    fn connect(server: &Server, shape: Shape, event: &'a [u8]) -> Result<Self> {
        let subscribers = Client::open_many(server, shape.subscribers, Role::Subscriber)?;
        let publishers = Client::open_many(server, shape.publishers, Role::Publisher)?;
        let mut fan_out = Self {
            event,
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
        self.publishers[turn].send(self.event)
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

impl Load for FanOut<'_> {
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
