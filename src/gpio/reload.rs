//! Another configuration of the lines, while they are in use.
//!
//! What is only said of a line (its safe state, its limits, its name) holds at once, and no level changes by it. What
//! has to be done to a line is done only where nobody is at it: not in a lease or a sequence, not held by somebody
//! else, and never where an output would become another one by it. A line is changed as a whole or not at all; then it
//! keeps everything it had, and needs a restart.
//!
//! Lines that are gone from the file go first, to their safe states and then out of our hands; then those that are
//! changed; then those that are new are taken as at a start. Lines that are not concerned are not touched.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::engine::State;
use super::lines::{GpioError, Hold, Role};
use super::output::Change;
use super::{Gpio, Inner};
use crate::config::{self, Line, Mode};
use crate::rt::clock;
use crate::types::line::Pin;

/// A line that keeps what it had, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub pin: Pin,
    /// What it is called from now on, or would have been.
    pub name: String,
    pub why: String,
}

/// By line: its name and settings.
type Named = BTreeMap<Pin, (String, Line)>;

impl Gpio {
    /// The configuration in use.
    pub fn config(&self) -> config::Gpio {
        config::Gpio::clone(&self.inner.config())
    }

    /// Takes another configuration, but for the backend and what belongs to it. Says which lines keep what they had.
    pub fn reload(&self, fresh: &config::Gpio) -> Vec<Kept> {
        let inner = &self.inner;
        let mut guard = inner.lock();
        let state = &mut *guard;
        let old = inner.config();
        assert!(!inner.crash_reload.swap(false, Ordering::AcqRel), "as asked by DEBUG_PANIC");
        if state.sealed {
            log::warn!("the lines are safe for good: nothing is changed about them any more");
            return Vec::new();
        }
        state.told.set_limit(fresh.edge_events);
        inner.input.set_limit(fresh.edge_events);
        let (was, will) = (named(&old), named(fresh));
        // Before any line: a signal may be faster from now on.
        inner.replace(config::Gpio { software_pwm_limit: fresh.software_pwm_limit, ..config::Gpio::clone(&old) });
        let mut change = Reload { inner, state, now: clock::now(), was, will, kept: Vec::new() };
        let lines = change.run();
        let kept = std::mem::take(&mut change.kept);
        inner.replace(config::Gpio {
            backend: old.backend,
            chip: old.chip.clone(),
            sysfs_bias: old.sysfs_bias,
            lines,
            ..fresh.clone()
        });
        drop(guard);
        // A limit may be over already.
        inner.nudge();
        kept
    }
}

impl Inner {
    fn replace(&self, config: config::Gpio) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

fn named(config: &config::Gpio) -> Named {
    config.lines.iter().map(|(name, line)| (line.pin, (name.clone(), line.clone()))).collect()
}

/// One reload on its way.
struct Reload<'a> {
    inner: &'a Inner,
    state: &'a mut State,
    now: Instant,
    was: Named,
    will: Named,
    kept: Vec<Kept>,
}

