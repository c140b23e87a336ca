//! Lines by way of the kernel's GPIO character device, second version of its interface (Linux 5.10 and newer).
//!
//! Lines that are taken together are one request (`group`), so that one kernel call sets them all; the kernel
//! debounces and numbers edges. The lock is held for kernel calls that do not wait, by callers and by `reader`.

mod chip;
mod edges;
mod foreign;
mod group;
mod hold;
mod reader;
mod refusal;
mod setting;
mod state;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::lines::{Bell, GpioError, Hold, Lines, Watcher};
use crate::config;
use crate::rt::worker::Worker;
use crate::types::line::{LineState, Pin};
use chip::Board;
use foreign::Foreign;
use reader::Reader;
use state::{CHIP, State, WAKE};

/// How long the thread may take to end when nobody has asked for its end before.
const END: Duration = Duration::from_secs(1);

/// The backend, and in words which chip it uses. No line is touched.
///
/// # Errors
/// Why it cannot be used here, and what to do about it.
pub fn open(config: &config::Gpio) -> Result<(Box<dyn Lines>, String), String> {
    let board = Board::find(config.chip.as_deref())?;
    let why = board.to_string();
    let shared = Shared::new(config.chip.clone(), board).map_err(|error| format!("no descriptor: {error}"))?;
    Ok((Box::new(Cdev { shared: Arc::new(shared), worker: None }), why))
}

struct Cdev {
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

/// What callers and the reader share.
struct Shared {
    /// `gpio.chip`, by which the chip is looked for again.
    wanted: Option<String>,
    epoll: OwnedFd,
    /// Wakes the reader: to stop, for edges of a request that has ended, or for a chip whose loss was noticed.
    wake: OwnedFd,
    stopped: AtomicBool,
    state: Mutex<State>,
}

impl Shared {
    fn new(wanted: Option<String>, board: Board) -> rustix::io::Result<Shared> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let state = Mutex::new(State::new(board));
        Ok(Shared { wanted, epoll, wake, stopped: AtomicBool::new(false), state })
    }

    /// Has the reader look up.
    fn wake(&self) {
        // Full is as good: it is awake then.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// The reader is up.
    fn rest(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
    }

    /// Has the kernel report what others do with the lines, and the chip's end.
    fn watch(&self, state: &State, foreign: &mut Foreign) -> std::io::Result<()> {
        let Some(board) = &state.board else { return Ok(()) };
        foreign.watch(state).map_err(std::io::Error::other)?;
        epoll::add(&self.epoll, &board.chip, epoll::EventData::new_u64(CHIP), epoll::EventFlags::IN)?;
        Ok(())
    }

    /// A panic elsewhere leaves no request half made (each is the kernel's own), so the lock stays usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cdev {
    /// Does something with the lines; the reader is woken where that leaves something for it.
    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.lock();
        let result = action(&mut state);
        if state.board.is_none() || state.has_leftovers() {
            self.shared.wake();
        }
        result
    }
}

impl Lines for Cdev {
    fn name(&self) -> &'static str {
        "cdev"
    }

    fn simulated(&self) -> bool {
        false
    }

    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        self.with(|state| state.inspect(pin))
    }

    fn hold(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
        self.with(|state| hold::hold(state, &self.shared.epoll, lines))
    }

    /// On mainline kernels a released output becomes an input, on Raspberry Pi OS it goes on driving. A line that
    /// was taken together with others becomes an input at once, and free when the last of them is released.
    fn release(&mut self, pins: &[Pin]) {
        self.with(|state| state.release(pins));
    }

    fn reports_edges(&self, pin: Pin) -> bool {
        self.shared.lock().reports_edges(pin)
    }

    /// The kernel does, in software where the chip cannot. A line that has no interrupt is neither debounced nor
    /// reports edges.
    fn debounces(&self) -> bool {
        true
    }

    fn watch(&mut self, watcher: Arc<dyn Watcher>) -> std::io::Result<()> {
        let mut foreign = Foreign::new();
        let mut state = self.shared.lock();
        self.shared.watch(&state, &mut foreign)?;
        state.watched = true;
        self.shared.stopped.store(false, Ordering::Release);
        drop(state);
        let reader = Reader { shared: Arc::clone(&self.shared), watcher, foreign, rescan: None };
        self.worker = Some(Worker::spawn("gpio-in", move || reader.run())?);
        Ok(())
    }

    fn bell(&self) -> Option<Bell> {
        let shared = Arc::clone(&self.shared);
        Some(Box::new(move || shared.wake()))
    }

    fn stop(&mut self, limit: Duration) {
        let Some(worker) = self.worker.take() else { return };
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.wake();
        worker.join(limit);
        self.shared.lock().watched = false;
    }
}

impl Drop for Cdev {
    fn drop(&mut self) {
        self.stop(END);
    }
}

#[cfg(test)]
mod tests;
