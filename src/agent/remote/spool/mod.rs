//! What an agent has to tell and the hub does not have for good yet: first in memory, then in capped files.
//!
//! Records are numbered when they come and handed out in this order: files of earlier runs, files of this run, memory.
//! Handing out does not forget; only what the hub calls stored is forgotten, and after a new connection everything
//! behind that is handed out again. Memory full, or the hub away for a while: the oldest records move to files, if there
//! is a directory for them. Files full: the oldest file goes, and its unsent records are counted as dropped.

mod segment;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::chatops::client::Packed;
use segment::{Records, Segment};

/// How long no file is tried after one could not be written.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// A file has at most this many bytes, and at most an eighth of them all.
const SEGMENT_BYTES: u64 = 256 * 1024;

/// What a record costs in memory besides its text.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Which run of an agent made a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// New at each start.
    pub stream: Arc<str>,
    /// The kernel's.
    pub boot_id: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The hub acknowledges each.
    Sample,
    Other,
}

/// A record, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1; given by [`Spool::push`].
    pub seq: u64,
    /// CLOCK_BOOTTIME.
    pub monotonic_ns: u64,
    /// Whether the wall clock, which the record's text has, was right then.
    pub synchronised: bool,
    pub kind: Kind,
    pub packed: Packed,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.packed.text.capacity()
    }
}

/// See the module's text.
pub struct Spool {
    run: Run,
    next_seq: u64,
    memory: VecDeque<Entry>,
    memory_bytes: usize,
    memory_cap: usize,
    disk: Option<Disk>,
    /// The last number handed out, per stream.
    handed: HashMap<Arc<str>, u64>,
    /// The file that is being handed out.
    reading: Option<(PathBuf, Records)>,
    own_stored: u64,
    dropped: u64,
}

/// The files.
struct Disk {
    dir: PathBuf,
    cap: u64,
    bytes: u64,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// The last of them, where this run writes to it.
    writer: Option<File>,
    next_number: u64,
    /// Files whose content may not have reached the disk.
    unsynced: Vec<File>,
    failed: Option<Instant>,
}

impl Spool {
    /// With a directory, takes up what earlier runs left in it.
    pub fn new(run: Run, memory_cap: usize, dir: Option<(&Path, u64)>) -> Spool {
        let disk = dir.and_then(|(dir, cap)| match Disk::open(dir, cap) {
            Ok(disk) => Some(disk),
            Err(error) => {
                log::error!("no records can be kept in '{}': {error}; they are kept in memory only", dir.display());
                None
            }
        });
        Spool {
            run,
            next_seq: 1,
            memory: VecDeque::new(),
            memory_bytes: 0,
            memory_cap,
            disk,
            handed: HashMap::new(),
            reading: None,
            own_stored: 0,
            dropped: 0,
        }
    }

    /// The number of the record that was pushed last.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// How far the hub has this run's records for good.
    pub fn own_stored(&self) -> u64 {
        self.own_stored
    }

    /// Every stream there is something of, this run's last.
    pub fn streams(&self) -> Vec<Arc<str>> {
        let mut streams: Vec<Arc<str>> = Vec::new();
        let own = &self.run.stream;
        let on_disk = self.disk.iter().flat_map(|disk| &disk.segments).map(|segment| &segment.run.stream);
        for stream in on_disk.filter(|stream| *stream != own) {
            if !streams.contains(stream) {
                streams.push(Arc::clone(stream));
            }
        }
        streams.push(Arc::clone(own));
        streams
    }

    /// Takes a record, whose `seq` is given here.
    pub fn push(&mut self, mut entry: Entry, now: Instant) {
        entry.seq = self.next_seq;
        self.next_seq += 1;
        self.memory_bytes += entry.bytes();
        self.memory.push_back(entry);
        if self.memory_bytes <= self.memory_cap {
            return;
        }
        // A part at a time: one write for many records.
        let target = self.memory_cap - self.memory_cap / 4;
        let mut left = self.memory_bytes;
        let fits = |entry: &Entry| {
            let more = left > target;
            left -= entry.bytes();
            more
        };
        let count = self.memory.iter().map(fits).take_while(|more| *more).count();
        if !self.spill(count, now) {
            while self.memory_bytes > self.memory_cap {
                let Some(entry) = self.forget_front() else { return };
                self.dropped += u64::from(entry.seq > self.handed_of(&self.run.stream));
            }
        }
    }

