//! Everything that is known and due, behind one lock, and the thread `gpio-out` that does what is due.
//!
//! The lock is held for one operation (a few kernel calls) and the sinks, which never wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Inner;
use super::lease::Leases;
use super::lines::{GpioError, Hold, Role};
use super::output::{Change, Due, Outputs};
use super::persist::{Pending, Persist};
use super::sequence::Sequences;
use super::signals::HardwarePwm;
use super::soft_pwm::SoftPwm;
use super::told::{Told, WINDOW};
use crate::config::{Initial, Mode};
use crate::rt::{clock, process};
use crate::types::caller::Caller;
use crate::types::event::{Body, Edges, Event};
use crate::types::line::{Direction, Duty, Level, LineState, Pin, Pwm};

/// Steps of sequences played before others may have the lock.
const STEPS_PER_VISIT: usize = 64;

/// A wait shorter than this is not worth a trip through the scheduler, whose own error is larger.
const SPIN: Duration = Duration::from_micros(60);

/// How long making safe may wait for the lock: whoever holds it may be the one that crashed.
pub const SAFE_LOCK_LIMIT: Duration = Duration::from_millis(50);

/// What the lock guards.
pub struct State {
    pub outputs: Outputs,
    pub leases: Leases,
    pub sequences: Sequences,
    pub pwm: SoftPwm,
    pub hardware: HardwarePwm,
    pub persist: Persist,
    pub told: Told,
    /// The lines are safe for good; nobody may write any more.
    pub sealed: bool,
}

/// Whether the caller's key allows writing these lines.
///
/// # Errors
/// [`GpioError::Lacks`].
pub fn may_write(caller: &Caller, pins: &[Pin]) -> Result<(), GpioError> {
    match &caller.rights {
        Some(rights) => Ok(pins.iter().try_for_each(|pin| rights.write(*pin))?),
        None => Ok(()),
    }
}

impl State {
    /// Whether the caller may write these lines now.
    ///
    /// # Errors
    /// [`GpioError::Lacks`], [`GpioError::ShuttingDown`], [`GpioError::Leased`].
    pub fn may_write(&self, pins: &[Pin], caller: &Caller, now: Instant) -> Result<(), GpioError> {
        if self.sealed
            && let Some(pin) = pins.first()
        {
            return Err(GpioError::ShuttingDown { pin: *pin });
        }
        may_write(caller, pins)?;
        self.leases.check(pins.iter().copied(), caller, now)
    }

