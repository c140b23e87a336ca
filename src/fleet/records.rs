//! What agents hand over, on its way to everyone who wants it.

use std::time::SystemTime;

use super::servers::State;
use super::*;
use crate::store::{Kept, KeptWhat};
use crate::types::event::{PageNews, page_topic};
use crate::types::fleet::{ClockState, DeviceEvent, LogEntry, LogLine, LogSource, Point, Record, Stamp};

/// Streams a server's place remembers: an agent has one per run, and hands over the last few runs'.
const STREAMS: usize = 16;

/// A sample older than this was kept by its agent while it was away: it belongs to the history, and says nothing of now.
const LATE: Duration = Duration::from_secs(30);

/// How far a time that nobody vouches for may be from the hub's own.
const FAR_OFF: Duration = Duration::from_secs(300);

/// Bytes of a server's name in topics.
const TOPIC_NAME_BYTES: usize = 64;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    New,
    /// It was here before and nobody is told of it again; it is kept if it found no room then.
    Again,
    /// There is no such server (any more).
    NoServer,
    /// Another agent has its place by now.
    Replaced,
}

impl Fleet {
    /// Takes in what somebody without a seat handed over. The caller combines the hub.
    pub fn record(&self, server_id: &str, record: Record) -> Taken {
        self.take_in(server_id, record, None, None)
    }

    /// The same of the agent in this seat.
    pub(super) fn take_in(&self, server_id: &str, record: Record, stamp: Option<Stamp>, seat: Option<u64>) -> Taken {
        let Some(entry) = self.entry(server_id) else { return Taken::NoServer };
        let mut state = entry.lock();
        if state.removed {
            return Taken::NoServer;
        }
        // What comes after its successor has begun would leave a gap in its stream.
        if seat.is_some() && seat != state.seated.as_ref().map(|seated| seated.number) {
            return Taken::Replaced;
        }
        let back = state.heard();
        let new = stamp.as_ref().is_none_or(|stamp| self.take_number(&entry.id, &mut state, stamp));
        let mut current = None;
        match record {
            Record::Sample(sample) => current = self.sample(&entry.id, &mut state, *sample, stamp, new),
            Record::Log(line) => self.log(&entry.id, &state, line, stamp, new),
            Record::Event(event) => self.event(&entry.id, &state, event, stamp, new),
        }
        let name = current.is_some().then(|| state.server.name.clone());
        drop(state);
        self.back_if(back);
        if let (Some(sample), Some(name)) = (current, name) {
            self.alerts.sample(server_id, &name, &sample);
        }
        if new { Taken::New } else { Taken::Again }
    }

    fn back_if(&self, back: Option<Server>) {
        if let Some(server) = back {
            self.timer.expect(clock::now() + self.limits.agent_silence);
            self.came_back(&server);
        }
    }

    /// Whether the record with this number is new; it counts as taken in then.
    fn take_number(&self, server_id: &str, state: &mut State, stamp: &Stamp) -> bool {
        let known = state.streams.iter().position(|(stream, _)| *stream == stamp.stream);
        let (stream, seq) = match known {
            Some(at) => state.streams.remove(at),
            None => (Arc::clone(&stamp.stream), self.position(server_id, &stamp.stream).unwrap_or(0)),
        };
        let new = stamp.seq > seq;
        if new && stamp.seq > seq + 1 && known.is_some() {
            let lost = stamp.seq - seq - 1;
            log::warn!("server '{}': {lost} records are missing before number {}", state.server.name, stamp.seq);
        }
        state.streams.insert(0, (stream, seq.max(stamp.seq)));
        state.streams.truncate(STREAMS);
        new
    }

