//! Where log lines go: to stderr through simplelog, and the more serious ones to the hub as well, where they
//! are `system.log.created` events. Where stderr is the journal, lines have their priority before them and no time.

use std::io::Stderr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{CombinedLogger, ConfigBuilder, SharedLogger, WriteLogger};

use crate::config::Config;
use crate::hub::Hub;
use crate::rt::{clock, stderr};
use crate::types::event::{Body, Event};
use crate::types::plain::plain;

/// Starts logging. Called once; a second call (in a test) changes nothing.
pub fn start(config: &Config, hub: &Arc<Hub>) {
    let lines = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug)
        .set_location_level(LevelFilter::Off)
        .add_filter_ignore_str(FRAMES)
        .build();
    let events = ToHub { hub: Arc::clone(hub) };
    let to_stderr: Box<dyn SharedLogger> = if stderr::is_journal() {
        Box::new(ToJournal)
    } else {
        Box::new(OneLine(WriteLogger::new(LevelFilter::Trace, lines, std::io::stderr())))
    };
    let _ = CombinedLogger::init(vec![to_stderr, Box::new(events)]);
    set_levels(config.log_level, config.log_events);
}

/// What goes to stderr, and what becomes events, from now on.
pub fn set_levels(log_level: LevelFilter, log_events: LevelFilter) {
    TO_STDERR.store(log_level as usize, Ordering::Relaxed);
    TO_HUB.store(log_events as usize, Ordering::Relaxed);
    log::set_max_level(log_level.max(log_events));
}

/// Levels, as numbers; a reload may change them.
static TO_STDERR: AtomicUsize = AtomicUsize::new(LevelFilter::Off as usize);
static TO_HUB: AtomicUsize = AtomicUsize::new(LevelFilter::Off as usize);

fn is_within(metadata: &Metadata, most: &AtomicUsize) -> bool {
    metadata.level() as usize <= most.load(Ordering::Relaxed)
}

/// Writes lines for the journal, which knows the time itself.
struct ToJournal;

impl Log for ToJournal {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_within(metadata, &TO_STDERR) && !metadata.target().starts_with(FRAMES)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (level, text) = (record.level(), record.args().to_string());
        let target = if level >= Level::Debug { format!("{}: ", record.target()) } else { String::new() };
        stderr::say(level, &format!("[{level}] {target}{}", plain(&text)));
    }

    fn flush(&self) {}
}

impl SharedLogger for ToJournal {
    fn level(&self) -> LevelFilter {
        LevelFilter::Trace
    }

    fn config(&self) -> Option<&simplelog::Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

/// tungstenite writes whole messages to its log, keys included; nobody may read those there.
const FRAMES: &str = "tungstenite::";

/// A record is one line, whatever somebody has called a server: names, and what others say, stand in many.
struct OneLine(Box<WriteLogger<Stderr>>);

impl Log for OneLine {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_within(metadata, &TO_STDERR) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let metadata = record.metadata().clone();
            self.0.log(&Record::builder().metadata(metadata).args(format_args!("{}", plain(&text))).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

impl SharedLogger for OneLine {
    fn level(&self) -> LevelFilter {
        self.0.level()
    }

    fn config(&self) -> Option<&simplelog::Config> {
        self.0.config()
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

/// Posts records to the hub; never waits, and a full hub drops them (counted there).
struct ToHub {
    hub: Arc<Hub>,
}

impl Log for ToHub {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_within(metadata, &TO_HUB)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) && !record.target().starts_with(FRAMES) {
            let body = Body::Log {
                level: record.level(),
                target: record.target().to_owned(),
                message: record.args().to_string(),
            };
            self.hub.post(Event { at: clock::wall(), body });
        }
    }

    fn flush(&self) {}
}

impl SharedLogger for ToHub {
    fn level(&self) -> LevelFilter {
        LevelFilter::Trace
    }

    fn config(&self) -> Option<&simplelog::Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}
