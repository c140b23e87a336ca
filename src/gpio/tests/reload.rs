//! A reload where the lines do not do what they are told, which the simulation always does.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::{Initial, Line};
use crate::gpio::lines::{Hold, Lines, Watcher};
use crate::gpio::sim::Sim;
use crate::types::line::LineState;

/// The simulation, until it refuses.
struct Stuck {
    sim: Sim,
    refuses: Arc<AtomicBool>,
}

impl Lines for Stuck {
    fn name(&self) -> &'static str {
        self.sim.name()
    }

    fn simulated(&self) -> bool {
        true
    }

    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        self.sim.inspect(pin)
    }

    fn hold(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
        match lines.first() {
            Some((pin, _)) if self.refuses.load(Ordering::Acquire) => {
                Err(GpioError::Refused { pin: *pin, why: "stuck".into() })
            }
            _ => self.sim.hold(lines),
        }
    }

    fn release(&mut self, pins: &[Pin]) {
        self.sim.release(pins);
    }

    fn reports_edges(&self, pin: Pin) -> bool {
        self.sim.reports_edges(pin)
    }

    fn debounces(&self) -> bool {
        self.sim.debounces()
    }

    fn watch(&mut self, watcher: Arc<dyn Watcher>) -> std::io::Result<()> {
        self.sim.watch(watcher)
    }

    fn stop(&mut self, limit: Duration) {
        self.sim.stop(limit);
    }
}

#[test]
fn a_line_that_is_gone_is_not_let_go_of_before_it_is_safe() {
    let relay = Line { mode: Some(Mode::Output), initial: Initial::Level(Level::High), ..Line::plain(pin(17)) };
    let mut config = config::Gpio { backend: Backend::Sim, ..config::Gpio::default() };
    config.lines.insert("relay".into(), relay);
    let gpio = Gpio::new(&config, &places(), Sinks::new(|_| {}, |_| true)).expect("the simulation");
    let refuses = Arc::new(AtomicBool::new(false));
    let stuck = Stuck { sim: Sim::new(), refuses: Arc::clone(&refuses) };
    gpio.inner.lock().outputs = Outputs::new(Box::new(stuck), &config);
    gpio.start().expect("a thread");
    let none = config::Gpio { lines: [].into(), ..config.clone() };

    refuses.store(true, Ordering::Release);
    let kept = gpio.reload(&none);
    assert!(kept.len() == 1 && kept[0].why.contains("safe state"), "{kept:?}");
    assert!(gpio.inner.lock().outputs.is_driven(pin(17)), "it stays in our hands");
    assert_eq!(gpio.config().lines.len(), 1);

    refuses.store(false, Ordering::Release);
    assert_eq!(gpio.reload(&none), []);
    assert_eq!(gpio.read(&[pin(17)]).expect("it exists")[0].level, Some(Level::Low));
    assert!(!gpio.inner.lock().outputs.is_driven(pin(17)));
    gpio.seal("the test ends");
    gpio.stop(Duration::from_secs(10));
}
