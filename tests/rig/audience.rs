//! Many subscribers to the lines' changes, read by one thread, and what they were told.
//!
//! Subscribers of one dialect must get the same frames, byte for byte: whoever is furthest writes the transcript,
//! the others are compared with it, and the transcript is what is added up. Only pings may come in between.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::common::{Daemon, LIMIT};
use crate::robust::{CLOSE, FIN, PING, PONG, TEXT, frame, raw_ws, read_frame, text};

/// Bytes taken from a socket at once.
const GULP: usize = 256 * 1024;

/// Bytes of a transcript that everybody has heard, kept before they are let go.
const HEARD: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Pi-Controller's `/ws`.
    Events,
    Endrpi,
}

impl Dialect {
    pub const ALL: [Dialect; 2] = [Dialect::Events, Dialect::Endrpi];

    pub fn path(self) -> &'static str {
        match self {
            Dialect::Events => "/ws?types=gpio.state.changed",
            Dialect::Endrpi => "/",
        }
    }

    /// What a subscriber says first; its answer, which comes behind any greeting, has the same "joined" in it.
    pub fn ask(self) -> &'static str {
        match self {
            Dialect::Events => r#"{"type":"ping","request_id":"joined"}"#,
            Dialect::Endrpi => r#"{"action":"SUBSCRIBE","id":"joined","params":{"topics":["gpio.state.changed"]}}"#,
        }
    }
}

/// What was told of one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub events: u64,
    pub summaries: u64,
    /// Edges told one by one or in summaries.
    pub edges: u64,
    pub lost: u64,
    /// The level after the last of them.
    pub high: bool,
    /// The kernel's number of the last one.
    pub line_seqno: Option<u32>,
}

/// A change of a line, as both dialects carry it.
#[derive(Deserialize)]
struct Change<'a> {
    pin: u32,
    state: &'a str,
    edge: Option<&'a str>,
    line_seqno: Option<u32>,
    #[serde(default)]
    lost: u64,
    edges: Option<u64>,
}

/// What one dialect's subscribers are told, from the first change on.
struct Transcript {
    dialect: Dialect,
    /// Whole frames, without what everybody has heard.
    bytes: Vec<u8>,
    /// How much that was.
    before: usize,
    /// Where the frames begin, and where the last one ends.
    starts: VecDeque<usize>,
    told: BTreeMap<u32, Told>,
    /// Where it ends: behind the first change of this line.
    mark: u32,
    end: Option<usize>,
    strict: bool,
    total: Arc<AtomicU64>,
}

impl Transcript {
    /// How far these bytes are what is written from `at` on; where they are not, or nothing is written yet, back to
    /// the beginning of the frame.
    fn follow(&self, at: usize, bytes: &[u8]) -> usize {
        let written = &self.bytes[at - self.before..];
        let both = written.len().min(bytes.len());
        if written[..both] == bytes[..both] {
            return at + both;
        }
        let same = written.iter().zip(bytes).take_while(|(one, other)| one == other).count();
        let start = self.starts.partition_point(|start| *start <= at + same) - 1;
        assert!(self.starts[start] >= at, "{:?}: another frame: {}", self.dialect, String::from_utf8_lossy(bytes));
        self.starts[start]
    }

    fn write(&mut self, frame: &[u8], payload: &[u8]) {
        assert_eq!(self.end, None, "more came behind the end: {}", String::from_utf8_lossy(payload));
        self.bytes.extend_from_slice(frame);
        self.starts.push_back(self.written());
        self.add(payload);
    }

    fn written(&self) -> usize {
        self.before + self.bytes.len()
    }

    fn add(&mut self, payload: &[u8]) {
        let change = change(self.dialect, payload);
        if change.pin == self.mark {
            self.end = Some(self.written());
            return;
        }
        let told = self.told.entry(change.pin).or_default();
        let edges = change.edges.unwrap_or(u64::from(change.edge.is_some()));
        let high = change.state == "high";
        if let Some(edge) = change.edge {
            assert_eq!(edge == "rising", high, "{}", String::from_utf8_lossy(payload));
        }
        if self.strict {
            let flipped = (edges + change.lost) % 2 == 1;
            assert_eq!(
                high,
                told.high ^ flipped,
                "line {}, after {told:?}: {}",
                change.pin,
                String::from_utf8_lossy(payload)
            );
            if let Some(seqno) = change.line_seqno {
                let ahead = u64::from(seqno - told.line_seqno.unwrap_or(0));
                let expected = edges..=edges + change.lost;
                assert!(expected.contains(&ahead), "after {told:?}: {}", String::from_utf8_lossy(payload));
            }
        }
        told.events += 1;
        told.summaries += u64::from(change.edges.is_some());
        told.edges += edges;
        told.lost += change.lost;
        told.high = high;
        told.line_seqno = change.line_seqno.or(told.line_seqno);
        self.total.fetch_add(edges + change.lost, Ordering::Relaxed);
    }

    /// Lets go of what everybody has heard.
    fn forget(&mut self, heard: usize) {
        if heard - self.before >= HEARD {
            self.bytes.drain(..heard - self.before);
            self.before = heard;
            self.starts.drain(..self.starts.partition_point(|start| *start <= heard) - 1);
        }
    }
}

fn change(dialect: Dialect, payload: &[u8]) -> Change<'_> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    fn data(payload: &[u8]) -> &[u8] {
        let envelope: Result<Envelope, _> = serde_json::from_slice(payload);
        let envelope = envelope.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(payload)));
        envelope.data.get().as_bytes()
    }
    let data = match dialect {
        Dialect::Events => data(payload),
        Dialect::Endrpi => data(data(payload)),
    };
    serde_json::from_slice(data).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(payload)))
}

