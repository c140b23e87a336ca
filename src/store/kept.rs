//! What servers hand over all the time, as others put it in and ask for it.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::Connection;

use super::logs::{self, KeptEvent, LogFilter};
use super::records::{Kept, KeptWhat};
use super::time::millis;
use super::{Health, Store, StoreError, flush, points};
use crate::rt::clock;
use crate::types::fleet::{LogEntry, Point};

impl Store {
    /// Has a record written with the next batch. Never waits: where there is no room (`store.pending_bytes`), a numbered
    /// one is left to its agent ([`Store::on_room`]), and others are lost, the oldest first, and counted. A record that
    /// its stream has handed over before is not kept again; one of a server that is not in the table is not kept at all.
    ///
    /// Returns how many numbers are missing before it in its stream.
    pub fn keep(&self, record: Kept) -> u64 {
        let pushed = self.shared.pending().push(record, clock::now());
        if pushed.urgent {
            self.shared.bell.ring();
        }
        pushed.missing
    }

    /// Has `tell` called with each server of whose agent numbered records found no room, once there is room again, on a
    /// thread of its own. Nothing numbered of it is taken until it begins anew.
    pub fn on_room(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        self.shared.news.on_room(Arc::new(move |server_id| tell(server_id)));
    }

    /// Whether this server's agent has to begin anew for its numbered records to be taken.
    pub fn is_holed(&self, server_id: &str) -> bool {
        self.shared.pending().is_holed(server_id)
    }

    /// This server's agent hands over again everything behind [`Store::position`].
    pub fn begin_anew(&self, server_id: &str) {
        self.shared.pending().begin_anew(server_id);
    }

    /// Has `tell` called after each batch, with server, stream and how far that stream is kept, for every stream that
    /// was in it. It is called on a thread of its own and may ask the store for anything.
    pub fn on_kept(&self, tell: impl Fn(&str, &str, u64) + Send + Sync + 'static) {
        self.shared.news.on_kept(Arc::new(move |server_id, stream, seq| tell(server_id, stream, seq)));
    }

    /// Has `tell` called with the store's health, now and whenever it changes, on a thread of its own.
    pub fn on_health(&self, tell: impl Fn(&Health) + Send + Sync + 'static) {
        self.shared.news.on_health(Arc::new(tell), self.health());
    }

    /// How far a server's stream is kept; `None` where nothing is, or cannot be known now.
    pub fn position(&self, server_id: &str, stream: &str) -> Option<u64> {
        let found = self.read(|sql| match flush::number(sql, server_id)? {
            Some(server) => flush::position(sql, server, stream),
            None => Ok(None),
        });
        let seq = found.unwrap_or_else(|error| {
            log::warn!("how far a stream of server {server_id} is kept cannot be read: {error}");
            None
        })?;
        self.shared.pending().known((server_id.into(), stream.into()), seq);
        Some(seq)
    }

    /// A server's history from `start` to `end`, the oldest point first: of the finest step that reaches back to `start`
    /// and has no more than `limit` points up to `end` ([`super::STEPS`]), else of the longest, then its last `limit`
    /// points. Samples that wait to be written are in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn history(
        &self,
        server_id: &str,
        start: SystemTime,
        end: SystemTime,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError> {
        let (span, now) = ((millis(start), millis(end)), millis(clock::wall()));
        self.with_waiting(server_id, |sql, server, waiting| {
            let samples = waiting.iter().filter_map(|kept| match &kept.what {
                KeptWhat::Point(point) => Some(point),
                _ => None,
            });
            points::history(sql, server, span, limit, samples, now)
        })
    }

