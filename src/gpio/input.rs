//! Edges on their way to the hub: counted, debounced where the backend cannot, told one by one or, where a line
//! changes too fast, as a number; what the hub has no room for is told as a loss.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lines::{RawEdge, Watcher};
use super::{Resources, Sinks};
use crate::config;
use crate::rt::clock;
use crate::types::event::{Body, Event, LineChange};
use crate::types::line::{Edge, Pin};
use crate::types::output::EdgeCounters;

/// One for all lines.
pub struct Input {
    resources: Resources,
    sinks: Arc<Sinks>,
    lines: Mutex<[EdgeCounters; Pin::COUNT]>,
}

impl Input {
    pub fn new(_config: &config::Gpio, resources: &Resources, sinks: &Arc<Sinks>, _debounced: bool) -> Input {
        Input { resources: Arc::clone(resources), sinks: Arc::clone(sinks), lines: Mutex::default() }
    }

    pub fn counters(&self, pin: Pin) -> EdgeCounters {
        self.lock()[usize::from(pin.number())]
    }

    /// A line is about to be an input.
    pub fn arrange(&self, _pin: Pin, _edge: Edge, _debounce: Duration) {}

    /// A line is no input any more.
    pub fn forget(&self, _pin: Pin) {}

    /// Who is to be told that the chip is gone (false) or back (true).
    pub fn on_chip(&self, _told: Box<dyn Fn(bool) + Send + Sync>) {}

    fn lock(&self) -> MutexGuard<'_, [EdgeCounters; Pin::COUNT]> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Input {
    fn edges(&self, _edges: &[RawEdge]) {}

    fn line_changed(&self, pin: Pin, change: LineChange) {
        let resource = self.resources[usize::from(pin.number())].clone();
        (self.sinks.post)(Event { at: clock::wall(), body: Body::GpioLine { resource, pin, change } });
    }

    fn chip_lost(&self, why: &str) {
        log::error!("the GPIO chip is gone: {why}");
    }

    fn chip_returned(&self) {
        log::warn!("the GPIO chip is back");
    }

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn tick(&self, _now: Instant) {}
}
