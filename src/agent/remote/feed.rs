//! What the hub is told: samples, the device's own events and log lines, each numbered and put into the spool.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::journal::Cursor;
use super::moment::Moment;
use super::shared::Shared;
use super::spool::{Entry, Kind};
use crate::collect::Collector;
use crate::hub::Hub;
use crate::rt::clock;
use crate::types::event::{Audience, Body, Event};
use crate::types::fleet::{DeviceEvent, LogLevel, LogLine, LogSource, Record};
use crate::types::topic::Pattern;
use crate::wire::chatops::client::pack;
use crate::wire::events;

/// Events of the device that may wait to be spooled; what comes beyond is dropped and counted.
const EVENTS: usize = 4096;

/// Events that are put into the spool under one lock.
const BATCH: usize = 256;

/// How often the spool is looked after.
const KEEP_HOUSE: Duration = Duration::from_secs(10);

/// How long the hub may be away before records go to files, and how old they are then: a short outage wears no card.
const AWAY: Duration = Duration::from_secs(10);

/// How often files are written and synced while it is away.
const WRITE_EVERY: Duration = Duration::from_secs(30);

/// A log line this much older than its arrival was read later, and has its own time.
const LIVE: Duration = Duration::from_secs(5);

/// What the feed itself logs is told the hub by the feed.
pub const TARGET: &str = "pinwire::agent::feed";

/// A line of the machine's logs.
pub struct LogNews {
    pub line: LogLine,
    /// Where the journal was after it.
    pub cursor: Option<String>,
}

pub struct Feed {
    pub shared: Arc<Shared>,
    pub root: PathBuf,
    pub collector: Collector,
    pub metrics_interval: Duration,
    pub events: Receiver<Arc<Event>>,
    /// Events there was no room for.
    pub lost: Arc<AtomicU64>,
    pub logs: Receiver<LogNews>,
    pub stop: Receiver<()>,
    /// Where the journal's place is kept.
    pub cursor: Option<Arc<Cursor>>,
}

/// Subscribes to the hub within the process. Costs the sender a comparison per event, and nothing else where no agent
/// runs.
pub fn listen(hub: &Hub, forward: Vec<Pattern>) -> (Receiver<Arc<Event>>, Arc<AtomicU64>) {
    let (sender, receiver): (Sender<Arc<Event>>, _) = bounded(EVENTS);
    let lost = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&lost);
    hub.tap(Box::new(move |event| {
        let wanted = match &event.body {
            // Log lines are told as such, whatever is forwarded.
            Body::Log { target, .. } => target != TARGET,
            _ => {
                let topic = event.topic();
                event.audience() != Audience::Pages && forward.iter().any(|pattern| pattern.matches(topic))
            }
        };
        if wanted && sender.try_send(Arc::clone(event)).is_err() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }));
    (receiver, lost)
}

impl Feed {
    /// Runs until it is told to stop; what has come by then is in the spool.
    pub fn run(mut self) {
        let began = clock::now();
        // The first one soon: who has just connected a device wants to see it.
        let mut next_sample = began + self.metrics_interval.min(Duration::from_secs(1));
        let mut next_house = began + KEEP_HOUSE;
        let mut house = House::default();
        loop {
            let now = clock::now();
            if now >= next_sample {
                self.sample();
                // Missed ones are not made up for.
                let late = now.saturating_duration_since(next_sample);
                next_sample += self.metrics_interval;
                if late >= self.metrics_interval {
                    next_sample = now + self.metrics_interval;
                }
            }
            if now >= next_house {
                self.keep_house(&mut house, now);
                next_house = now + KEEP_HOUSE;
            }
            let left = next_sample.min(next_house).saturating_duration_since(clock::now());
            select! {
                recv(self.events) -> event => match event {
                    Ok(event) => self.take_events(event),
                    Err(_) => break,
                },
                recv(self.logs) -> news => match news {
                    Ok(news) => self.take_logs(news, &mut house),
                    // Nobody reads logs.
                    Err(_) => self.logs = never(),
                },
                recv(self.stop) -> _ => break,
                default(left) => {}
            }
        }
        // The rest of what has happened until now.
        while let Ok(event) = self.events.try_recv() {
            self.take_events(event);
        }
        while let Ok(news) = self.logs.try_recv() {
            self.take_logs(news, &mut house);
        }
        self.tell_losses();
        if let Some((_, cursor)) = house.newest_cursor.or(house.awaited_cursor) {
            self.shared.set_cursor(cursor);
        }
    }

    fn sample(&mut self) {
        let moment = Moment::now(&self.root);
        let sample = self.collector.sample();
        self.put(moment, [(Record::Sample(Box::new(sample)), None)]);
    }