impl Reload<'_> {
    /// Does it; the lines as they are configured then.
    fn run(&mut self) -> BTreeMap<String, Line> {
        let mut done = self.was.clone();
        let concerned: Vec<Pin> = Pin::ALL.into_iter().filter(|pin| self.was.get(pin) != self.will.get(pin)).collect();
        let is_gone = |pin: &&Pin| !self.will.contains_key(pin);
        let is_new = |pin: &&Pin| !self.was.contains_key(pin);
        let gone: Vec<Pin> = concerned.iter().filter(is_gone).copied().collect();
        let new: Vec<Pin> = concerned.iter().filter(is_new).copied().collect();
        let both: Vec<Pin> = concerned.iter().filter(|pin| !is_gone(pin) && !is_new(pin)).copied().collect();
        for pin in gone {
            let (name, line) = self.was[&pin].clone();
            match self.remove(&line) {
                Ok(()) => drop(done.remove(&pin)),
                Err(why) => {
                    let is_taken = self.will.values().any(|(other, _)| *other == name);
                    let name = if is_taken { pin.to_string() } else { name };
                    self.say(&name, &line);
                    done.insert(pin, (name.clone(), line));
                    self.keep(pin, name, why);
                }
            }
        }
        for pin in both {
            let ((_, old), (name, new)) = (self.was[&pin].clone(), self.will[&pin].clone());
            let line = match self.change(&name, &old, &new) {
                Ok(()) => new,
                Err(why) => {
                    self.say(&name, &old);
                    self.keep(pin, name.clone(), why);
                    old
                }
            };
            self.keep_level(pin);
            done.insert(pin, (name, line));
        }
        for pin in new {
            let (name, line) = self.will[&pin].clone();
            match self.add(&name, &line) {
                Ok(()) => drop(done.insert(pin, (name, line))),
                Err(why) => {
                    self.say(&pin.to_string(), &Line::plain(pin));
                    self.keep(pin, name, why);
                }
            }
        }
        self.interlock(&mut done);
        done.into_values().collect()
    }

    fn keep(&mut self, pin: Pin, name: String, why: String) {
        self.kept.push(Kept { pin, name, why });
    }

    /// What a line is called, and what holds for it, from now on. Touches nothing.
    fn say(&mut self, name: &str, line: &Line) {
        self.inner.resources.set(line.pin, name);
        self.inner.input.configure(line);
        self.state.outputs.configure(line.clone());
    }

    /// Who is at a line, if somebody is.
    fn user(&self, pin: Pin) -> Option<String> {
        let lease = self.state.leases.holder(pin).map(|holder| format!("leased by {holder}"));
        lease.or_else(|| self.state.sequences.on(pin).map(|id| format!("{id} plays on it")))
    }

    fn free(&self, pin: Pin) -> Result<(), String> {
        self.user(pin)
            .map_or(Ok(()), |user| Err(format!("it is in use now: {user}; or reload again when that is over")))
    }

    /// A line that the file has no more.
    fn remove(&mut self, line: &Line) -> Result<(), String> {
        let (pin, plain) = (line.pin, Line::plain(line.pin));
        let Some(mode) = line.mode else {
            return self.change(&pin.to_string(), line, &plain);
        };
        self.free(pin)?;
        if mode != Mode::Input {
            log::info!("{}: gone from the configuration; to its safe state, and let go", self.inner.resource(pin));
            let changes = self.state.make_safe(&[pin], self.now);
            self.inner.post(self.state, &changes, self.now);
            // Never let go of what is not safe: nobody would try again.
            if !self.state.is_safe(pin) {
                return Err("it could not be driven to its safe state; or reload again".into());
            }
            self.state.hardware.let_go(line);
        }
        self.state.end_on(&[pin]);
        self.state.outputs.release(&[pin]);
        self.inner.input.forget(pin);
        self.say(&pin.to_string(), &plain);
        Ok(())
    }

    /// A line that is in both files.
    fn change(&mut self, name: &str, old: &Line, new: &Line) -> Result<(), String> {
        let pin = new.pin;
        if old.mode != new.mode {
            return Err("its mode changes".into());
        }
        self.allows(old, new)?;
        let signal = self.state.signal(pin);
        let driven = signal.is_some() || self.state.outputs.is_driven(pin);
        if driven && old.active_low != new.active_low {
            return Err("it is driven now, and what is on would be off".into());
        }
        let hold = self.state.outputs.held(pin).and_then(|held| hold_after(held, old, new));
        let hold = hold.filter(|_| signal.is_none());
        let frequency = new.frequency as f64;
        let signal = signal.filter(|pwm| pwm.frequency == old.frequency as f64 && pwm.frequency != frequency);
        if hold.is_some() || signal.is_some() {
            self.free(pin)?;
        }
        self.say(name, new);
        let done = match (hold, signal) {
            (Some(hold), _) => self.hold_again(pin, hold),
            (None, Some(pwm)) => self.inner.modulate(self.state, pin, frequency, pwm.duty, self.now).map(drop),
            (None, None) => Ok(()),
        };
        done.map_err(|error| error.to_string())
    }

    /// What can be known without trying.
    fn allows(&self, old: &Line, new: &Line) -> Result<(), String> {
        if new.persist && !self.state.persist.has_place() {
            return Err("there is no state directory yet to keep its level in".into());
        }
        let joined = new.interlock.iter().filter(|other| !old.interlock.contains(other));
        let is_on = |pin: Pin| self.state.outputs.is_on(pin);
        match joined.into_iter().find(|other| is_on(new.pin) && is_on(**other)) {
            Some(other) => Err(format!("it and {other} are on together now; or switch one off and reload again")),
            None => Ok(()),
        }
    }

    /// Holds a line in another way, without a change of what it drives.
    fn hold_again(&mut self, pin: Pin, hold: Hold) -> Result<(), GpioError> {
        let before = self.state.outputs.held(pin);
        let level = |state: &mut State| state.outputs.inspect(pin).ok().and_then(|line| line.level);
        let was = level(self.state);
        self.inner.arrange(self.state, &[(pin, hold)]);
        let done = self.state.outputs.put(&[(pin, hold)], self.now);
        let holds = done.as_ref().map_or(before, |_| Some(hold));
        if let Some(holds) = holds {
            if done.is_err() {
                self.inner.arrange(self.state, &[(pin, holds)]);
            }
            self.inner.taken(self.state, &[(pin, holds)]);
        }
        let mut changes = done?;
        // No edge comes of it where only the meaning of the level is another one.
        if let (true, Some(was), Some(level)) = (changes.is_empty(), was, level(self.state))
            && was != level
            && before.is_some_and(|before| before.active_low != hold.active_low)
        {
            changes.push(Change { pin, level, duty: None });
        }
        self.inner.post(self.state, &changes, self.now);
        Ok(())
    }

    /// A line that the file did not have.
    fn add(&mut self, name: &str, line: &Line) -> Result<(), String> {
        let (pin, plain) = (line.pin, Line::plain(line.pin));
        let Some(mode) = line.mode else {
            return self.change(name, &plain, line);
        };
        self.allows(&plain, line)?;
        self.free(pin)?;
        let driven = self.state.signal(pin).is_some() || self.state.outputs.is_driven(pin);
        match mode {
            Mode::Output if self.state.signal(pin).is_some() => return Err("a PWM signal is on it".into()),
            Mode::Output if driven && line.active_low => {
                return Err("it is driven now, and what is on would be off".into());
            }
            Mode::Input | Mode::Pwm if driven => return Err("a client drives it now".into()),
            Mode::Pwm if self.state.outputs.held(pin).is_some() => return Err("a client has made it an input".into()),
            Mode::Input | Mode::Output | Mode::Pwm => {}
        }
        self.say(name, line);
        // One that is driven already keeps its level.
        let level = self.state.outputs.held(pin).and_then(|held| match held.role {
            Role::Output { level } => Some(level),
            Role::Input { .. } | Role::OutputAsIs => None,
        });
        let done = match level {
            Some(level) => self.hold_again(pin, self.state.outputs.output(pin, level)),
            None => self.inner.set_up_line(self.state, pin, mode, self.now),
        };
        self.keep_level(pin);
        done.map_err(|error| error.to_string())
    }

    /// The level of a line that is persistent from now on, or has another name.
    fn keep_level(&mut self, pin: Pin) {
        if let Some(Hold { role: Role::Output { level }, .. }) = self.state.outputs.held(pin)
            && self.state.outputs.config(pin).persist
        {
            self.state.persist.keep(&self.inner.resource(pin), level, self.now);
        }
    }

    /// Lines that keep what they had keep their interlocks too, and these hold on both sides.
    fn interlock(&mut self, lines: &mut Named) {
        let pairs: Vec<(Pin, Pin)> =
            lines.values().flat_map(|(_, line)| line.interlock.iter().map(|other| (*other, line.pin))).collect();
        for (pin, other) in pairs {
            let (name, line) = lines.entry(pin).or_insert_with(|| (pin.to_string(), Line::plain(pin)));
            if !line.interlock.contains(&other) {
                line.interlock.push(other);
                line.interlock.sort_unstable();
                let (name, line) = (name.clone(), line.clone());
                self.say(&name, &line);
            }
        }
    }
}

/// How a line that is held has to be held from now on; `None` where that is how it is.
fn hold_after(held: Hold, old: &Line, new: &Line) -> Option<Hold> {
    // A client's own bias stays where the line is a client's.
    let bias = if old.mode.is_some() || old.bias != new.bias && held.bias == old.bias { new.bias } else { held.bias };
    let role = match held.role {
        Role::Input { .. } => Role::Input { edge: new.edge, debounce: new.debounce },
        output @ (Role::Output { .. } | Role::OutputAsIs) => output,
    };
    let is_other =
        (old.active_low, old.bias, old.edge, old.debounce) != (new.active_low, new.bias, new.edge, new.debounce);
    Some(Hold { active_low: new.active_low, bias, role }).filter(|hold| is_other && *hold != held)
}
