//! The thread `gpio-in`: waits for edges, for what others do with the lines, and for the chip's going and coming.
//!
//! It holds the lock to read and never while it calls the watcher.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::Shared;
use super::chip::Board;
use super::foreign::Foreign;
use super::state::{CHIP, WAKE};
use crate::gpio::lines::{RawEdge, Watcher};
use crate::rt::{clock, process};

/// How often a vanished chip is looked for.
const RESCAN: Duration = Duration::from_secs(1);

/// Descriptors told of at once; there are at most the chip, the wake-up and a request per line.
const READY: usize = 30;

pub struct Reader {
    pub shared: Arc<Shared>,
    pub watcher: Arc<dyn Watcher>,
    pub foreign: Foreign,
    /// When the chip is looked for next; `None` while it is there.
    pub rescan: Option<Instant>,
}

impl Reader {
    /// Until it is told to stop.
    pub fn run(mut self) {
        process::be_punctual();
        let mut ready = Vec::with_capacity(READY);
        let mut edges = Vec::new();
        while !self.shared.stopped.load(Ordering::Acquire) {
            let due = [self.watcher.next_tick(), self.rescan].into_iter().flatten().min();
            match wait(&self.shared.epoll, &mut ready, due) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll_wait: {error}"),
            }
            self.read(&ready, &mut edges);
            self.look_after_the_chip();
            // The clock is read last: what is overdue is due now, by a clock read before.
            if self.watcher.next_tick().is_some_and(|due| due <= clock::now()) {
                self.watcher.tick(clock::now());
            }
            self.watcher.came_round();
        }
    }

    /// The edges of requests that have ended come first: they are older than whatever those lines do now.
    fn read(&mut self, ready: &[epoll::Event], edges: &mut Vec<RawEdge>) {
        if ready.iter().any(|event| event.data.u64() == WAKE) {
            self.shared.rest();
        }
        self.shared.lock().leftovers(edges);
        self.tell(edges);
        for event in ready {
            match event.data.u64() {
                WAKE => {}
                CHIP => self.changes(event.flags),
                request => {
                    let mut state = self.shared.lock();
                    // Its lines may have been let go since the wait.
                    state.leftovers(edges);
                    state.read(request, edges);
                    drop(state);
                    self.tell(edges);
                }
            }
        }
    }

    fn tell(&self, edges: &mut Vec<RawEdge>) {
        if !edges.is_empty() {
            self.watcher.edges(edges);
            edges.clear();
        }
    }

    fn changes(&mut self, flags: epoll::EventFlags) {
        let mut changes = Vec::new();
        let mut state = self.shared.lock();
        let there = self.foreign.read(&state, &mut changes);
        let broken = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        if (broken || !there) && state.board.as_ref().is_some_and(|board| board.chip.info().is_err()) {
            state.lose("it was removed");
        }
        drop(state);
        for (pin, change) in changes {
            self.watcher.line_changed(pin, change);
        }
    }

    fn look_after_the_chip(&mut self) {
        let state = self.shared.lock();
        let (gone, why) = (state.board.is_none(), state.gone.clone());
        drop(state);
        let now = clock::now();
        match self.rescan {
            None if gone => {
                // Edges of its last moments may have been kept when it was noticed elsewhere.
                let mut edges = Vec::new();
                self.shared.lock().leftovers(&mut edges);
                self.tell(&mut edges);
                self.watcher.chip_lost(&why);
                self.rescan = Some(now + RESCAN);
            }
            Some(due) if due <= now => self.rescan = if self.find() { None } else { Some(now + RESCAN) },
            _ => {}
        }
    }

    /// Looks for the chip by the rule by which it was found; says whether it is there.
    fn find(&mut self) -> bool {
        let board = match Board::find(self.shared.wanted.as_deref()) {
            Ok(board) => board,
            Err(why) => {
                log::debug!("the GPIO chip is still gone: {why}");
                return false;
            }
        };
        let mut state = self.shared.lock();
        state.found(board);
        let mut foreign = Foreign::new();
        if let Err(error) = self.shared.watch(&state, &mut foreign) {
            state.lose(&error.to_string());
            return false;
        }
        self.foreign = foreign;
        drop(state);
        self.watcher.chip_returned();
        true
    }
}

fn wait(epoll: &OwnedFd, ready: &mut Vec<epoll::Event>, due: Option<Instant>) -> rustix::io::Result<()> {
    let left = due.map(|due| due.saturating_duration_since(clock::now()));
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    ready.clear();
    epoll::wait(epoll, rustix::buffer::spare_capacity(ready), timeout.as_ref()).map(drop)
}
