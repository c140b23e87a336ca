//! Edges on their way to the hub: counted, debounced where the backend cannot, told one by one or, where a line
//! changes too fast, as a number; what the hub has no room for is told as a loss.

mod line;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::lines::{RawEdge, Watcher};
use super::{Resources, Sinks};
use crate::config;
use crate::rt::clock;
use crate::rt::pulse::Pulse;
use crate::types::event::{Body, Event, LineChange};
use crate::types::line::{Edge, Level, Pin};
use crate::types::output::EdgeCounters;

use line::{LineInput, Told, Treatment};

/// One for all lines. The lock is held for a batch of edges and the posts they cause, none of which waits.
pub struct Input {
    resources: Arc<Resources>,
    sinks: Arc<Sinks>,
    /// As configured; a reload may change them.
    settings: RwLock<[Treatment; Pin::COUNT]>,
    debounced: bool,
    lines: Mutex<[LineInput; Pin::COUNT]>,
    /// A loss is told once, however often it is found.
    chip_there: AtomicBool,
    /// For failure tests: the thread that comes next here crashes.
    crash: AtomicBool,
    pulse: Pulse,
    /// Who else must know that the chip is lost (`false`) or has returned (`true`).
    on_chip: Mutex<Option<Arc<OnChip>>>,
}

type OnChip = dyn Fn(bool) + Send + Sync;

impl Input {
    /// `debounced`: the backend debounces by itself.
    pub fn new(config: &config::Gpio, resources: &Arc<Resources>, sinks: &Arc<Sinks>, debounced: bool) -> Input {
        let settings: [Treatment; Pin::COUNT] = std::array::from_fn(|bcm| {
            let line = config.lines.values().find(|line| index(line.pin) == bcm);
            let (edge, debounce) = line.map_or((Edge::Both, Duration::ZERO), |line| (line.edge, line.debounce));
            let debounce = if debounced { Duration::ZERO } else { debounce };
            Treatment { edge, debounce, limit: config.edge_events }
        });
        Input {
            resources: Arc::clone(resources),
            sinks: Arc::clone(sinks),
            settings: RwLock::new(settings),
            debounced,
            lines: Mutex::new(settings.map(|settings| LineInput::new(settings, None))),
            chip_there: AtomicBool::new(true),
            crash: AtomicBool::new(false),
            pulse: Pulse::default(),
            on_chip: Mutex::default(),
        }
    }

    pub fn counters(&self, pin: Pin) -> EdgeCounters {
        self.lock()[index(pin)].counters()
    }

    /// A line is taken as an input, or taken anew: what comes from now on is treated like this. What has been
    /// counted and not told yet is told first.
    pub fn arrange(&self, pin: Pin, edge: Edge, debounce: Duration) {
        let debounce = if self.debounced { Duration::ZERO } else { debounce };
        let treatment = Treatment { edge, debounce, ..self.settings(pin) };
        let clocks = Clocks::read();
        let line = &mut self.lock()[index(pin)];
        line.restart(treatment, None, clocks.monotonic_ns, &mut self.post(pin, clocks));
    }

    /// How a line is treated the next time it is taken.
    pub fn configure(&self, line: &config::Line) {
        let debounce = if self.debounced { Duration::ZERO } else { line.debounce };
        let settings = &mut self.settings.write().unwrap_or_else(PoisonError::into_inner)[index(line.pin)];
        (settings.edge, settings.debounce) = (line.edge, debounce);
    }

