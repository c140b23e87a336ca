//! The thread `gpio-in`: waits for edges on all value files at once, and for chips that come and go.
//!
//! `sysfs_gpio`'s own poller reads before it waits, and reading forgets an edge that is already there. Here a file
//! is read only after it has been reported, so every edge either wakes the thread or falls between a report and the
//! read that follows; those are found in the kernel's count ([`super::count`]) a moment later. So no timer is
//! needed for fear of missed edges, and an idle daemon does not wake.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::chip::{self, CLASS, Chip};
use super::count::{Counts, Interrupts, Ledger};
use super::uevent::Uevents;
use crate::gpio::lines::{RawEdge, Watcher};
use crate::rt::clock;
use crate::types::event::{LineChange, LineChangeKind};
use crate::types::line::{Level, Pin};

/// After the last edge, when the kernel's count is read once more. Longer than a slow kernel's tick.
const SETTLE: Duration = Duration::from_millis(10);

/// How often a chip that has gone is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What the backend and its thread share.
pub struct Shared {
    /// Held for some reads of the kernel's files, never while anything is waited for or anybody is called.
    table: Mutex<Table>,
    wake: OwnedFd,
    wanted: Option<String>,
}

struct Table {
    /// Or why there is none.
    chip: Result<Chip, String>,
    /// Counts the chips there have been, so that what was held of an earlier one is forgotten.
    generation: u64,
    lines: Vec<Watched>,
    interrupts: Option<Interrupts>,
    /// Edges that were found outside of the thread, for it to tell.
    left: Vec<RawEdge>,
    running: bool,
    stopping: bool,
}

/// A line whose edges are reported.
pub struct Watched {
    pub pin: Pin,
    pub value: Arc<File>,
    /// Its row in the kernel's count.
    pub interrupt: Option<u32>,
    pub ledger: Ledger,
}

impl Shared {
    pub fn new(chip: Chip, wanted: Option<String>) -> io::Result<Shared> {
        let interrupts = Interrupts::open().inspect_err(|error| log::debug!("no count of interrupts: {error}")).ok();
        let table = Table {
            chip: Ok(chip),
            generation: 0,
            lines: Vec::new(),
            interrupts,
            left: Vec::new(),
            running: false,
            stopping: false,
        };
        Ok(Shared {
            table: Mutex::new(table),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            wanted,
        })
    }

    /// The chip and its generation, or why it is gone. Where no thread looks for it, this does.
    pub fn chip(&self) -> Result<(Chip, u64), String> {
        let mut table = self.lock();
        if table.chip.is_err() && !table.running {
            table.look(self.wanted.as_deref());
        }
        table.chip.clone().map(|chip| (chip, table.generation))
    }

    /// Looks whether the chip is still what it was; if not, it is gone, and why.
    pub fn check(&self) -> Result<(), String> {
        let mut table = self.lock();
        let gone = match (&table.chip, chip::find(Path::new(CLASS), self.wanted.as_deref())) {
            (Err(why), _) => return Err(why.clone()),
            (Ok(was), Ok(now)) if *was == now => return Ok(()),
            (Ok(_), Ok(now)) => format!("another one has come in its place, {}", now.describe()),
            (Ok(_), Err(why)) => why,
        };
        table.lose(&gone);
        drop(table);
        self.wake();
        Err(gone)
    }

    pub fn counts(&self) -> Option<Counts> {
        self.lock().counts()
    }

    pub fn add(&self, line: Watched) {
        self.lock().lines.push(line);
        self.wake();
    }

    /// Ends watching a line; what it had to tell until now is told. Its interrupt must still be set.
    pub fn remove(&self, pin: Pin) {
        let mut table = self.lock();
        let Some(at) = table.lines.iter().position(|line| line.pin == pin) else { return };
        let mut line = table.lines.remove(at);
        let count = line.interrupt.and_then(|number| table.counts()?.get(&number).map(|row| row.0));
        let now = clock::monotonic_ns();
        let told = read(&line.value).ok().and_then(|level| line.ledger.close(level, count));
        table.left.extend(told.map(|told| edge(pin, told, now)));
        drop(table);
        self.wake();
    }

    pub fn is_watched(&self, pin: Pin) -> bool {
        let table = self.lock();
        table.running && table.lines.iter().any(|line| line.pin == pin)
    }

    /// Says that the thread runs, or that it is to end.
    pub fn set_running(&self, running: bool) {
        let mut table = self.lock();
        table.running = running;
        table.stopping = !running;
        drop(table);
        self.wake();
    }

    pub fn wake(&self) {
        // It can only fail where it is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn counts(&mut self) -> Option<Counts> {
        self.interrupts.as_mut()?.read().ok()
    }

    fn lose(&mut self, why: &str) {
        self.chip = Err(why.to_owned());
        self.lines.clear();
    }

    fn look(&mut self, wanted: Option<&str>) -> bool {
        let found = chip::find(Path::new(CLASS), wanted).ok();
        let is_back = found.is_some();
        if let Some(chip) = found {
            self.chip = Ok(chip);
            self.generation += 1;
        }
        is_back
    }