struct Listener {
    socket: TcpStream,
    /// Of [`Dialect::ALL`].
    dialect: usize,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// How much of the transcript it has heard.
    at: usize,
}

/// Subscribers that read all they are sent.
pub struct Audience {
    reader: JoinHandle<Heard>,
    totals: [Arc<AtomicU64>; 2],
}

/// What they were told, by line, which was the same for all of them.
pub struct Heard {
    pub told: BTreeMap<u32, Told>,
    /// Frames that all of them read, together.
    pub deliveries: u64,
}

impl Audience {
    /// So many subscribers, of both dialects in turn, until each has heard of a change of line `mark`. `strict`: levels and
    /// the kernel's numbers must fit the edges told and lost after each event.
    pub fn of(daemon: &Daemon, count: usize, mark: u32, strict: bool) -> Audience {
        let totals: [Arc<AtomicU64>; 2] = Default::default();
        let transcripts = [0, 1].map(|n| Transcript {
            dialect: Dialect::ALL[n],
            bytes: Vec::new(),
            before: 0,
            starts: VecDeque::from([0]),
            told: BTreeMap::new(),
            mark,
            end: None,
            strict,
            total: Arc::clone(&totals[n]),
        });
        let listeners: Vec<Listener> = (0..count).map(|n| Listener::join(daemon, n % 2)).collect();
        let reader = std::thread::spawn(move || listen(listeners, transcripts));
        Audience { reader, totals }
    }

    /// Edges that the furthest subscriber of each dialect has been told of, or told that they are lost.
    pub fn totals(&self) -> [u64; 2] {
        [0, 1].map(|n| self.totals[n].load(Ordering::Relaxed))
    }

    /// Whether it has stopped listening, which before the end is a failure.
    pub fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    /// When all have come to the end.
    pub fn heard(self) -> Heard {
        self.reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Listener {
    fn join(daemon: &Daemon, dialect: usize) -> Listener {
        let mut socket = raw_ws(daemon.addr, Dialect::ALL[dialect].path());
        socket.write_all(&text(Dialect::ALL[dialect].ask())).expect("sent");
        loop {
            let (_, payload) = read_frame(&mut socket).expect("an answer");
            if payload.windows(8).any(|bytes| bytes == b"\"joined\"") {
                break;
            }
        }
        socket.set_nonblocking(true).expect("non-blocking");
        Listener { socket, dialect, partial: Vec::new(), at: 0 }
    }

    /// Takes what has come.
    fn read(&mut self, gulp: &mut [u8], transcript: &mut Transcript) {
        let length = match self.socket.read(gulp) {
            Ok(0) => panic!("an honest subscriber's connection ended"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("an honest subscriber: {error}"),
        };
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(&gulp[..length]);
        let mut done = 0;
        while done < bytes.len() {
            let now = transcript.follow(self.at, &bytes[done..]);
            done += now - self.at;
            self.at = now;
            let Some((first, payload)) = whole_frame(&bytes[done..]) else { break };
            let whole = &bytes[done..done + payload.end];
            let payload = &whole[payload];
            if first == FIN | PING {
                self.socket.write_all(&frame(FIN | PONG, payload)).expect("room for a pong");
            } else {
                assert_ne!(first, FIN | CLOSE, "an honest subscriber is cut: {}", String::from_utf8_lossy(payload));
                assert_eq!((first, self.at), (FIN | TEXT, transcript.written()), "{:?}: another frame", self.dialect);
                transcript.write(whole, payload);
                self.at = transcript.written();
            }
            done += whole.len();
        }
        bytes.drain(..done);
        self.partial = bytes;
    }
}

/// The first byte of the frame in front, and where its payload is.
fn whole_frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => panic!("a change of a line is short"),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((bytes[0], start..start + length))
}

fn listen(mut listeners: Vec<Listener>, mut transcripts: [Transcript; 2]) -> Heard {
    // Subscribers are other machines: what they do with their processors is not taken from the daemon's, and the
    // daemon's work does not keep them from reading.
    let own = rustix::thread::gettid();
    rustix::process::setpriority_process(Some(own), -20).expect("root's privilege");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (number, listener) in listeners.iter().enumerate() {
        let number = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, &listener.socket, number, epoll::EventFlags::IN).expect("added");
    }
    let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    let mut gulp = vec![0; GULP];
    let mut ready = Vec::with_capacity(listeners.len());
    while listeners.iter().any(|listener| transcripts[listener.dialect].end != Some(listener.at)) {
        ready.clear();
        let count = epoll::wait(&poll, spare_capacity(&mut ready), Some(&limit)).expect("epoll");
        assert!(count > 0, "nothing for anybody within {LIMIT:?}");
        for event in &ready {
            let listener = &mut listeners[event.data.u64() as usize];
            listener.read(&mut gulp, &mut transcripts[listener.dialect]);
        }
        for (number, transcript) in transcripts.iter_mut().enumerate() {
            let ats = listeners.iter().filter(|listener| listener.dialect == number).map(|listener| listener.at);
            transcript.forget(ats.min().unwrap_or(0));
        }
    }
    let [events, endrpi] = transcripts;
    assert_eq!(events.told, endrpi.told, "both dialects tell the same");
    // Each has come to the end of what is written, and the mark is one more.
    let each: u64 = 1 + events.told.values().map(|told| told.events).sum::<u64>();
    Heard { deliveries: each * listeners.len() as u64, told: events.told }
}