    /// Moves everything made before this moment of CLOCK_BOOTTIME to files.
    pub fn spill_older(&mut self, monotonic_ns: u64, now: Instant) {
        self.spill(self.memory.partition_point(|entry| entry.monotonic_ns < monotonic_ns), now);
    }

    /// Moves everything to files; whether nothing is left in memory.
    pub fn spill_all(&mut self, now: Instant) -> bool {
        self.memory.is_empty() || self.spill(self.memory.len(), now)
    }

    /// What has been written since the last call and may not have reached the disk: to be synced without holding the
    /// spool.
    pub fn take_unsynced(&mut self) -> Vec<File> {
        let Some(disk) = &mut self.disk else { return Vec::new() };
        let mut files = std::mem::take(&mut disk.unsynced);
        files.extend(disk.writer.as_ref().and_then(|writer| writer.try_clone().ok()));
        files
    }

    /// How many records were dropped unsent since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The next record that this connection has not been handed yet.
    pub fn next(&mut self) -> Option<(Run, Entry)> {
        if let Some(next) = self.next_on_disk() {
            return Some(next);
        }
        let handed = self.handed_of(&self.run.stream);
        let entry = self.memory.get(self.memory.partition_point(|entry| entry.seq <= handed))?.clone();
        self.handed.insert(Arc::clone(&self.run.stream), entry.seq);
        Some((self.run.clone(), entry))
    }

    /// A new connection: everything behind these positions is handed out again. A stream that is not named is handed out
    /// from its beginning.
    pub fn rewind(&mut self, positions: &[(String, u64)]) {
        self.reading = None;
        self.handed.clear();
        for (stream, seq) in positions {
            self.stored(stream, *seq);
        }
    }

    /// Forgets what the hub has for good.
    pub fn stored(&mut self, stream: &str, mut seq: u64) {
        if *stream == *self.run.stream {
            // Nobody can have what has not been made yet.
            seq = seq.min(self.last_seq());
        }
        if let Some(disk) = &mut self.disk {
            disk.remove(|segment| &*segment.run.stream == stream && segment.last <= seq);
        }
        let key = self.streams().into_iter().find(|own| &**own == stream);
        if let Some(key) = key {
            let handed = self.handed.entry(key).or_default();
            *handed = seq.max(*handed);
        }
        if *stream == *self.run.stream {
            self.own_stored = self.own_stored.max(seq);
            while self.memory.front().is_some_and(|entry| entry.seq <= seq) {
                self.forget_front();
            }
        }
    }

    fn handed_of(&self, stream: &str) -> u64 {
        self.handed.get(stream).copied().unwrap_or_default()
    }

    fn forget_front(&mut self) -> Option<Entry> {
        let entry = self.memory.pop_front()?;
        self.memory_bytes -= entry.bytes();
        Some(entry)
    }

    fn next_on_disk(&mut self) -> Option<(Run, Entry)> {
        loop {
            let handed = &self.handed;
            let unread =
                |segment: &&Segment| segment.last > handed.get(&segment.run.stream).copied().unwrap_or_default();
            let segment = self.disk.as_ref()?.segments.iter().find(unread)?;
            let (path, run, last) = (segment.path.clone(), segment.run.clone(), segment.last);
            let handed = self.handed_of(&run.stream);
            if self.reading.as_ref().is_none_or(|(reading, _)| *reading != path) {
                self.reading = Records::open(&path).ok().map(|records| (path.clone(), records));
            }
            let records = self.reading.as_mut().map(|(_, records)| records);
            let next = records.and_then(|records| std::iter::from_fn(|| records.next()).find(|e| e.seq > handed));
            match next {
                Some(entry) => {
                    self.handed.insert(Arc::clone(&run.stream), entry.seq);
                    return Some((run, entry));
                }
                None => {
                    log::warn!("spool file '{}' ends before its last record", path.display());
                    self.dropped += last - handed;
                    self.handed.insert(run.stream, last);
                    self.reading = None;
                }
            }
        }
    }

