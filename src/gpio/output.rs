//! The only place that writes a line, and the rules that hold for every write: interlocks, the shortest time off,
//! the longest time on, and where an output goes when nobody answers for it.
//!
//! A rule speaks of "on", which is high after `active_low`. Rules may keep a line from being switched on; switching
//! off, and the way to the safe state, are always open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lines::{GpioError, Hold, Lines, Role};
use crate::config::{self, Line, Mode, Safe};
use crate::rt::clock;
use crate::types::caller::CallerId;
use crate::types::line::{Edge, Level, LineSetting, LineState, Pin};

/// All lines with what was made of them.
pub struct Outputs {
    lines: Box<dyn Lines>,
    config: Arc<[Line; Pin::COUNT]>,
    known: [Known; Pin::COUNT],
}

/// What the daemon has done with a line.
#[derive(Clone, Copy, Default)]
struct Known {
    held: Option<Hold>,
    /// Since when it is on, or modulated.
    on_since: Option<Instant>,
    off_since: Option<Instant>,
    /// A PWM signal is on it: its toggles are not what the rules speak of.
    modulated: bool,
    /// Who set it last, if that was somebody who can vanish.
    writer: Option<CallerId>,
    /// Its writer is gone, and this is when it goes to its safe state.
    orphaned_until: Option<Instant>,
}

/// A level that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub pin: Pin,
    pub level: Level,
    /// In percent, where a PWM signal has come to its end.
    pub duty: Option<u8>,
}

/// Why an output has to go to its safe state now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    MaxOn(Pin),
    WriterGone(Pin),
}

impl Outputs {
    pub fn new(lines: Box<dyn Lines>, config: &config::Gpio) -> Outputs {
        let config = std::array::from_fn(|bcm| {
            let pin = Pin::ALL[bcm];
            config.line(pin).map_or_else(|| Line::plain(pin), |(_, line)| line.clone())
        });
        Outputs { lines, config: Arc::new(config), known: [Known::default(); Pin::COUNT] }
    }

    /// The backend, for what changes no output.
    pub fn lines(&mut self) -> &mut dyn Lines {
        &mut *self.lines
    }

    pub fn config(&self, pin: Pin) -> &Line {
        &self.config[index(pin)]
    }

    /// What is said of a line from now on. What it is at the moment stays.
    pub fn configure(&mut self, line: Line) {
        let place = index(line.pin);
        Arc::make_mut(&mut self.config)[place] = line;
    }

    /// Whether it counts as on, for the rules.
    pub fn is_on(&self, pin: Pin) -> bool {
        self.known[index(pin)].on_since.is_some()
    }

    pub fn held(&self, pin: Pin) -> Option<Hold> {
        self.known[index(pin)].held
    }

    /// Whether the daemon holds the line as an output.
    pub fn is_driven(&self, pin: Pin) -> bool {
        matches!(self.held(pin), Some(Hold { role: Role::Output { .. } | Role::OutputAsIs, .. }))
    }