    /// How many edges of a line are told one by one from now on.
    pub fn set_limit(&self, limit: usize) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        settings.iter_mut().for_each(|settings| settings.limit = limit);
        drop(settings);
        self.lock().iter_mut().for_each(|line| line.set_limit(limit));
    }

    fn settings(&self, pin: Pin) -> Treatment {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)[index(pin)]
    }

    /// The level an input was taken with: a contact that bounces and settles back there has not changed.
    pub fn know(&self, pin: Pin, level: Level) {
        self.lock()[index(pin)].know(level);
    }

    /// A line is no input any more. Its counters start again.
    pub fn forget(&self, pin: Pin) {
        let clocks = Clocks::read();
        let line = &mut self.lock()[index(pin)];
        line.restart(self.settings(pin), None, clocks.monotonic_ns, &mut self.post(pin, clocks));
        line.reset_counters();
    }

    /// Has `hook` called when the chip is lost (`false`) and when it has returned (`true`), on the backend's thread
    /// and with nothing locked.
    pub fn on_chip(&self, hook: impl Fn(bool) + Send + Sync + 'static) {
        *self.on_chip.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Has the backend's thread crash when it comes here next.
    pub fn debug_panic(&self) {
        self.crash.store(true, Ordering::Release);
    }

    /// Of the backend's thread.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn panic_if_asked(&self) {
        assert!(!self.crash.swap(false, Ordering::AcqRel), "as asked by DEBUG_PANIC");
    }

    /// Where the line's events go.
    fn post(&self, pin: Pin, clocks: Clocks) -> impl FnMut(Told) -> bool {
        self.told(pin, clocks, &self.sinks.post)
    }

    fn told(&self, pin: Pin, clocks: Clocks, take: &dyn Fn(Event) -> bool) -> impl FnMut(Told) -> bool {
        move |Told { level, edges }| {
            let resource = self.resources.get(pin);
            let at = clocks.wall_at(edges.monotonic_ns);
            let body = Body::GpioState { resource, pin, level, pwm_duty: None, edges: Some(edges) };
            take(Event { at, body })
        }
    }

    /// All lines start anew: none of them is held.
    fn restart_all(&self) {
        let clocks = Clocks::read();
        let mut lines = self.lock();
        for pin in Pin::ALL {
            let settings = self.settings(pin);
            lines[index(pin)].restart(settings, None, clocks.monotonic_ns, &mut self.post(pin, clocks));
        }
    }

    /// Whether this is news.
    fn chip_is(&self, there: bool) -> bool {
        self.chip_there.swap(there, Ordering::Relaxed) != there
    }

    fn tell_chip(&self, there: bool) {
        let hook = self.on_chip.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(there);
        }
    }

    /// A crash in between leaves at worst one line's edge counted twice or not at all.
    fn lock(&self) -> MutexGuard<'_, [LineInput; Pin::COUNT]> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Input {
    fn edges(&self, edges: &[RawEdge]) {
        self.panic_if_asked();
        let clocks = Clocks::read();
        let mut lines = self.lock();
        for edge in edges {
            let tell = &mut self.told(edge.pin, clocks, &self.sinks.leave);
            lines[index(edge.pin)].edge(edge, clocks.monotonic_ns, tell);
        }
        drop(lines);
        (self.sinks.send)();
    }

    fn line_changed(&self, pin: Pin, change: LineChange) {
        let resource = self.resources.get(pin);
        (self.sinks.post)(Event { at: clock::wall(), body: Body::GpioLine { resource, pin, change } });
    }

    fn chip_lost(&self, why: &str) {
        if self.chip_is(false) {
            log::error!("the GPIO chip is gone: {why}");
            self.restart_all();
            self.tell_chip(false);
        }
    }

    fn chip_returned(&self) {
        if self.chip_is(true) {
            log::warn!("the GPIO chip is back");
            self.tell_chip(true);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let due = self.lock().iter().filter_map(LineInput::next_due).min()?;
        let (now, monotonic_ns) = (clock::now(), clock::monotonic_ns());
        // What is overdue was due before: whoever has looked at the clock a moment ago must see that.
        let overdue = Duration::from_nanos(monotonic_ns.saturating_sub(due));
        let left = Duration::from_nanos(due.saturating_sub(monotonic_ns));
        Some(now.checked_sub(overdue).unwrap_or(now) + left)
    }

    /// By the kernel's clock, which is the one behind `now` and the one of the edges' stamps.
    fn tick(&self, _now: Instant) {
        let clocks = Clocks::read();
        let mut lines = self.lock();
        for pin in Pin::ALL {
            lines[index(pin)].tick(clocks.monotonic_ns, &mut self.told(pin, clocks, &self.sinks.leave));
        }
        drop(lines);
        (self.sinks.send)();
    }

    fn came_round(&self) {
        self.pulse.beat();
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Clocks {
    wall: SystemTime,
    monotonic_ns: u64,
}

impl Clocks {
    fn read() -> Clocks {
        Clocks { wall: clock::wall(), monotonic_ns: clock::monotonic_ns() }
    }

    /// The wall time of a moment of the monotonic clock. A stamp from the future is taken for now.
    fn wall_at(self, monotonic_ns: u64) -> SystemTime {
        let ago = Duration::from_nanos(self.monotonic_ns.saturating_sub(monotonic_ns));
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}

#[cfg(test)]
mod tests;