    /// Moves this many of the oldest records to files. `false` where that cannot be done.
    fn spill(&mut self, count: usize, now: Instant) -> bool {
        let Some(disk) = &mut self.disk else { return false };
        if disk.is_failed(now) {
            return false;
        }
        let mut left = count;
        while left > 0 {
            let (mut bytes, mut batch, mut last) = (Vec::new(), 0, 0);
            for entry in self.memory.iter().take(left) {
                segment::write(&mut bytes, entry);
                (batch, last) = (batch + 1, entry.seq);
                if bytes.len() as u64 >= disk.segment_bytes() {
                    break;
                }
            }
            if let Err(error) = disk.append(&self.run, &bytes, batch as u64, last) {
                let dir = disk.dir.display();
                log::error!("cannot write records to '{dir}': {error}; they are kept in memory as far as it goes");
                disk.failed = Some(now);
                return false;
            }
            for entry in self.memory.drain(..batch) {
                self.memory_bytes -= entry.bytes();
            }
            self.dropped += disk.shrink(&self.handed);
            left -= batch;
        }
        true
    }
}

impl Disk {
    fn open(dir: &Path, cap: u64) -> io::Result<Disk> {
        let (segments, next_number) = segment::found(dir)?;
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        Ok(Disk {
            dir: dir.to_owned(),
            cap,
            bytes,
            segments: segments.into(),
            writer: None,
            next_number,
            unsynced: Vec::new(),
            failed: None,
        })
    }

    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES.min(self.cap / 8).max(1)
    }

    fn is_failed(&self, now: Instant) -> bool {
        self.failed.is_some_and(|at| now.saturating_duration_since(at) < AFTER_FAILURE)
    }

    /// Adds records, in a new file where the last one is full.
    fn append(&mut self, run: &Run, bytes: &[u8], count: u64, last: u64) -> io::Result<()> {
        let full = self.segments.back().is_none_or(|segment| segment.bytes >= self.segment_bytes());
        if full {
            self.unsynced.extend(self.writer.take());
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let number = self.next_number;
                self.next_number += 1;
                let (file, segment) = segment::create(&self.dir, number, run)?;
                self.bytes += segment.bytes;
                self.segments.push_back(segment);
                file
            }
        };
        if let Err(error) = writer.write_all(bytes) {
            // The file is left with a torn end, which its readers know, unless there is nothing else in it.
            self.remove(|segment| segment.records == 0);
            return Err(error);
        }
        self.writer = Some(writer);
        self.failed = None;
        self.bytes += bytes.len() as u64;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes.len() as u64;
            segment.records += count;
            segment.last = last;
        }
        Ok(())
    }

    /// Removes the oldest files until the rest is within the cap. Returns how many unsent records went with them.
    fn shrink(&mut self, handed: &HashMap<Arc<str>, u64>) -> u64 {
        let mut dropped = 0;
        while self.bytes > self.cap && self.segments.len() > 1 {
            let Some(oldest) = self.segments.pop_front() else { break };
            let handed = handed.get(&oldest.run.stream).copied().unwrap_or_default();
            dropped += oldest.records.min(oldest.last.saturating_sub(handed));
            self.bytes -= oldest.bytes;
            let _ = fs::remove_file(&oldest.path);
        }
        dropped
    }

    fn remove(&mut self, gone: impl Fn(&Segment) -> bool) {
        // Only from the front of each stream, where a stream's files are in order: all that fit.
        let before = self.segments.back().map(|segment| segment.path.clone());
        let bytes = &mut self.bytes;
        self.segments.retain(|segment| {
            let gone = gone(segment);
            if gone {
                *bytes -= segment.bytes;
                let _ = fs::remove_file(&segment.path);
            }
            !gone
        });
        if self.segments.back().map(|segment| &segment.path) != before.as_ref() {
            self.writer = None;
        }
    }
}
