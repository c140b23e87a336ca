//! Who sits where: the one agent a server has, its silence and its end.

use super::servers::State;
use super::*;
use crate::types::fleet::{Record, ServerStatus, Stamp};

/// An agent in its seat.
pub(super) struct Seated {
    /// Tells it from those before and after it.
    pub number: u64,
    pub link: Arc<dyn AgentLink>,
    /// When it last said anything.
    pub heard: Instant,
    /// It has said nothing for too long. It keeps its seat until it speaks again or its connection ends.
    pub silent: bool,
    /// It is of this program, which ends an order by itself when its time is over.
    pub own_program: bool,
    pub clock: Option<AgentClock>,
}

/// What an agent's monotonic clock showed when it came.
pub(super) struct AgentClock {
    boot_id: String,
    monotonic_ns: u64,
    at: Instant,
}

impl AgentClock {
    fn of(info: &AgentInfo, at: Instant) -> Option<AgentClock> {
        Some(AgentClock { boot_id: info.boot_id.clone()?, monotonic_ns: info.monotonic_ns?, at })
    }

    /// How long ago a record was made; one of an earlier boot, for ever. `None`: its stamp does not say.
    pub fn age(&self, stamp: &Stamp, now: Instant) -> Option<Duration> {
        if stamp.boot_id.as_deref()? != self.boot_id {
            return Some(Duration::MAX);
        }
        let there = Duration::from_nanos(self.monotonic_ns) + now.duration_since(self.at);
        Some(there.saturating_sub(Duration::from_nanos(stamp.monotonic_ns?)))
    }
}

/// An agent's place at the hub, until dropped.
pub struct Seat {
    fleet: Arc<Fleet>,
    server_id: Arc<str>,
    number: u64,
}

impl Seat {
    /// Takes in what its agent handed over. The caller combines the hub.
    pub fn record(&self, record: Record, stamp: Option<Stamp>) -> Taken {
        self.fleet.take_in(&self.server_id, record, stamp, Some(self.number))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fleet.gone(&self.server_id, self.number);
    }
}

impl Fleet {
    /// Gives an agent its server's seat. Whoever has it is told that it was replaced, and its end changes nothing any
    /// more. `None`: there is no such server. The caller combines the hub.
    pub fn connect(self: &Arc<Fleet>, server_id: &str, info: AgentInfo, link: Arc<dyn AgentLink>) -> Option<Seat> {
        let entry = self.entry(server_id)?;
        let now = clock::now();
        let number = self.next_seat();
        let (server, before) = {
            let mut state = entry.lock();
            if state.removed {
                return None;
            }
            let own_program = info.version.is_some();
            let clock = AgentClock::of(&info, now);
            let seated = Seated { number, link, heard: now, silent: false, own_program, clock };
            let before = state.seated.replace(seated);
            // From here on only what this one says counts, and it hands over everything that is not kept.
            self.store.begin_anew(server_id);
            state.server.last_seen = Some(clock::wall());
            (state.shown(), before)
        };
        if let Some(before) = before {
            log::info!("server '{}': another agent has come and takes the first one's place", server.name);
            before.link.replaced();
            self.end_orders(before.number);
        }
        self.timer.expect(now + self.limits.agent_silence);
        self.alerts.status(&server.id, &server.name, ServerStatus::Online);
        self.tell(&server, &Change::Connected(Box::new(info)));
        Some(Seat { fleet: Arc::clone(self), server_id: Arc::clone(&entry.id), number })
    }

    /// Its agent has said something, whatever it is.
    pub fn seen(&self, server_id: &str) {
        let Some(entry) = self.entry(server_id) else { return };
        let back = entry.lock().heard();
        if let Some(server) = back {
            self.timer.expect(clock::now() + self.limits.agent_silence);
            self.came_back(&server);
        }
    }

    pub(super) fn came_back(&self, server: &Server) {
        log::info!("server '{}': its agent speaks again", server.name);
        self.alerts.status(&server.id, &server.name, ServerStatus::Online);
        self.tell(server, &Change::Back);
    }

    fn gone(&self, server_id: &str, number: u64) {
        self.end_orders(number);
        if self.timer.is_stopping() {
            return;
        }
        let Some(entry) = self.entry(server_id) else { return };
        let server = {
            let mut state = entry.lock();
            let Some(seated) = state.seated.take_if(|seated| seated.number == number) else { return };
            // That it is silent was said before.
            (!seated.silent).then(|| state.shown())
        };
        if let Some(server) = server {
            self.went(&server);
        }
    }

    fn went(&self, server: &Server) {
        self.alerts.status(&server.id, &server.name, ServerStatus::Offline);
        self.tell(server, &Change::Disconnected);
    }

    /// Marks those that have been silent for too long; returns when to look again.
    pub(super) fn hear_silence(&self, now: Instant) -> Option<Instant> {
        let limit = self.limits.agent_silence;
        let mut next: Option<Instant> = None;
        for entry in self.entries() {
            let (number, server) = {
                let mut state = entry.lock();
                let Some(seated) = state.seated.as_mut().filter(|seated| !seated.silent) else { continue };
                let due = seated.heard + limit;
                if due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    continue;
                }
                seated.silent = true;
                (seated.number, state.shown())
            };
            log::info!("server '{}': its agent has been silent for {}", server.name, humantime::format_duration(limit));
            self.end_orders(number);
            self.went(&server);
        }
        next
    }

    /// Ends what this agent has not answered.
    pub(super) fn end_orders(&self, seat: u64) {
        for done in self.pending.of_seat(seat) {
            done(OrderEnd::Gone);
        }
    }
}

impl State {
    /// Notes that its agent has spoken; the server, where that was news.
    pub fn heard(&mut self) -> Option<Server> {
        self.server.last_seen = Some(clock::wall());
        let seated = self.seated.as_mut()?;
        seated.heard = clock::now();
        std::mem::take(&mut seated.silent).then(|| self.shown())
    }
}