    /// What a line is now. The level of an output the daemon holds is what it was set to.
    ///
    /// # Errors
    /// That of the backend.
    pub fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        self.lines.inspect(pin)
    }

    /// How the line is to be held as an output, as configured.
    pub fn output(&self, pin: Pin, level: Level) -> Hold {
        let line = self.config(pin);
        Hold { active_low: line.active_low, bias: line.bias, role: Role::Output { level } }
    }

    /// How a client's wish is to be held: what it does not say, the configuration does.
    pub fn wanted(&self, pin: Pin, setting: LineSetting) -> Hold {
        let line = self.config(pin);
        match setting {
            LineSetting::Input { bias } => {
                let role = Role::Input { edge: line.edge, debounce: line.debounce };
                Hold { active_low: line.active_low, bias: Some(bias), role }
            }
            LineSetting::Output { level } => self.output(pin, level),
            LineSetting::Fraction { .. } => self.output(pin, Level::High),
        }
    }

    /// Makes the lines what is said, all or none, if the rules allow it.
    ///
    /// # Errors
    /// [`GpioError::Rule`], or what the backend says.
    pub fn set(&mut self, wanted: &[(Pin, Hold)], now: Instant) -> Result<Vec<Change>, GpioError> {
        self.check(wanted, now)?;
        self.put(wanted, now)
    }

    /// Whether the rules allow these levels together.
    ///
    /// # Errors
    /// [`GpioError::Rule`] naming the rule and its key.
    pub fn check(&self, wanted: &[(Pin, Hold)], now: Instant) -> Result<(), GpioError> {
        let turned_on = wanted.iter().filter(|(_, hold)| hold.role == Role::Output { level: Level::High });
        for (pin, _) in turned_on {
            let line = self.config(*pin);
            for other in &line.interlock {
                let will_be_on = match wanted.iter().find(|(pin, _)| pin == other) {
                    Some((_, hold)) => hold.role == Role::Output { level: Level::High },
                    None => self.known[index(*other)].on_since.is_some(),
                };
                if will_be_on {
                    let why = format!("interlock: {other} is on; switch that off first");
                    return Err(GpioError::Rule { pin: *pin, why });
                }
            }
            let known = &self.known[index(*pin)];
            if known.on_since.is_none()
                && let Some(off) = known.off_since
                && !line.min_off.is_zero()
                && now < off + line.min_off
            {
                let left = humantime::format_duration(whole_millis(off + line.min_off - now));
                let why = format!("min_off: it has to stay off for {left} more");
                return Err(GpioError::Rule { pin: *pin, why });
            }
        }
        Ok(())
    }

    /// The same without asking the rules: for the way to a safe state, and for what was checked as a whole.
    ///
    /// # Errors
    /// What the backend says.
    pub fn put(&mut self, wanted: &[(Pin, Hold)], now: Instant) -> Result<Vec<Change>, GpioError> {
        // What the kernel reports by itself is not told a second time.
        let mut before = Vec::with_capacity(wanted.len());
        for (pin, hold) in wanted {
            before.push(match self.level_before(*pin, *hold) {
                Before::Told => None,
                Before::Known(level) => Some(level),
                Before::Ask => Some(self.lines.inspect(*pin)?.level),
            });
        }
        self.hold(wanted)?;
        // A line is off when the kernel has switched it, not when that was decided.
        let now = clock::now().max(now);
        let mut changes = Vec::new();
        for ((pin, hold), before) in wanted.iter().zip(before) {
            let level = match hold.role {
                Role::Output { level } => Some(level),
                _ if before.is_none() => None,
                // The change itself has succeeded; a line that cannot be looked at any more has no level to tell.
                _ => self.lines.inspect(*pin).ok().and_then(|state| state.level),
            };
            if let (Some(before), Some(level)) = (before, level)
                && before != Some(level)
            {
                changes.push(Change { pin: *pin, level, duty: None });
            }
            self.note(*pin, *hold, level, now);
        }
        // Told as it was done: what made room before what took it.
        if wanted.iter().any(|(pin, _)| !self.config(*pin).interlock.is_empty()) {
            changes.sort_by_key(|change| change.level == Level::High);
        }
        Ok(changes)
    }

    /// Makes the lines what is said. Those that make room for an interlocked one are off before that is on: within one
    /// call the backend has its own order, and time passes.
    fn hold(&mut self, wanted: &[(Pin, Hold)]) -> Result<(), GpioError> {
        let is_on = |hold: &Hold| hold.role == Role::Output { level: Level::High };
        let turned_on: Vec<Pin> = wanted.iter().filter(|(_, hold)| is_on(hold)).map(|(pin, _)| *pin).collect();
        let makes_room = |pin: &Pin| self.config(*pin).interlock.iter().any(|other| turned_on.contains(other));
        let first = wanted.iter().filter(|(pin, hold)| !is_on(hold) && makes_room(pin));
        let first: Vec<(Pin, Hold)> =
            first.filter(|(pin, _)| self.held(*pin).is_some_and(|held| is_on(&held))).copied().collect();
        if first.is_empty() {
            return self.lines.hold(wanted);
        }
        self.lines.hold(&first)?;
        self.lines.hold(wanted).inspect_err(|_| {
            let before = first.iter().filter_map(|(pin, _)| Some((*pin, self.held(*pin)?)));
            if let Err(error) = self.lines.hold(&before.collect::<Vec<_>>()) {
                log::error!("a line that made room for another could not be switched on again: {error}");
            }
        })
    }

    fn level_before(&self, pin: Pin, hold: Hold) -> Before {
        match (self.known[index(pin)].held, hold.role) {
            (Some(Hold { role: Role::Output { level }, active_low, .. }), _) if active_low == hold.active_low => {
                Before::Known(Some(level))
            }
            (Some(held @ Hold { role: Role::Input { .. }, .. }), Role::Input { .. })
                if self.lines.reports_edges(pin) && self.lines.watches_through(&held, &hold) =>
            {
                Before::Told
            }
            _ => Before::Ask,
        }
    }

    /// Keeps the books: how it is held, and since when it is on or off.
    fn note(&mut self, pin: Pin, hold: Hold, level: Option<Level>, now: Instant) {
        let known = &mut self.known[index(pin)];
        let was_on = matches!(known.held, Some(Hold { role: Role::Output { level: Level::High }, .. }));
        known.held = match (hold.role, level) {
            (Role::OutputAsIs, Some(level)) => Some(Hold { role: Role::Output { level }, ..hold }),
            _ => Some(hold),
        };
        if !known.modulated {
            let on = matches!(known.held, Some(Hold { role: Role::Output { level: Level::High }, .. }));
            self.switched(pin, on, now);
            if was_on && !on {
                self.known[index(pin)].off_since = Some(now);
            }
        }
    }

    /// A PWM signal begins on the line, or goes on: it is on, for the rules, as long as its duty is not zero.
    pub fn modulated(&mut self, pin: Pin, on: bool, now: Instant) {
        self.known[index(pin)].modulated = true;
        self.switched(pin, on, now);
    }

    /// The signal has ended; the line's level counts again.
    pub fn demodulated(&mut self, pins: &[Pin]) {
        for pin in pins {
            self.known[index(*pin)].modulated = false;
        }
    }

    fn switched(&mut self, pin: Pin, on: bool, now: Instant) {
        let known = &mut self.known[index(pin)];
        if on {
            known.on_since.get_or_insert(now);
            known.off_since = None;
        } else if known.on_since.take().is_some() {
            known.off_since = Some(now);
        }
    }

    /// Who answers for a line from now on; nobody, if it was a request that leaves nothing behind.
    pub fn written_by(&mut self, pin: Pin, writer: Option<CallerId>) {
        let known = &mut self.known[index(pin)];
        known.writer = writer;
        known.orphaned_until = None;
    }

    /// A writer is gone: its lines with `on_disconnect` go to their safe state after their grace.
    pub fn orphan(&mut self, writer: CallerId, now: Instant) {
        for (known, line) in self.known.iter_mut().zip(self.config.iter()) {
            if known.writer == Some(writer) {
                known.writer = None;
                known.orphaned_until = line.on_disconnect.map(|grace| now + grace);
            }
        }
    }

    /// Drives these lines to their safe states; lines that the daemon does not drive stay as they are. Every line is
    /// tried, whatever happens to the others.
    pub fn make_safe(&mut self, pins: &[Pin], now: Instant) -> Vec<Change> {
        let mut wanted = Vec::with_capacity(pins.len());
        for pin in pins {
            self.known[index(*pin)].orphaned_until = None;
            if self.is_driven(*pin)
                && let Some(hold) = self.safe_hold(*pin)
            {
                wanted.push((*pin, hold));
            }
        }
        let (changes, failed) = self.put_each(wanted, now);
        failed.iter().for_each(|(pin, error)| log::error!("{pin} is not in its safe state: {error}"));
        changes
    }

    /// Puts all these lines in one call if that works, else one by one: a line that fails must not keep the others.
    /// Those that end off come first then, so that interlocked ones are not on together on the way.
    pub fn put_each(&mut self, mut wanted: Vec<(Pin, Hold)>, now: Instant) -> (Vec<Change>, Vec<(Pin, GpioError)>) {
        if let Ok(changes) = self.put(&wanted, now) {
            return (changes, Vec::new());
        }
        wanted.sort_by_key(|(_, hold)| hold.role == Role::Output { level: Level::High });
        let (mut changes, mut failed) = (Vec::new(), Vec::new());
        for (pin, hold) in wanted {
            // A bias that cannot be set must not keep a line from being let go of.
            let plain = Hold { bias: None, ..hold };
            match self.put(&[(pin, hold)], now).or_else(|_| self.put(&[(pin, plain)], now)) {
                Ok(more) => changes.extend(more),
                Err(error) => failed.push((pin, error)),
            }
        }
        (changes, failed)
    }

    /// How the line is held in its safe state; `None` where it stays as it is.
    pub fn safe_hold(&self, pin: Pin) -> Option<Hold> {
        let line = self.config(pin);
        match line.safe {
            Safe::Hold => None,
            Safe::Level(level) => Some(self.output(pin, level)),
            Safe::Input => {
                let role = Role::Input { edge: Edge::None, debounce: Duration::ZERO };
                Some(Hold { active_low: line.active_low, bias: line.bias, role })
            }
        }
    }

    /// Lines that have to be safe now. They are told once.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for (known, line) in self.known.iter_mut().zip(self.config.iter()) {
            if known.orphaned_until.is_some_and(|until| until <= now) {
                known.orphaned_until = None;
                due.push(Due::WriterGone(line.pin));
            }
            let limit = known.on_since.zip(line.max_on).map(|(since, limit)| since + limit);
            if limit.is_some_and(|until| until <= now) {
                known.on_since = None;
                known.off_since = Some(now);
                due.push(Due::MaxOn(line.pin));
            }
        }
        due
    }

    /// When [`Outputs::due`] has something next.
    pub fn next_due(&self) -> Option<Instant> {
        let each = self.known.iter().zip(self.config.iter()).flat_map(|(known, line)| {
            let limit = known.on_since.zip(line.max_on).map(|(since, limit)| since + limit);
            known.orphaned_until.into_iter().chain(limit)
        });
        each.min()
    }

    /// Forgets what was held: the chip is gone.
    pub fn lost(&mut self) {
        // A signal that a PWM block makes is not the chip's, and goes on.
        for known in self.known.iter_mut().filter(|known| known.held.is_some() || !known.modulated) {
            *known = Known::default();
        }
    }

    /// Every line the daemon holds.
    pub fn held_pins(&self) -> Vec<Pin> {
        Pin::ALL.into_iter().filter(|pin| self.held(*pin).is_some()).collect()
    }

    /// Lets lines go.
    pub fn release(&mut self, pins: &[Pin]) {
        self.lines.release(pins);
        for pin in pins {
            self.known[index(*pin)] = Known::default();
        }
    }

    /// The lines the configuration makes something of at start.
    pub fn configured(&self, mode: Mode) -> Vec<Pin> {
        self.config.iter().filter(|line| line.mode == Some(mode)).map(|line| line.pin).collect()
    }
}

/// What is known of a level before a write.
enum Before {
    /// The kernel reports the change.
    Told,
    Known(Option<Level>),
    Ask,
}

/// Rounded up, for people.
pub fn whole_millis(left: Duration) -> Duration {
    Duration::from_millis(u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}