    /// Reads the lines whose files were reported or whose count has moved on. The order matters: see
    /// [`Ledger::wake`].
    fn collect(&mut self, ready: &[Arc<File>], settle: bool) -> Batch {
        let mut batch = Batch { edges: std::mem::take(&mut self.left), failed: Vec::new(), settled: true };
        if ready.is_empty() && !settle {
            return batch;
        }
        let now = clock::monotonic_ns();
        let counts = self.counts();
        for line in &mut self.lines {
            let count = line.interrupt.and_then(|number| counts.as_ref()?.get(&number).map(|row| row.0));
            let reported = ready.iter().any(|file| Arc::ptr_eq(file, &line.value));
            let told = if reported || line.ledger.is_behind(count) {
                // Reading takes back the report of an edge that is not in this count; it is in the next one.
                batch.settled = false;
                match read(&line.value) {
                    Ok(level) => line.ledger.wake(level, count),
                    Err(error) => {
                        batch.failed.push((line.pin, error));
                        None
                    }
                }
            } else if settle {
                line.ledger.settle()
            } else {
                None
            };
            batch.settled &= line.ledger.is_settled();
            batch.edges.extend(told.map(|told| edge(line.pin, told, now)));
        }
        self.lines.retain(|line| batch.failed.iter().all(|(pin, _)| *pin != line.pin));
        batch
    }
}

struct Batch {
    edges: Vec<RawEdge>,
    failed: Vec<(Pin, io::Error)>,
    /// Whether the kernel's count need not be read once more.
    settled: bool,
}

/// The thread's body; ends when [`Shared::set_running`] says so.
pub fn run(shared: &Shared, watcher: &dyn Watcher) {
    let uevents = Uevents::open()
        .inspect_err(|error| log::info!("a GPIO chip that vanishes is noticed at its next use only: {error}"))
        .ok();
    let mut settle_at: Option<Instant> = None;
    let mut look_at: Option<Instant> = None;
    loop {
        let (values, chip_name) = {
            let table = shared.lock();
            if table.stopping {
                return;
            }
            let values: Vec<Arc<File>> = table.lines.iter().map(|line| Arc::clone(&line.value)).collect();
            (values, table.chip.as_ref().map(Chip::name).unwrap_or_default())
        };
        let until = [settle_at, look_at, watcher.next_tick()].into_iter().flatten().min();
        // A watch that has ended in silence would be worse than a restart with the outputs safe.
        let ready = wait(shared, uevents.as_ref(), &values, until)
            .unwrap_or_else(|error| panic!("waiting for edges failed: {error}"));
        let now = clock::now();
        let settle = ready.is_empty() && settle_at.is_some_and(|at| at <= now);
        let batch = shared.lock().collect(&ready, settle);
        if !ready.is_empty() || settle {
            settle_at = (!batch.settled).then_some(now + SETTLE);
        }
        if !batch.edges.is_empty() {
            watcher.edges(&batch.edges);
        }
        let news = uevents.as_ref().map(|uevents| uevents.news(&chip_name)).unwrap_or_default();
        if news.removed {
            let mut table = shared.lock();
            if table.chip.is_ok() {
                table.lose("it was removed");
            }
        } else if news.look || !batch.failed.is_empty() {
            let there = shared.check();
            for (pin, error) in batch.failed.iter().filter(|_| there.is_ok()) {
                tell_of_one(watcher, *pin, error);
            }
        }
        // Told once when it goes, and once when it is back.
        let gone = shared.lock().chip.clone().err();
        match (gone, look_at) {
            (Some(why), None) => {
                watcher.chip_lost(&why);
                // Not at once: a chip is announced as removed while its files are still there.
                look_at = Some(now + LOOK);
            }
            (Some(_), Some(at)) if at <= now || news.look => {
                if shared.lock().look(shared.wanted.as_deref()) {
                    look_at = None;
                    watcher.chip_returned();
                } else {
                    look_at = Some(now + LOOK);
                }
            }
            _ => {}
        }
        if watcher.next_tick().is_some_and(|at| at <= clock::now()) {
            watcher.tick(clock::now());
        }
        watcher.came_round();
    }
}

/// The value files with an edge; none when it is `until`, or when there is other news.
fn wait(
    shared: &Shared,
    uevents: Option<&Uevents>,
    values: &[Arc<File>],
    until: Option<Instant>,
) -> io::Result<Vec<Arc<File>>> {
    let mut fds = vec![PollFd::new(&shared.wake, PollFlags::IN)];
    fds.extend(values.iter().map(|file| PollFd::new(&**file, PollFlags::PRI | PollFlags::ERR)));
    fds.extend(uevents.map(|uevents| PollFd::from_borrowed_fd(uevents.as_fd(), PollFlags::IN)));
    loop {
        let left = until.map(|until| until.saturating_duration_since(clock::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !fds[0].revents().is_empty() {
        let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
    }
    let reported = values.iter().zip(&fds[1..]).filter(|(_, fd)| !fd.revents().is_empty());
    Ok(reported.map(|(file, _)| Arc::clone(file)).collect())
}

/// A line's file can no longer be read though its chip is there: somebody has unexported it.
fn tell_of_one(watcher: &dyn Watcher, pin: Pin, error: &io::Error) {
    log::warn!("{pin} is no longer watched, another program has let it go: {error}");
    let kind = LineChangeKind::Released;
    watcher.line_changed(pin, LineChange { kind, consumer: None, direction: None, bias: None, active_low: false });
}

/// The level now; reading takes back the report of an edge.
pub fn read(value: &File) -> io::Result<Level> {
    let mut text = [0; 2];
    match value.read_at(&mut text, 0)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Level::from_bool(text[0] == b'1')),
    }
}

fn edge(pin: Pin, (level, lost): (Level, u32), monotonic_ns: u64) -> RawEdge {
    RawEdge { pin, level, monotonic_ns, seqno: None, lost }
}
