//! The machine's journal, followed by `journalctl`: from where it was left, whatever becomes of the program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, select};

use super::backoff::Backoff;
use super::feed::LogNews;
use crate::rt::{clock, random};
use crate::wire::journal;

/// The longest line that is read; what is longer is skipped.
const LINE_BYTES: u64 = 256 * 1024;

/// What of the program's complaint is told.
const COMPLAINT_BYTES: u64 = 500;

/// Where the journal's place is kept from one run to the next.
pub struct Cursor(PathBuf);

impl Cursor {
    pub fn new(state_dir: &Path) -> Cursor {
        Cursor(state_dir.join("journal.cursor"))
    }

    /// The place that was kept, if there is one that can be.
    pub fn read(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        let text = text.trim();
        let fine = !text.is_empty() && text.len() < 1024 && text.bytes().all(|byte| byte.is_ascii_graphic());
        fine.then(|| text.to_owned())
    }

    /// Replaces it; the old one stays where the new one cannot be written.
    pub fn keep(&self, cursor: &str) {
        let fresh = self.0.with_extension("new");
        let write = || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(cursor.as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&fresh, &self.0)
        };
        if let Err(error) = write() {
            log::warn!("cannot write '{}': {error}", self.0.display());
        }
    }
}

/// Ends the program that is running, so that the thread that reads it comes back.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Option<Child>>>);

impl Running {
    pub fn kill(&self) {
        if let Some(child) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = child.kill();
        }
    }
}

/// The thread that follows the journal.
pub struct Journal {
    pub cursor: Option<String>,
    pub news: Sender<LogNews>,
    /// Disconnected when the agent ends.
    pub stop: Receiver<()>,
    pub running: Running,
}

impl Journal {
    pub fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut said = None;
        while !self.is_stopping() {
            let began = clock::now();
            let cursor = self.cursor.clone();
            let why = match self.follow() {
                Ok(why) => why,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    log::warn!("agent.journal: there is no journalctl on this machine, so no journal is told the hub");
                    return;
                }
                Err(error) => error.to_string(),
            };
            if self.is_stopping() {
                return;
            }
            // A place that leads nowhere, since not even one entry came: from now on, then.
            if cursor.is_some() && self.cursor == cursor && why.contains("cursor") {
                self.cursor = None;
            }
            if said.as_ref() != Some(&why) {
                log::warn!("agent.journal: journalctl has ended ({why}); it is started again");
            }
            said = Some(why);
            let wait = backoff.wait(Some(began), clock::now(), random::fraction());
            // Nothing ever comes there but the end.
            let _ = self.stop.recv_timeout(wait);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Reads what the program prints until it ends; what it says then.
    fn follow(&mut self) -> io::Result<String> {
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--quiet", "--no-pager", "--output=json", "--output-fields", journal::FIELDS]);
        match &self.cursor {
            Some(cursor) => command.args(["--no-tail", "--after-cursor", cursor]),
            None => command.arg("--lines=0"),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        *self.running.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        // The end may have come between the two.
        if self.is_stopping() {
            self.running.kill();
        }
        if let Some(output) = output {
            self.read(output);
        }
        let mut complaint = String::new();
        let child = self.running.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            // It may have closed its output only.
            let _ = child.kill();
            let status = child.wait()?;
            let _ = errors.map(|errors| errors.take(COMPLAINT_BYTES).read_to_string(&mut complaint));
            if complaint.trim().is_empty() {
                complaint = status.to_string();
            }
        }
        Ok(complaint.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn read(&mut self, output: impl Read) {
        let own = std::process::id();
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match output.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let entry = std::str::from_utf8(&line).ok().and_then(journal::entry);
            // What this program writes is told already, and would go round in a circle.
            let Some(entry) = entry.filter(|entry| entry.pid != Some(own)) else { continue };
            self.cursor = Some(entry.cursor.clone());
            let news = LogNews { line: entry.line, cursor: Some(entry.cursor) };
            // Where the spool does not keep up the journal waits: it is the better place to wait.
            select! {
                send(self.news, news) -> sent => if sent.is_err() { return },
                recv(self.stop) -> _ => return,
            }
        }
    }
}