    /// What a line is, its PWM included.
    ///
    /// # Errors
    /// That of the backend.
    pub fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        let mut state = self.outputs.inspect(pin)?;
        if let Some(pwm) = self.pwm.read(pin).or_else(|| self.hardware.inspect(self.outputs.config(pin))) {
            state.direction = Some(Direction::Output);
            state.level = Some(Level::from_bool(pwm.duty > Duty::ZERO));
            state.pwm = Some(pwm);
        }
        Ok(state)
    }

    /// The PWM signal on a line as it was last set, whatever makes it.
    pub fn signal(&self, pin: Pin) -> Option<Pwm> {
        self.pwm.read(pin).or_else(|| self.hardware.read(pin))
    }

    fn next_due(&self) -> Option<Instant> {
        let all = [
            self.outputs.next_due(),
            self.leases.next_due(),
            self.sequences.next_due(),
            self.pwm.next_due(),
            self.told.next_due(),
            self.persist.next_due(),
        ];
        all.into_iter().flatten().min()
    }

    /// Ends what plays on these lines, sequences and signals alike; their levels stay for now.
    pub fn end_on(&mut self, pins: &[Pin]) {
        self.sequences.cancel_on(pins);
        self.pwm.stop(pins);
        self.outputs.demodulated(pins);
    }

    /// Ends what plays on these lines and drives them to their safe states.
    pub fn make_safe(&mut self, pins: &[Pin], now: Instant) -> Vec<Change> {
        let modulated = self.modulated(pins);
        self.end_on(pins);
        // Between two toggles is no state to hold: a signal that has ended is low.
        let ended: Vec<(Pin, Hold)> = modulated
            .iter()
            .filter(|pin| self.outputs.safe_hold(**pin).is_none())
            .map(|pin| (*pin, self.outputs.output(*pin, Level::Low)))
            .collect();
        let mut changes = self.hardware.make_safe(pins, &self.outputs);
        for change in &changes {
            self.outputs.modulated(change.pin, change.level == Level::High, now);
        }
        changes.extend(self.outputs.make_safe(pins, now));
        match self.outputs.put(&ended, now) {
            Ok(more) => changes.extend(more),
            Err(error) => log::error!("a line whose PWM has ended is not low: {error}"),
        }
        self.with_ended(changes, &modulated)
    }

    /// Whether a line is in its safe state, or is none that we drive.
    pub fn is_safe(&self, pin: Pin) -> bool {
        let held = self.outputs.held(pin).filter(|_| self.outputs.is_driven(pin));
        let held = held.zip(self.outputs.safe_hold(pin)).is_none_or(|(held, safe)| held.role == safe.role);
        held && self.pwm.read(pin).is_none() && self.hardware.is_safe(self.outputs.config(pin))
    }

    /// Those of the lines that carry a signal made by software.
    pub fn modulated(&self, pins: &[Pin]) -> Vec<Pin> {
        pins.iter().copied().filter(|pin| self.pwm.read(*pin).is_some()).collect()
    }

    /// The changes with those of signals that have ended: what they were is no level, so it has changed in any case.
    pub fn with_ended(&self, mut changes: Vec<Change>, ended: &[Pin]) -> Vec<Change> {
        changes.retain(|change| !ended.contains(&change.pin));
        for pin in ended {
            let on = matches!(self.outputs.held(*pin), Some(Hold { role: Role::Output { level: Level::High }, .. }));
            changes.push(Change { pin: *pin, level: Level::from_bool(on), duty: Some(if on { 100 } else { 0 }) });
        }
        changes
    }
}

impl Inner {
    /// Takes the configured lines: inputs as they are asked for, outputs with their first level in the same call.
    /// A line that cannot be had is reported and does not keep the daemon from serving the others.
    pub fn set_up(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let now = clock::now();
        for mode in [Mode::Input, Mode::Output, Mode::Pwm] {
            for pin in state.outputs.configured(mode) {
                if let Err(error) = self.set_up_line(state, pin, mode, now) {
                    log::error!("{} could not be set up: {error}", self.resource(pin));
                }
            }
        }
    }

