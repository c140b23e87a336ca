//! Many topics: an event finds its one subscriber among 10,000 topics as among one.

use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{BUFFER_BYTES, Client, EVENT, Role, STALL_LIMIT};
use crate::fan_out::event_frame;
use crate::frames::client_text;
use crate::options::Options;
use crate::pairs::{Goal, Load, Pairs};
use crate::ready::Ready;
use crate::server::Server;
use crate::table::Row;

const TOPICS: usize = 10_000;
/// What one client may be subscribed to.
const TOPICS_EACH: usize = 1_000;
/// Events go to topics this many apart, so that no two in a row are neighbours; it shares no factor with their number.
const STRIDE: usize = 7_919;

/// How long subscriptions may take to be live.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures 10,000 topics with a subscriber each against one, on two daemons; units are events.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let [many, one] = [Server::daemon(options)?, Server::daemon(options)?];
    let name = format!("{TOPICS} topics with a subscriber each, against one");
    let pairs = Pairs::measure(options, &name, &[&many, &one], |place, server| {
        Topics::connect(server, if place == 0 { TOPICS } else { 1 })
    })?;
    Ok(vec![pairs.row(name, Goal::Cpu(1.3))])
}

struct Topics {
    events: Vec<Vec<u8>>,
    publisher: Client,
    subscribers: Vec<Client>,
    ready: Ready,
    buffer: Vec<u8>,
    next: usize,
}

impl Topics {
    fn connect(server: &Server, count: usize) -> Result<Self> {
        // As many clients as it needs, and the same number for one topic: theirs is the same work but for the topics.
        let clients = TOPICS / TOPICS_EACH;
        let mut subscribers = Client::open_many(server, clients, Role::Listener)?;
        let names: Vec<String> = (0..count).map(|number| format!("{EVENT}.{number:04}")).collect();
        for (number, name) in names.iter().enumerate() {
            let ask = client_text(&format!(r#"{{"action":"subscribe","event":"{name}"}}"#));
            subscribers[number / TOPICS_EACH].send(&ask)?;
        }
        let mut topics = Self {
            events: names.iter().map(|name| event_frame(server.kind, name)).collect(),
            publisher: Client::open(server, Role::Publisher(0))?,
            ready: Ready::watch(&subscribers)?,
            subscribers,
            buffer: vec![0; BUFFER_BYTES],
            next: 0,
        };
        for last in (0..count).filter(|number| number + 1 == count || (number + 1) % TOPICS_EACH == 0) {
            topics.probe(last)?;
        }
        Ok(topics)
    }

    /// A client's subscriptions become live in their order: when its last one is, all are.
    fn probe(&mut self, topic: usize) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.publisher.send(&self.events[topic])?;
            if self.receive(Instant::now() + Duration::from_millis(200))? > 0 {
                while self.receive(Instant::now() + Duration::from_millis(20))? > 0 {}
                return Ok(());
            }
        }
        Err(format!("topic {topic} had no subscriber after {PATIENCE:?}").into())
    }

    /// Messages that have come, to anybody.
    fn receive(&mut self, until: Instant) -> Result<usize> {
        let mut messages = 0;
        for &number in self.ready.wait_until(until)? {
            messages += self.subscribers[number].receive_ready(&mut self.buffer)?;
        }
        Ok(messages)
    }
}

impl Load for Topics {
    /// One in flight: several to one topic would go out as one, and those to several cannot.
    fn run(&mut self, time: Duration) -> Result<u64> {
        let until = Instant::now() + time;
        let mut done = 0;
        while Instant::now() < until {
            self.publisher.send(&self.events[self.next % self.events.len()])?;
            self.next += STRIDE;
            if self.receive(Instant::now() + STALL_LIMIT)? != 1 {
                return Err("an event did not arrive once".into());
            }
            done += 1;
        }
        Ok(done)
    }
}
