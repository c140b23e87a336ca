//! The hub as its own first server: samples of this machine and orders to it, without a socket between them.
//!
//! One thread, `own-server`, measures and answers requests to the device; orders go where an agent's go. Who makes a key
//! for this server and connects an agent with it takes its place.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::actions::Actions;
use super::orders::{Orders, Reply};
use super::{OwnServerRooms, facts};
use crate::collect::Collector;
use crate::config;
use crate::fleet::{AgentLink, Fleet, Seat};
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::types::fleet::{AgentInfo, DeviceEvent, Issuer, Order, Outcome, Record, Server};
use crate::wire::chatops::agent::{OUTPUT_TOPIC, output_event};

/// Requests to the device that may wait for their turn.
const QUEUE: usize = 32;

/// The hub's own server, until it is stopped.
pub struct OwnServer {
    jobs: Sender<Job>,
    worker: Mutex<Option<Worker>>,
}

enum Job {
    Action { id: String, request: Box<str>, issuer: Issuer },
    Stop,
}

impl OwnServer {
    /// # Errors
    /// No thread to be had.
    pub fn start(config: &config::Agent, rooms: OwnServerRooms) -> io::Result<OwnServer> {
        let OwnServerRooms { fleet, desk, orders, collector, root, server, name } = rooms;
        let (jobs, to_do) = bounded(QUEUE);
        let info = AgentInfo {
            name: Some(name),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            cluster: config.cluster.clone(),
            node: Some(facts::of_this_machine(&root, &desk.telemetry, None)),
            ..AgentInfo::default()
        };
        let left = Arc::<AtomicBool>::default();
        let link = OwnLink {
            fleet: Arc::downgrade(&fleet),
            server_id: server.id.as_str().into(),
            orders,
            jobs: jobs.clone(),
            left: Arc::clone(&left),
        };
        let seat = fleet.connect(&server.id, info, Arc::new(link));
        let interval = config.metrics_interval;
        // However seldom it measures, it is there.
        let tick = interval.min(fleet.limits().agent_silence / 3);
        let actions = Actions::new(&desk, config.actions);
        let thread = Thread { fleet, server, seat, left, collector, actions, interval, tick };
        let worker = Worker::spawn("own-server", move || thread.run(&to_do))?;
        Ok(OwnServer { jobs, worker: Mutex::new(Some(worker)) })
    }

    /// Ends the thread, within `limit`.
    pub fn stop(&self, limit: Duration) {
        let _ = self.jobs.send_timeout(Job::Stop, limit);
        if let Some(worker) = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            worker.join(limit);
        }
    }
}

struct Thread {
    fleet: Arc<Fleet>,
    server: Server,
    /// `None` where the server was removed between two steps.
    seat: Option<Seat>,
    /// The seat is no longer this thread's.
    left: Arc<AtomicBool>,
    collector: Collector,
    actions: Actions,
    interval: Duration,
    tick: Duration,
}

impl Thread {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut sample_at = clock::now() + self.interval;
        let mut tick_at = clock::now() + self.tick;
        while self.seat.is_some() && !self.left.load(Ordering::Acquire) {
            match jobs.recv_deadline(tick_at.min(sample_at)) {
                Ok(Job::Action { id, request, issuer }) => {
                    let answer = self.actions.answer(request.as_bytes(), Some(&issuer));
                    self.fleet.response(&self.server.id, &id, &String::from_utf8_lossy(&answer));
                }
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => self.seat = None,
                Err(RecvTimeoutError::Timeout) => {
                    let now = clock::now();
                    if sample_at <= now {
                        let sample = Record::Sample(Box::new(self.collector.sample()));
                        self.fleet.record(&self.server.id, sample);
                        sample_at = now + self.interval;
                    } else {
                        self.fleet.seen(&self.server.id);
                    }
                    tick_at = now + self.tick;
                }
            }
            self.fleet.send_news();
        }
    }
}

/// The way to this machine. It holds no seat: the thread does.
struct OwnLink {
    fleet: Weak<Fleet>,
    server_id: Arc<str>,
    orders: Arc<Orders>,
    jobs: Sender<Job>,
    left: Arc<AtomicBool>,
}

impl OwnLink {
    fn leave(&self, why: &str) {
        log::warn!("the hub's own server is no longer served by the hub itself: {why}");
        self.left.store(true, Ordering::Release);
        // Where there is no room the thread is awake, and looks after its next job.
        let _ = self.jobs.try_send(Job::Stop);
    }
}

impl AgentLink for OwnLink {
    fn order(&self, id: &str, order: &Order, issuer: &Issuer, timeout: Duration) -> bool {
        let (fleet, server_id) = (Weak::clone(&self.fleet), Arc::clone(&self.server_id));
        let answer = Box::new(Answer { fleet, server_id, id: id.to_owned() });
        self.orders.take(id, order, issuer, Some(timeout), answer);
        true
    }

    fn action(&self, id: &str, request: &str, issuer: &Issuer, _timeout: Duration) -> bool {
        let job = Job::Action { id: id.to_owned(), request: request.into(), issuer: issuer.clone() };
        self.jobs.try_send(job).is_ok()
    }

    fn stored(&self, _stream: &str, _seq: u64) {}

    /// Its records have no numbers.
    fn resend(&self) {}

    fn replaced(&self) {
        self.leave("an agent has connected with a key of this server");
    }

    fn removed(&self) {
        self.leave("it was removed; it is made again at the next start, unless hub.own_server is false");
    }
}

/// What the fleet is told of an order.
struct Answer {
    fleet: Weak<Fleet>,
    server_id: Arc<str>,
    id: String,
}

impl Reply for Answer {
    fn output(&mut self, offset: usize, text: &str) {
        if let Some(fleet) = self.fleet.upgrade() {
            let data = output_event(&self.id, offset as u64, text);
            fleet.publish(&self.server_id, DeviceEvent { topic: OUTPUT_TOPIC.into(), at: clock::wall(), data });
            fleet.send_news();
        }
    }

    fn done(self: Box<Self>, outcome: Outcome) {
        if let Some(fleet) = self.fleet.upgrade() {
            fleet.outcome(&self.server_id, &self.id, outcome);
        }
    }
}
