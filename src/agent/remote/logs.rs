//! Who reads the machine's logs: the journal's thread and the files'.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{EventfdFlags, eventfd};

use super::feed::LogNews;
use super::files::Files;
use super::journal::{Cursor, Journal, Running};
use crate::config;
use crate::rt::worker::Worker;

/// Log lines that may wait to be spooled; who reads them waits then.
const LINES: usize = 1024;

/// Readers that have not begun.
pub struct Readers {
    journal: Option<Journal>,
    files: Option<Files>,
    end: End,
}

/// What ends readers, each in the place where it waits.
struct End {
    /// Dropped.
    stop: Sender<()>,
    /// Rung.
    bell: Arc<OwnedFd>,
    /// Killed.
    running: Running,
}

/// Readers at work.
pub struct Reading {
    workers: Vec<Worker>,
    end: End,
}

impl Readers {
    /// What is to be read, and where its lines come out.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(config: &config::Agent, cursor: Option<&Cursor>) -> std::io::Result<(Readers, Receiver<LogNews>)> {
        let (news, lines) = bounded(LINES);
        let (stop, stopped) = bounded(0);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let end = End { stop, bell, running: Running::default() };
        let files = match config.log_files.as_slice() {
            [] => None,
            paths => Some(Files::new(paths, news.clone(), stopped.clone(), Arc::clone(&end.bell))?),
        };
        let journal = config.journal.then(|| Journal {
            cursor: cursor.and_then(Cursor::read),
            news,
            stop: stopped,
            running: end.running.clone(),
        });
        Ok((Readers { journal, files, end }, lines))
    }

    /// # Errors
    /// No thread to be had.
    pub fn start(self) -> std::io::Result<Reading> {
        let mut workers = Vec::new();
        if let Some(journal) = self.journal {
            workers.push(Worker::spawn("agent-journal", move || journal.run())?);
        }
        if let Some(files) = self.files {
            workers.push(Worker::spawn("agent-files", move || files.run())?);
        }
        Ok(Reading { workers, end: self.end })
    }
}

impl Reading {
    pub fn stop(self, limit: Duration) {
        let End { stop, bell, running } = self.end;
        drop(stop);
        running.kill();
        let _ = rustix::io::write(&bell, &1_u64.to_ne_bytes());
        self.workers.into_iter().for_each(|worker| worker.join(limit));
    }
}