    /// Publishes and keeps a sample; it comes back if it says how the server is now.
    fn sample(
        &self,
        id: &Arc<str>,
        state: &mut State,
        mut sample: Sample,
        stamp: Option<Stamp>,
        new: bool,
    ) -> Option<Arc<Sample>> {
        let now = clock::wall();
        let at = *sample.at.get_or_insert(now);
        // The wall clocks are asked only where there is nothing better: the hub's may be the one that is wrong.
        let agent_clock = state.seated.as_ref().and_then(|seated| seated.clock.as_ref());
        let age = agent_clock.zip(stamp.as_ref()).and_then(|(clock, stamp)| clock.age(stamp, clock::now()));
        let by_wall = || is_vouched(stamp.as_ref()) && now.duration_since(at).is_ok_and(|age| age > LATE);
        let late = age.map_or_else(by_wall, |age| age > LATE);
        let point = Point { at: believable(at, stamp.as_ref(), now), ..Point::of(&sample, now) };
        self.keep(id, state, stamp, KeptWhat::Point(point), new);
        if !new {
            return None;
        }
        let sample = Arc::new(sample);
        if !late || state.latest.is_none() {
            state.latest = Some(Arc::clone(&sample));
        }
        if late {
            return None;
        }
        let topic = page_topic::metrics(id).into();
        let news = PageNews::Metrics(Arc::clone(&sample));
        self.hub.publish(Event { at: now, body: Body::Page { topic, server_id: Arc::clone(id), news } });
        Some(sample)
    }

    /// Publishes and keeps a line of the hub's own about a server; it says nothing of whether its agent is there.
    pub fn note(&self, server_id: &str, line: LogLine) {
        let Some(entry) = self.entry(server_id) else { return };
        let state = entry.lock();
        if !state.removed {
            self.log(&entry.id, &state, line, None, true);
        }
        drop(state);
        self.hub.combine();
    }

    fn log(&self, id: &Arc<str>, state: &State, line: LogLine, stamp: Option<Stamp>, new: bool) {
        let now = clock::wall();
        let entry = Arc::new(LogEntry {
            // A kernel without random numbers is no reason to lose a line.
            id: crate::rt::random::uuid().unwrap_or_default(),
            server_id: state.server.id.clone(),
            at: believable(line.at.unwrap_or(now), stamp.as_ref(), now),
            level: line.level,
            source: line.source.unwrap_or(LogSource::Agent),
            component: line.component,
            message: line.message,
            extra: None,
        });
        self.keep(id, state, stamp, KeptWhat::Log(Arc::clone(&entry)), new);
        if !new {
            return;
        }
        let (topic, news) = (page_topic::logs(id).into(), PageNews::Log(entry));
        self.hub.publish(Event { at: now, body: Body::Page { topic, server_id: Arc::clone(id), news } });
    }

    fn event(&self, id: &Arc<str>, state: &State, event: DeviceEvent, stamp: Option<Stamp>, new: bool) {
        let at = believable(event.at, stamp.as_ref(), clock::wall());
        let event = Arc::new(DeviceEvent { at, ..event });
        self.keep(id, state, stamp, KeptWhat::Event(Arc::clone(&event)), new);
        if new {
            self.publish_device(id, &state.server.name, event);
        }
    }

    fn keep(&self, id: &Arc<str>, state: &State, stamp: Option<Stamp>, what: KeptWhat, new: bool) {
        let missing = self.store.keep(Kept { server_id: Arc::clone(id), stamp, what });
        // Of new ones it was said when their number was taken.
        if missing > 0 && !new {
            let name = &state.server.name;
            log::warn!("server '{name}': {missing} records found no room here, and its agent has them no more");
        }
    }

    /// Publishes something of a device that is not kept, such as the output of a command that is running.
    pub fn publish(&self, server_id: &str, event: DeviceEvent) {
        let Some(entry) = self.entry(server_id) else { return };
        let state = entry.lock();
        self.publish_device(&entry.id, &state.server.name, Arc::new(event));
    }

    /// Sends what was left in the hub, for those who have no session that does.
    pub fn send_news(&self) {
        self.hub.combine();
    }

