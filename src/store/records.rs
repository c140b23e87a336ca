//! What servers hand over all the time: samples, log entries, events. They wait here and are written together.
//!
//! The queue is bounded in bytes. It never makes anybody wait: where the disk cannot be written, the oldest go first,
//! and are counted. What waits can be read as if it were in the database: each record has a number, and the database
//! knows up to which they are in it, so nothing is counted twice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::types::fleet::{DeviceEvent, LogEntry, Point, Stamp};

/// Records that wait are written when there are so many, however short the time.
pub const FLUSH_AT: usize = 2000;

/// Bytes that may wait, about: minutes of samples of a large fleet.
pub const PENDING_BYTES: usize = 8 * 1024 * 1024;

/// Streams that are remembered between two looks into the database.
const STREAMS: usize = 4096;

/// What a record takes in memory besides its texts, about.
const OVERHEAD: usize = 256;

/// Something to be kept with the next batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub server_id: Arc<str>,
    /// The agent's number of it. What a stream has handed over already is not kept again.
    pub stamp: Option<Stamp>,
    pub what: KeptWhat,
}

/// See [`Kept`].
#[derive(Clone, Debug, PartialEq)]
pub enum KeptWhat {
    /// A sample, by [`Point::of`].
    Point(Point),
    Log(Arc<LogEntry>),
    Event(Arc<DeviceEvent>),
}

impl Kept {
    fn bytes(&self) -> usize {
        OVERHEAD
            + match &self.what {
                KeptWhat::Point(_) => 0,
                KeptWhat::Log(entry) => {
                    let extra = entry.extra.as_ref().map_or(0, |extra| extra.len());
                    entry.message.len() + entry.component.as_ref().map_or(0, String::len) + extra
                }
                KeptWhat::Event(event) => event.topic.len() + event.data.len(),
            }
    }
}

/// A server's id and a stream of its agent.
pub type StreamKey = (Arc<str>, Arc<str>);

/// What waits to be written.
#[derive(Default)]
pub struct Pending {
    records: VecDeque<Arc<Kept>>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// When the first came that waits; `None` while nothing does.
    pub since: Option<Instant>,
    /// How many were dropped because there was no room, since the start.
    pub dropped: u64,
    /// The last number of each stream that has come.
    accepted: HashMap<StreamKey, u64>,
    /// Streams that handed something over again, and may not know that it is kept.
    repeated: BTreeSet<StreamKey>,
}

/// What there is to write, with the number of the last of it.
pub struct Share {
    pub records: Vec<Arc<Kept>>,
    pub repeated: Vec<StreamKey>,
    pub up_to: u64,
}

impl Pending {
    /// Takes a record in; whether somebody has to be told that there is something to do.
    pub fn push(&mut self, kept: Kept, now: Instant) -> bool {
        let begins = self.since.is_none();
        if let Some(stamp) = &kept.stamp {
            let key = (Arc::clone(&kept.server_id), Arc::clone(&stamp.stream));
            match self.accepted.get_mut(&key) {
                Some(last) if stamp.seq <= *last => {
                    if self.repeated.len() < STREAMS {
                        self.repeated.insert(key);
                        self.since.get_or_insert(now);
                    }
                    return begins;
                }
                Some(last) => *last = stamp.seq,
                None => drop(self.accepted.insert(key, stamp.seq)),
            }
        }
        self.since.get_or_insert(now);
        self.bytes += kept.bytes();
        self.records.push_back(Arc::new(kept));
        while self.bytes > PENDING_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.first += 1;
            self.dropped += 1;
        }
        begins || self.records.len() == FLUSH_AT
    }

    /// Whether it is time to write before the interval is over.
    pub fn is_many(&self) -> bool {
        self.records.len() >= FLUSH_AT
    }

    /// The oldest records, to be written in one go. They stay until [`Pending::written`].
    pub fn share(&self) -> Option<Share> {
        let records: Vec<_> = self.records.iter().take(FLUSH_AT).cloned().collect();
        if records.is_empty() && self.repeated.is_empty() {
            return None;
        }
        let up_to = (self.first + records.len() as u64).saturating_sub(1);
        Some(Share { records, repeated: self.repeated.iter().cloned().collect(), up_to })
    }

    /// Forgets what is in the database now.
    pub fn written(&mut self, share: &Share, now: Instant) {
        while self.first <= share.up_to {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
        for key in &share.repeated {
            self.repeated.remove(key);
        }
        self.since = (!self.records.is_empty() || !self.repeated.is_empty()).then_some(now);
        // The database knows them all, if nothing waits.
        if self.records.is_empty() && self.accepted.len() > STREAMS {
            self.accepted.clear();
        }
    }

    /// Counts on from what the database says.
    pub fn count_from(&mut self, written: u64) {
        self.first = written + 1;
    }

    /// Notes what the database knows of a stream.
    pub fn known(&mut self, key: StreamKey, seq: u64) {
        self.accepted.entry(key).or_insert(seq);
    }

    /// Records of one server that wait, with their numbers, the oldest first.
    pub fn of_server(&self, server_id: &str) -> Vec<(u64, Arc<Kept>)> {
        let numbered = (self.first..).zip(&self.records);
        let own = numbered.filter(|(_, kept)| *kept.server_id == *server_id);
        own.map(|(number, kept)| (number, Arc::clone(kept))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn event(stream: Option<(&str, u64)>, bytes: usize) -> Kept {
        let stamp = stream.map(|(stream, seq)| Stamp {
            stream: stream.into(),
            seq,
            boot_id: None,
            monotonic_ns: None,
            clock: None,
        });
        let event = DeviceEvent { topic: "t".into(), at: SystemTime::UNIX_EPOCH, data: "x".repeat(bytes).into() };
        Kept { server_id: "s".into(), stamp, what: KeptWhat::Event(Arc::new(event)) }
    }

    #[test]
    fn what_comes_twice_waits_once_and_is_told_of() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.count_from(7);
        assert!(pending.push(event(Some(("a", 1)), 1), now), "the first one");
        assert!(!pending.push(event(Some(("a", 2)), 1), now));
        assert!(!pending.push(event(Some(("a", 1)), 1), now));
        assert!(!pending.push(event(Some(("b", 1)), 1), now));
        let share = pending.share().expect("something");
        assert_eq!((share.records.len(), share.repeated.len(), share.up_to), (3, 1, 10));
        assert!(!pending.push(event(None, 1), now));
        assert_eq!(pending.of_server("s").iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8, 9, 10, 11]);
        pending.written(&share, now);
        assert_eq!((pending.records.len(), pending.since.is_some()), (1, true));
        let share = pending.share().expect("the last");
        pending.written(&share, now);
        assert!(pending.share().is_none() && pending.since.is_none());
        assert!(pending.push(event(Some(("a", 2)), 1), now), "only to be told of");
        assert_eq!(pending.share().map(|share| (share.records.len(), share.repeated.len())), Some((0, 1)));
    }

    #[test]
    fn there_is_a_bound_and_the_oldest_go_first() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let large = 1024 * 1024;
        for seq in 1..=20 {
            pending.push(event(Some(("a", seq)), large), now);
        }
        assert_eq!((pending.records.len(), pending.dropped), (7, 13));
        // What was dropped while it was being written is not dropped again.
        let share = pending.share().expect("something");
        pending.push(event(Some(("a", 21)), large), now);
        pending.written(&share, now);
        assert_eq!((pending.records.len(), pending.dropped, pending.of_server("s")[0].0), (1, 14, 20));
    }
}