    fn take_events(&mut self, first: Arc<Event>) {
        let more: Vec<Arc<Event>> = self.events.try_iter().take(BATCH).collect();
        let all = std::iter::once(first).chain(more);
        self.put(Moment::now(&self.root), all.map(|event| (record(&event), Some(event.at))));
    }

    fn take_logs(&mut self, first: LogNews, house: &mut House) {
        let more: Vec<LogNews> = self.logs.try_iter().take(BATCH).collect();
        let mut cursor = None;
        let all = std::iter::once(first).chain(more).map(|news| {
            cursor = news.cursor.or(cursor.take());
            let at = news.line.at;
            (Record::Log(news.line), at)
        });
        let all: Vec<_> = all.collect();
        let seq = self.put(Moment::now(&self.root), all);
        if let Some(cursor) = cursor {
            house.newest_cursor = Some((seq, cursor));
        }
    }

    /// Numbers records; returns the last number.
    fn put(&self, moment: Moment, records: impl IntoIterator<Item = (Record, Option<SystemTime>)>) -> u64 {
        let now = clock::now();
        // Written before the lock is taken.
        let entries: Vec<Entry> = records
            .into_iter()
            .map(|(record, at)| {
                let at = at.unwrap_or(moment.wall);
                let is_old = moment.wall.duration_since(at).is_ok_and(|age| age > LIVE);
                let kind = if matches!(record, Record::Sample(_)) { Kind::Sample } else { Kind::Other };
                Entry {
                    seq: 0,
                    monotonic_ns: moment.boot_ns,
                    synchronised: moment.synchronised || is_old,
                    kind,
                    packed: pack(&record, at),
                }
            })
            .collect();
        let mut spool = self.shared.spool();
        entries.into_iter().for_each(|entry| spool.push(entry, now));
        let last = spool.last_seq();
        drop(spool);
        self.shared.ring_if_connected();
        last
    }

    fn keep_house(&self, house: &mut House, now: Instant) {
        self.tell_losses();
        let away = self.shared.away_since().is_some_and(|since| now.saturating_duration_since(since) >= AWAY);
        if away && house.wrote.is_none_or(|at| now.saturating_duration_since(at) >= WRITE_EVERY) {
            house.wrote = Some(now);
            let young = clock::boot_ns().saturating_sub(AWAY.as_nanos() as u64);
            self.shared.spool().spill_older(young, now);
        }
        let written = self.shared.spool().take_unsynced();
        for file in written {
            if let Err(error) = file.sync_data() {
                log::warn!(target: TARGET, "cannot sync the spool: {error}");
            }
        }
        self.keep_cursor(house);
    }

    /// Writes down how far the journal has been read, once the hub has everything before it: what a crash takes from the
    /// spool's memory is then read again.
    fn keep_cursor(&self, house: &mut House) {
        let Some(file) = &self.cursor else { return };
        if house.awaited_cursor.is_none() {
            house.awaited_cursor = house.newest_cursor.take();
        }
        let stored = self.shared.spool().own_stored();
        if let Some((_, cursor)) = house.awaited_cursor.take_if(|(seq, _)| *seq <= stored) {
            file.keep(&cursor);
        }
    }

    fn tell_losses(&self) {
        let events = self.lost.swap(0, Ordering::Relaxed);
        if events > 0 {
            self.say(format!(
                "{events} events of this device came faster than they could be spooled, and were dropped"
            ));
        }
        let records = self.shared.spool().take_dropped();
        if records > 0 {
            let fix = "raise agent.spool_bytes, or agent.spool_ram where there is no state_dir";
            self.say(format!("{records} records were dropped before the hub had them: {fix}"));
        }
    }

    fn say(&self, message: String) {
        log::warn!(target: TARGET, "{message}");
        let line = LogLine {
            level: LogLevel::Warning,
            message,
            at: None,
            source: Some(LogSource::Agent),
            component: Some("pinwire".into()),
        };
        self.put(Moment::now(&self.root), [(Record::Log(line), None)]);
    }
}

/// What is looked after from time to time.
#[derive(Default)]
struct House {
    wrote: Option<Instant>,
    /// The journal's place and the number of the record it belongs to: the latest, and the one being waited for.
    newest_cursor: Option<(u64, String)>,
    awaited_cursor: Option<(u64, String)>,
}

fn record(event: &Event) -> Record {
    if let Body::Log { level, target, message } = &event.body {
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warning,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug | log::Level::Trace => LogLevel::Debug,
        };
        return Record::Log(LogLine {
            level,
            message: message.clone(),
            at: None,
            source: Some(LogSource::Agent),
            component: Some(target.clone()),
        });
    }
    let mut data = Vec::new();
    events::data(&mut data, event);
    Record::Event(DeviceEvent {
        topic: event.topic().into(),
        at: event.at,
        data: String::from_utf8_lossy(&data).into_owned().into(),
    })
}