    /// A server's log entries, the newest first. Those that wait to be written are among them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn logs(&self, server_id: &str, filter: &LogFilter) -> Result<Vec<LogEntry>, StoreError> {
        self.with_waiting(server_id, |sql, server, waiting| {
            let mut found: Vec<LogEntry> = waiting
                .iter()
                .rev()
                .filter_map(|kept| match &kept.what {
                    KeptWhat::Log(entry) if filter.fits(entry) => Some(LogEntry::clone(entry)),
                    _ => None,
                })
                .collect();
            found.extend(logs::logs(sql, server, server_id, filter)?);
            // Stable: of one moment, the last that came is first.
            found.sort_by_key(|entry| std::cmp::Reverse(millis(entry.at)));
            found.truncate(filter.limit);
            Ok(found)
        })
    }

    /// A server's events with numbers above `since`, in their order, at most `limit`. An event has its number once it is
    /// written.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn events(&self, server_id: &str, since: u64, limit: usize) -> Result<Vec<KeptEvent>, StoreError> {
        self.with_waiting(server_id, |sql, server, _| logs::events(sql, server, since, limit))
    }

    /// Reads with what waits to be written of a server, without what has just been.
    fn with_waiting<T>(
        &self,
        server_id: &str,
        f: impl FnOnce(&Connection, i64, &[Arc<Kept>]) -> rusqlite::Result<Vec<T>>,
    ) -> Result<Vec<T>, StoreError> {
        // Before the database: what is written in between is seen to be there.
        let waiting = self.shared.pending().of_server(server_id);
        self.read(|sql| {
            let Some(server) = flush::number(sql, server_id)? else { return Ok(Vec::new()) };
            let written = flush::written(sql)?;
            let waiting: Vec<_> =
                waiting.into_iter().filter(|(number, _)| *number > written).map(|(_, kept)| kept).collect();
            f(sql, server, &waiting)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::tests::{LIMIT, server};
    use super::super::time::moment;
    use super::*;
    use crate::config;
    use crate::types::fleet::{DeviceEvent, LogLevel, LogSource, Stamp};

    const MINUTE: Duration = Duration::from_secs(60);

    fn point(at: SystemTime, cpu: f64) -> Point {
        Point {
            at,
            samples: 1,
            cpu_percent: Some(cpu),
            memory_percent: None,
            disk_percent: Some(12.345),
            temperature_celsius: Some(-1.5),
            load_1m: None,
            bytes_sent: Some(7),
            bytes_received: None,
        }
    }

    fn record(stamp: Option<(&str, u64)>, what: KeptWhat) -> Kept {
        let stamp = stamp.map(|(stream, seq)| Stamp {
            stream: stream.into(),
            seq,
            boot_id: None,
            monotonic_ns: None,
            clock: None,
        });
        Kept { server_id: "a".into(), stamp, what }
    }

    fn event(at: SystemTime, data: &str) -> KeptWhat {
        KeptWhat::Event(Arc::new(DeviceEvent { topic: "gpio.state.changed".into(), at, data: data.into() }))
    }

    fn entry(at: SystemTime, message: &str, level: LogLevel) -> KeptWhat {
        KeptWhat::Log(Arc::new(LogEntry {
            id: message.into(),
            server_id: "a".into(),
            at,
            level,
            source: LogSource::System,
            component: Some("sshd".into()),
            message: message.into(),
            extra: None,
        }))
    }

    /// A store with a server, that writes nothing by itself for a long time, or nearly at once.
    fn store(flush_interval: Duration) -> Store {
        let settings = config::Store { flush_interval, ..config::Store::default() };
        let store = Store::start_with(None, &settings).expect("starts");
        store.add_server(&server("a")).expect("a server");
        store
    }

    /// Waits until all that is kept by now is written.
    fn written(store: &Store) {
        let (sender, told) = channel();
        store.on_kept(move |_, stream, seq| drop(sender.send((stream.to_owned(), seq))));
        store.keep(record(Some(("mark", 1)), event(SystemTime::UNIX_EPOCH, "{}")));
        while told.recv_timeout(LIMIT).expect("written").0 != "mark" {}
    }

    #[test]
    fn what_waits_is_read_as_if_it_were_written() {
        // As the database has it.
        let now = moment(millis(clock::wall()));
        let waiting = store(LIMIT * 60);
        let kept = store(Duration::from_millis(1));
        let filter = LogFilter { limit: 2, level: None, source: Some(LogSource::System), component: None };
        let mut answers = Vec::new();
        for store in [&waiting, &kept] {
            for (n, minutes) in [1, 3, 5, 200, 2000].into_iter().enumerate() {
                for cpu in [10.0, 20.0] {
                    store.keep(record(None, KeptWhat::Point(point(now - MINUTE * minutes, cpu + n as f64))));
                }
            }
            for (message, age, level) in [("b", 2, LogLevel::Info), ("c", 1, LogLevel::Error), ("a", 3, LogLevel::Info)]
            {
                store.keep(record(None, entry(now - MINUTE * age, message, level)));
            }
        }
        written(&kept);
        for store in [&waiting, &kept] {
            let span = |minutes| store.history("a", now - MINUTE * minutes, now, 10_000).expect("read");
            let samples =
                |points: &[Point]| points.iter().map(|point| (point.samples, point.cpu_percent)).collect::<Vec<_>>();
            let (fine, middle, long) = (span(59), span(1000), span(10_000));
            assert_eq!(samples(&fine), [(2, Some(17.0)), (2, Some(16.0)), (2, Some(15.0))]);
            assert_eq!(samples(&middle).len(), 4, "{middle:?}");
            assert_eq!(samples(&long).iter().map(|(samples, _)| samples).sum::<u32>(), 10);
            assert!(fine.iter().all(|point| point.disk_percent.is_some_and(|disk| (disk - 12.345).abs() < 0.006)));
            assert!(fine.iter().all(|point| point.temperature_celsius == Some(-1.5) && point.bytes_sent == Some(7)));
            let logs = store.logs("a", &filter).expect("read");
            assert_eq!(logs.iter().map(|entry| &*entry.message).collect::<Vec<_>>(), ["c", "b"]);
            let none = LogFilter { level: Some(LogLevel::Debug), ..filter.clone() };
            assert_eq!(store.logs("a", &none).expect("read"), []);
            answers.push((fine, middle, long, logs));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(kept.history("other", now - MINUTE, now, 9), Ok(Vec::new()));
        [waiting, kept].iter().for_each(|store| store.stop(LIMIT));
    }

    #[test]
    fn a_stream_is_kept_once_and_in_order_and_it_is_told_how_far() {
        let store = store(Duration::from_millis(1));
        let (sender, told) = channel();
        store.on_kept(move |server_id, stream, seq| {
            assert_eq!(server_id, "a");
            drop(sender.send((stream.to_owned(), seq)));
        });
        let until = |wanted: (&str, u64)| {
            while told.recv_timeout(LIMIT).expect("told") != (wanted.0.to_owned(), wanted.1) {}
        };
        let send = |seq| {
            let missing = store.keep(record(Some(("s", seq)), event(clock::wall(), &seq.to_string())));
            assert_eq!(missing, 0);
        };
        assert_eq!(store.position("a", "s"), None);
        (1..=3).for_each(send);
        until(("s", 3));
        (1..=5).for_each(send);
        until(("s", 5));
        assert_eq!((store.position("a", "s"), store.position("b", "s")), (Some(5), None));
        // Nothing new, and told all the same: the agent may not know.
        send(5);
        until(("s", 5));
        let events = store.events("a", 0, 100).expect("read");
        assert_eq!(events.iter().map(|kept| &*kept.event.data).collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
        assert_eq!(events[3].stamp, Some(("s".to_owned(), 4)));
        let rest = store.events("a", events[1].number, 2).expect("read");
        assert_eq!(rest, events[2..4]);
        // A server that is no more.
        store.keep(Kept { server_id: "b".into(), ..record(Some(("s", 1)), event(clock::wall(), "{}")) });
        written(&store);
        assert_eq!(store.position("b", "s"), None);
        store.stop(LIMIT);
    }

    #[test]
    fn what_waits_is_written_at_the_end() {
        let dir = std::env::temp_dir().join(format!("pinwire-kept-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let first = Store::start(Some(&dir)).expect("starts");
        first.add_server(&server("a")).expect("a server");
        first.keep(record(Some(("s", 1)), event(clock::wall(), "{}")));
        first.stop(LIMIT);
        drop(first);
        let again = Store::start(Some(&dir)).expect("starts");
        assert_eq!((again.position("a", "s"), again.events("a", 0, 9).map(|events| events.len())), (Some(1), Ok(1)));
        again.stop(LIMIT);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