    fn publish_device(&self, id: &Arc<str>, name: &str, event: Arc<DeviceEvent>) {
        let topic = format!("agent.{}.{}", topic_name(name), event.topic).into();
        let at = event.at;
        self.hub.publish(Event { at, body: Body::Device { topic, server_id: Arc::clone(id), event } });
    }

    /// How far those of these streams are kept that the hub knows: an agent that hears of a number may forget what is
    /// up to it.
    pub fn positions(&self, server_id: &str, streams: &[Arc<str>]) -> Vec<(Arc<str>, u64)> {
        streams.iter().filter_map(|stream| Some((Arc::clone(stream), self.position(server_id, stream)?))).collect()
    }

    fn position(&self, server_id: &str, stream: &str) -> Option<u64> {
        self.store.position(server_id, stream)
    }

    /// Has a server's agent hand over again what found no room.
    pub(super) fn ask_again(&self, server_id: &str) {
        let Some(entry) = self.entry(server_id) else { return };
        let (name, link) = {
            let state = entry.lock();
            let Some(seated) = &state.seated else { return };
            // It may have come again by itself.
            if !self.store.is_holed(server_id) {
                return;
            }
            (state.server.name.clone(), Arc::clone(&seated.link))
        };
        log::info!("server '{name}': there is room again; its agent is asked for the records that found none");
        link.resend();
    }

    /// Tells a server's agent how far one of its streams outlives the hub.
    pub(super) fn stored(&self, server_id: &str, stream: &str, seq: u64) {
        let link = self.entry(server_id).and_then(|entry| Some(Arc::clone(&entry.lock().seated.as_ref()?.link)));
        if let Some(link) = link {
            link.stored(stream, seq);
        }
    }
}

/// Whether somebody knows that a record's time is right.
fn is_vouched(stamp: Option<&Stamp>) -> bool {
    stamp.is_some_and(|stamp| matches!(stamp.clock, Some(ClockState::Synchronised | ClockState::Corrected)))
}

/// The time under which a record is kept: the agent's, unless nobody vouches for it and it is far off. A Pi without a
/// clock chip may be years off, and would write where nobody looks and the retention throws away at once.
fn believable(at: SystemTime, stamp: Option<&Stamp>, now: SystemTime) -> SystemTime {
    let apart = now.duration_since(at).or_else(|_| at.duration_since(now)).unwrap_or_default();
    if is_vouched(stamp) || apart <= FAR_OFF { at } else { now }
}

/// A server's name as one level of a topic: what stands for something else there becomes a hyphen.
fn topic_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len().min(TOPIC_NAME_BYTES));
    for c in name.chars() {
        let c = if c.is_alphanumeric() || c == '_' { c } else { '-' };
        if safe.len() + c.len_utf8() > TOPIC_NAME_BYTES {
            break;
        }
        safe.push(c);
    }
    if safe.is_empty() { "-".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_level_of_a_topic() {
        for (name, safe) in [("pi1", "pi1"), ("a.b *c", "a-b--c"), ("", "-"), ("Küche", "Küche")] {
            assert_eq!(topic_name(name), safe);
        }
        assert_eq!(topic_name(&"é".repeat(100)).len(), TOPIC_NAME_BYTES);
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_is_believed_while_it_is_near() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let stamp = |clock| Stamp { stream: "s".into(), seq: 1, boot_id: None, monotonic_ns: None, clock };
        let (good, bad) = (stamp(Some(ClockState::Corrected)), stamp(Some(ClockState::Unsynchronised)));
        let (near, far) = (now + FAR_OFF, now - FAR_OFF - Duration::from_secs(1));
        assert_eq!(believable(far, Some(&good), now), far);
        for stamp in [Some(&bad), Some(&stamp(None)), None] {
            assert_eq!((believable(near, stamp, now), believable(far, stamp, now)), (near, now));
        }
    }
}