    /// Takes one of them, and tells of what has changed by that.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn set_up_line(&self, state: &mut State, pin: Pin, mode: Mode, now: Instant) -> Result<(), GpioError> {
        let changes = match mode {
            // One request for each, so that each input has the kernel's largest buffer for itself.
            Mode::Input => {
                let line = state.outputs.config(pin);
                let role = Role::Input { edge: line.edge, debounce: line.debounce };
                let hold = Hold { active_low: line.active_low, bias: line.bias, role };
                self.arrange(state, &[(pin, hold)]);
                let done = state.outputs.put(&[(pin, hold)], now);
                self.taken(state, &[(pin, hold)]);
                done?
            }
            Mode::Output => {
                let hold = self.first_hold(state, pin);
                match state.outputs.set(&[(pin, hold)], now) {
                    Err(error @ GpioError::Rule { .. }) => {
                        log::error!("{pin} starts low: {error}");
                        state.outputs.set(&[(pin, state.outputs.output(pin, Level::Low))], now)?
                    }
                    done => done?,
                }
            }
            Mode::Pwm => {
                let line = state.outputs.config(pin);
                let (frequency, duty) = (line.frequency as f64, line.duty);
                self.modulate(state, pin, frequency, duty, now)?;
                Vec::new()
            }
        };
        self.post(state, &changes, now);
        Ok(())
    }

    fn first_hold(&self, state: &State, pin: Pin) -> Hold {
        let line = state.outputs.config(pin);
        let kept = if line.persist { state.persist.level(&self.resource(pin)) } else { None };
        match kept.map_or(line.initial, Initial::Level) {
            Initial::Level(level) => state.outputs.output(pin, level),
            Initial::AsIs => Hold { role: Role::OutputAsIs, ..state.outputs.output(pin, Level::Low) },
        }
    }

    /// Tells the input stage what is about to become of lines that will not be what they are.
    pub fn arrange(&self, state: &State, holds: &[(Pin, Hold)]) {
        for (pin, hold) in holds.iter().filter(|(pin, hold)| state.outputs.held(*pin) != Some(*hold)) {
            match hold.role {
                Role::Input { edge, debounce } => self.input.arrange(*pin, edge, debounce),
                // Forgotten once, when it becomes an output: not with each level that is written to it.
                Role::Output { .. } | Role::OutputAsIs if state.outputs.is_driven(*pin) => {}
                Role::Output { .. } | Role::OutputAsIs => self.input.forget(*pin),
            }
        }
    }

    /// Tells the input stage where its lines stand, after they were taken.
    pub fn taken(&self, state: &mut State, holds: &[(Pin, Hold)]) {
        for (pin, _) in holds.iter().filter(|(_, hold)| matches!(hold.role, Role::Input { .. })) {
            if let Some(level) = state.outputs.inspect(*pin).ok().and_then(|state| state.level) {
                self.input.know(*pin, level);
            }
        }
    }

    /// Tells of changes that a client's request has made.
    pub fn publish(&self, state: &mut State, changes: &[Change], now: Instant) {
        for change in changes {
            self.keep(state, *change, now);
            state.told.overtaken(change.pin, change.level);
            (self.sinks.publish)(self.event(*change, None));
        }
    }

    /// Tells of changes that the daemon has made by itself.
    pub fn post(&self, state: &mut State, changes: &[Change], now: Instant) {
        for change in changes {
            self.keep(state, *change, now);
            if state.told.may_tell(change.pin, change.level, now) && !(self.sinks.post)(self.event(*change, None)) {
                state.told.refused(change.pin, 1);
            }
        }
    }

    fn keep(&self, state: &mut State, change: Change, now: Instant) {
        if state.outputs.config(change.pin).persist && !state.sealed {
            state.persist.keep(&self.resource(change.pin), change.level, now);
        }
    }

    fn event(&self, change: Change, edges: Option<Edges>) -> Event {
        let Change { pin, level, duty } = change;
        let body = Body::GpioState { resource: self.resource(pin), pin, level, pwm_duty: duty, edges };
        Event { at: clock::wall(), body }
    }

    /// The body of `gpio-out`: does what is due, and waits for the next.
    pub fn run(&self, nudged: &Receiver<()>) {
        process::be_punctual();
        let mut due = false;
        while !self.stopping() {
            let (next, file) = self.do_due(due);
            due = false;
            if let Some(file) = file {
                self.writer.write(file);
            }
            self.pulse.beat();
            match next {
                None if nudged.recv().is_err() => return,
                None => {}
                Some(at) => {
                    let waited = nudged.recv_deadline(at.checked_sub(SPIN).unwrap_or(at));
                    due = waited == Err(RecvTimeoutError::Timeout);
                    while due && clock::now() < at {
                        std::hint::spin_loop();
                    }
                }
            }
        }
    }

    /// Does what is due and says when something is due next. Where the time has come, nobody else goes first: what is
    /// due may be the end of a lease.
    fn do_due(&self, due: bool) -> (Option<Instant>, Option<Pending>) {
        let mut guard = if due { self.lock_soon(SAFE_LOCK_LIMIT) } else { self.lock() };
        let state = &mut *guard;
        let now = clock::now();
        assert!(!self.crash.swap(false, Ordering::AcqRel), "as asked by DEBUG_PANIC");
        // Signals come first: they are the ones whose lateness can be seen.
        let toggles: Vec<_> = state.pwm.due(now);
        let toggles: Vec<_> = toggles.into_iter().map(|(pin, level)| (pin, state.outputs.output(pin, level))).collect();
        if let Err(error) = state.outputs.put(&toggles, now) {
            log::error!("software PWM ends: {error}");
            state.end_on(&toggles.iter().map(|(pin, _)| *pin).collect::<Vec<_>>());
        }
        for _ in 0..STEPS_PER_VISIT {
            let Some(step) = state.sequences.due(now) else { break };
            let wanted: Vec<_> =
                step.levels.iter().map(|(pin, level)| (*pin, state.outputs.output(*pin, *level))).collect();
            match state.outputs.set(&wanted, now) {
                Ok(changes) => {
                    self.post(state, &changes, now);
                    if let Some(late) = step.ended {
                        let mean = (late.total / late.steps.max(1)).as_micros();
                        let (id, steps, most) = (&step.id, late.steps, late.most.as_micros());
                        log::debug!("{id} has ended: {steps} steps, late by {mean} µs on average, {most} µs at most");
                    }
                }
                Err(error) => {
                    log::warn!("{} of {} ends: {error}", step.id, step.caller.name);
                    state.sequences.cancel(&step.id);
                }
            }
        }
        for due in state.outputs.due(now) {
            let (pin, why) = match due {
                Due::MaxOn(pin) => (pin, "max_on"),
                Due::WriterGone(pin) => (pin, "on_disconnect: its client is gone"),
            };
            log::info!("{} goes to its safe state: {why}", self.resource(pin));
            let changes = state.make_safe(&[pin], now);
            self.post(state, &changes, now);
        }
        for expired in state.leases.due(now) {
            let changes = state.make_safe(&expired.lease.pins, now);
            self.post(state, &changes, now);
            let lines = expired.lease.pins.iter().map(|pin| (self.resource(*pin), *pin)).collect();
            let (lease, holder, reason) = (expired.lease.id.into(), expired.holder, expired.reason);
            let body = Body::GpioLease { lease, holder, lines, reason };
            if !(self.sinks.post)(Event { at: clock::wall(), body }) {
                log::error!("there was no room to tell of an expired lease ({reason})");
            }
        }
        for (pin, level, count) in state.told.due(now) {
            let monotonic_ns = clock::monotonic_ns();
            let edges = Edges { count, period: Some(WINDOW), lost: 0, monotonic_ns, seqno: None };
            if !(self.sinks.post)(self.event(Change { pin, level, duty: None }, Some(edges))) {
                state.told.refused(pin, count);
            }
        }
        (state.next_due(), state.persist.due(now))
    }

    /// Drives every output to its safe state. For the shutdown and for a crash anywhere: whoever crashed may hold the
    /// lock, so it is not waited for without end.
    pub fn make_safe(&self, why: &str, seal: bool) -> bool {
        let Some(mut urgent) = self.lock_first(SAFE_LOCK_LIMIT) else { return false };
        let now = clock::now();
        let state = urgent.state();
        // Sealed first: what the way to safety changes is not what was last wanted.
        let sealed = std::mem::replace(&mut state.sealed, true);
        let changes = state.make_safe(&Pin::ALL, now);
        self.post(state, &changes, now);
        state.sealed = seal || sealed;
        if !changes.is_empty() {
            let number = changes.len();
            log::warn!(
                "{number} {} to the safe state: {why}",
                if number == 1 { "output went" } else { "outputs went" }
            );
        }
        true
    }

    /// The chip has gone, and with it every line; or it is back, and the configured lines are taken again.
    pub fn chip(self: &Arc<Inner>, present: bool) {
        if present {
            self.set_up();
            return;
        }
        let mut state = self.lock();
        let pins = state.outputs.held_pins();
        state.end_on(&pins);
        state.outputs.lost();
    }
}
