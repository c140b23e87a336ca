//! What servers hand over all the time: samples, log entries, events. They wait here and are written together.
//!
//! The queue is bounded in bytes. It never makes anybody wait: where it is full, something goes. Numbered records go
//! first, the newest of them first: their agents have them still. No later one of that server's agent is taken then, so
//! that its streams have no gap; the store says when there is room, the agent is made to begin anew behind what is kept,
//! and hands over again what found no room. Unnumbered records nobody has: only where no others are left do they go, the
//! oldest first, and are counted.
//!
//! What waits can be read as if it were in the database: each record has a number, and the database
//! knows up to which they are in it, so nothing is counted twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::types::fleet::{DeviceEvent, LogEntry, Point, Stamp};

/// Records that wait are written when there are so many, however short the time.
pub const FLUSH_AT: usize = 2000;

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
pub struct Pending {
    /// With their numbers, which grow.
    records: VecDeque<(u64, Arc<Kept>)>,
    /// The number of the next of them.
    next: u64,
    bytes: usize,
    /// How many bytes may wait.
    most: usize,
    /// When the first came that waits; `None` while nothing does.
    pub since: Option<Instant>,
    /// How many were lost because there was no room, since the start.
    pub dropped: u64,
    /// How many numbered records were left to their agents because there was no room, since the start.
    pub put_off: u64,
    /// Servers of whose agents a numbered record found no room, and whether it was told that there is room again. No
    /// more of these is taken until the agent begins anew.
    holed: BTreeMap<Arc<str>, bool>,
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

/// What became of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Somebody has to be told that there is something to do.
    pub urgent: bool,
    /// So many numbers of its stream are missing before it.
    pub missing: u64,
}

impl Pending {
    /// With room for so many bytes, about.
    pub fn new(most: usize) -> Pending {
        Pending {
            records: VecDeque::new(),
            next: 0,
            bytes: 0,
            most,
            since: None,
            dropped: 0,
            put_off: 0,
            holed: BTreeMap::new(),
            accepted: HashMap::new(),
            repeated: BTreeSet::new(),
        }
    }

    /// Takes a record in, where there is room.
    pub fn push(&mut self, kept: Kept, now: Instant) -> Pushed {
        let (begins, many) = (self.since.is_none(), self.is_many());
        let mut missing = 0;
        if let Some(stamp) = &kept.stamp {
            let key = (Arc::clone(&kept.server_id), Arc::clone(&stamp.stream));
            let last = self.accepted.get(&key).copied();
            if last.is_some_and(|last| stamp.seq <= last) {
                if self.repeated.len() < STREAMS {
                    self.repeated.insert(key);
                    self.since.get_or_insert(now);
                }
                return Pushed { urgent: begins, missing };
            }
            if self.holed.contains_key(&kept.server_id) || !self.has_room(&kept) {
                self.put_off += 1;
                self.holed.entry(Arc::clone(&kept.server_id)).or_default();
                return Pushed::default();
            }
            missing = last.map_or(0, |last| stamp.seq - last - 1);
            self.accepted.insert(key, stamp.seq);
        } else if !self.has_room(&kept) {
            self.make_room(kept.bytes());
        }
        self.since.get_or_insert(now);
        self.bytes += kept.bytes();
        self.records.push_back((self.next, Arc::new(kept)));
        self.next += 1;
        Pushed { urgent: begins || (!many && self.is_many()), missing }
    }

    /// One record always has room, however large.
    fn has_room(&self, kept: &Kept) -> bool {
        self.records.is_empty() || self.bytes + kept.bytes() <= self.most
    }

    /// Makes room for an unnumbered record, and a little more at once: the queue is gone through for it.
    fn make_room(&mut self, bytes: usize) {
        let target = self.most.saturating_sub(bytes.max(self.most / 8));
        let Pending { records, bytes, holed, accepted, put_off, .. } = self;
        let mut kept: VecDeque<(u64, Arc<Kept>)> = VecDeque::with_capacity(records.len());
        // The newest first, so that of each stream only the end goes.
        for (number, record) in records.drain(..).rev() {
            match &record.stamp {
                Some(stamp) if *bytes > target => {
                    *bytes -= record.bytes();
                    *put_off += 1;
                    let key = (Arc::clone(&record.server_id), Arc::clone(&stamp.stream));
                    accepted.insert(key, stamp.seq.saturating_sub(1));
                    holed.entry(Arc::clone(&record.server_id)).or_default();
                }
                _ => kept.push_front((number, record)),
            }
        }
        *records = kept;
        while self.bytes > target {
            let Some((_, oldest)) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.dropped += 1;
        }
    }

    /// How many servers' agents have to begin anew.
    pub fn holes(&self) -> usize {
        self.holed.len()
    }

    /// Whether this server's agent has to begin anew for its records to be taken.
    pub fn is_holed(&self, server_id: &str) -> bool {
        self.holed.contains_key(server_id)
    }

    /// This server's agent begins anew, behind what is kept.
    pub fn begin_anew(&mut self, server_id: &str) {
        self.holed.remove(server_id);
    }

    /// Servers whose agents may begin anew, each told once; none while there is little room.
    pub fn take_resends(&mut self) -> Vec<Arc<str>> {
        if self.bytes > self.most / 2 {
            return Vec::new();
        }
        let untold = self.holed.iter_mut().filter(|(_, told)| !**told);
        untold
            .map(|(server_id, told)| {
                *told = true;
                Arc::clone(server_id)
            })
            .collect()
    }

    /// Whether it is time to write before the interval is over.
    pub fn is_many(&self) -> bool {
        self.records.len() >= FLUSH_AT || self.bytes > self.most / 2
    }

    /// The oldest records, to be written in one go. They stay until [`Pending::written`].
    pub fn share(&self) -> Option<Share> {
        let records: Vec<_> = self.records.iter().take(FLUSH_AT).map(|(_, record)| Arc::clone(record)).collect();
        if records.is_empty() && self.repeated.is_empty() {
            return None;
        }
        let last = records.len().checked_sub(1).and_then(|last| self.records.get(last));
        let up_to = last.map_or(self.next.saturating_sub(1), |(number, _)| *number);
        Some(Share { records, repeated: self.repeated.iter().cloned().collect(), up_to })
    }

    /// Forgets what is in the database now.
    pub fn written(&mut self, share: &Share, now: Instant) {
        while self.records.front().is_some_and(|(number, _)| *number <= share.up_to) {
            let Some((_, oldest)) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
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
        for (number, (own, _)) in (written + 1..).zip(&mut self.records) {
            *own = number;
        }
        self.next = written + 1 + self.records.len() as u64;
    }

    /// Notes what the database knows of a stream.
    pub fn known(&mut self, key: StreamKey, seq: u64) {
        self.accepted.entry(key).or_insert(seq);
    }

    /// Records of one server that wait, with their numbers, the oldest first.
    pub fn of_server(&self, server_id: &str) -> Vec<(u64, Arc<Kept>)> {
        let own = self.records.iter().filter(|(_, kept)| *kept.server_id == *server_id);
        own.map(|(number, kept)| (*number, Arc::clone(kept))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const LARGE: usize = 1024 * 1024;
    const MOST: usize = 8 * LARGE;

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
        let (mut pending, now) = (Pending::new(MOST), Instant::now());
        pending.count_from(7);
        assert!(pending.push(event(Some(("a", 1)), 1), now).urgent, "the first one");
        assert!(!pending.push(event(Some(("a", 2)), 1), now).urgent);
        assert!(!pending.push(event(Some(("a", 1)), 1), now).urgent);
        assert!(!pending.push(event(Some(("b", 1)), 1), now).urgent);
        let share = pending.share().expect("something");
        assert_eq!((share.records.len(), share.repeated.len(), share.up_to), (3, 1, 10));
        assert!(!pending.push(event(None, 1), now).urgent);
        assert_eq!(pending.of_server("s").iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8, 9, 10, 11]);
        pending.written(&share, now);
        assert_eq!((pending.records.len(), pending.since.is_some()), (1, true));
        let share = pending.share().expect("the last");
        pending.written(&share, now);
        assert!(pending.share().is_none() && pending.since.is_none());
        assert!(pending.push(event(Some(("a", 2)), 1), now).urgent, "only to be told of");
        assert_eq!(pending.share().map(|share| (share.records.len(), share.repeated.len())), Some((0, 1)));
    }

    #[test]
    fn unnumbered_records_go_the_oldest_first_where_nothing_else_is_left() {
        let (mut pending, now) = (Pending::new(MOST), Instant::now());
        for _ in 1..=20 {
            pending.push(event(None, LARGE), now);
        }
        assert_eq!((pending.records.len(), pending.dropped, pending.put_off), (7, 13, 0));
        // What was dropped while it was being written is not dropped again.
        let share = pending.share().expect("something");
        pending.push(event(None, LARGE), now);
        pending.written(&share, now);
        assert_eq!((pending.records.len(), pending.dropped, pending.of_server("s")[0].0), (1, 14, 20));
    }

    #[test]
    fn of_a_stream_only_the_end_goes_and_nothing_more_is_taken_until_its_agent_begins_anew() {
        let (mut pending, now) = (Pending::new(MOST), Instant::now());
        let push = |pending: &mut Pending, seq, bytes| pending.push(event(Some(("a", seq)), bytes), now);
        for seq in 1..=20 {
            push(&mut pending, seq, LARGE);
        }
        let waiting = |pending: &Pending| -> Vec<u64> {
            let seqs = pending.of_server("s").into_iter().filter_map(|(_, kept)| Some(kept.stamp.as_ref()?.seq));
            seqs.collect()
        };
        assert_eq!(waiting(&pending), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((pending.dropped, pending.put_off, pending.holes()), (0, 13, 1));
        assert!(pending.take_resends().is_empty(), "there is no room");
        // Who has nobody to ask again pushes out who has.
        pending.push(event(None, LARGE), now);
        assert_eq!((waiting(&pending), pending.dropped, pending.put_off), (vec![1, 2, 3, 4, 5, 6], 0, 14));
        let share = pending.share().expect("something");
        pending.written(&share, now);
        push(&mut pending, 21, 1);
        assert_eq!(waiting(&pending), [0; 0], "small as it is");
        assert_eq!(pending.take_resends(), ["s".into()]);
        assert!(pending.take_resends().is_empty(), "once is enough");
        pending.begin_anew("s");
        assert!(!pending.is_holed("s"));
        for seq in 5..=9 {
            assert_eq!(push(&mut pending, seq, 1).missing, 0);
        }
        assert_eq!(waiting(&pending), [7, 8, 9]);
        assert_eq!(push(&mut pending, 12, 1).missing, 2);
    }

    #[test]
    fn the_largest_record_has_room_where_nothing_else_waits() {
        let (mut pending, now) = (Pending::new(1024), Instant::now());
        assert!(pending.push(event(Some(("a", 1)), LARGE), now).urgent);
        assert!(!pending.push(event(Some(("a", 2)), 1), now).urgent);
        assert_eq!((pending.records.len(), pending.holes()), (1, 1));
    }
}
