//! Lines by way of `/sys/class/gpio`, for kernels or set-ups where the character device is out of reach.
//!
//! What it cannot do, and what is made of it:
//! - *Several lines at once.* There is no such write. All lines of one update are taken and looked at before the
//!   first is changed, and an error on the way makes every line what it was, but the lines change one by one.
//! - *Bias.* Refused, except as `gpio.sysfs_bias` says (see `bias`). `Floating` leaves the line as it is, because
//!   Endrpi's clients have to name a pull. A bias that was set stays when a later line of the same update fails.
//! - *Debounce.* Left to the watcher, which then gets every edge of such a line, whatever kinds are wanted: a
//!   debouncer needs both.
//! - *Who else holds a line.* Asked of the character device, if that may be opened; else unknown.
//! - *Time of an edge.* The moment of the wake-up, not the kernel's.
//! - *Several edges in one wake-up.* Counted (see `count`), and told as lost.
//!
//! A line that another program had exported before stays exported when it is released, with the `edge` and
//! `active_low` it was found with. Its direction and level go back too if it was last held as an input; a line that
//! was last driven stays driven, because its safe level is worth more than what was there before. A daemon that was
//! killed leaves its lines exported; for the next one they are such lines.

mod bias;
mod chip;
mod count;
mod hold;
mod info;
mod line;
mod uevent;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::lines::{Bell, GpioError, Hold, Lines, Role, Watcher};
use crate::config::{self, SysfsBias};
use crate::rt::process;
use crate::rt::worker::Worker;
use crate::types::line::{Bias, Direction, Edge, LineState, Pin};
use chip::{Abi, CLASS, Chip};
use info::Device;
use line::{Line, Snapshot};
use watch::Shared;

/// The backend and, in words, which chip it has found where.
///
/// # Errors
/// Why it does not work here, and what to do about it.
pub fn open(config: &config::Gpio) -> Result<(Box<dyn Lines>, String), String> {
    let chip = chip::find(Path::new(CLASS), config.chip.as_deref())?;
    // Known now, and too late when the line has to go to its safe state.
    let biased = config.lines.iter().find(|(_, line)| {
        let on_board = line.bias == Some(Bias::Up) && line.pin.has_fixed_pull_up();
        matches!(line.bias, Some(Bias::Up | Bias::Down)) && !on_board
    });
    if let (Some((name, _)), SysfsBias::Refuse) = (biased, config.sysfs_bias) {
        return Err(format!("gpio.pins.{name}.bias cannot be had: {}", hold::NO_BIAS));
    }
    let why = chip.describe();
    let shared = Shared::new(chip, config.chip.clone()).map_err(|error| format!("no eventfd: {error}"))?;
    Ok((Box::new(Sysfs::new(shared, config.sysfs_bias)), why))
}

/// A chip as it is known here, for who explains a machine.
pub struct SysfsChip {
    /// What the first of its lines is called; `None` where each chip counts for itself.
    pub base: Option<u64>,
    /// Where its lines are exported, where each chip counts for itself.
    pub directory: Option<PathBuf>,
    pub words: String,
}

/// Finds the chip that would be used below this root. No line is touched.
///
/// # Errors
/// Why there is none, and what to do about it.
pub fn sysfs_chip(root: &Path, wanted: Option<&str>) -> Result<SysfsChip, String> {
    let chip = chip::find(&root.join(CLASS.trim_start_matches('/')), wanted)?;
    let words = chip.describe();
    Ok(match chip.abi {
        Abi::Numbered { base } => SysfsChip { base: Some(base), directory: None, words },
        Abi::PerChip { directory } => SysfsChip { base: None, directory: Some(directory), words },
    })
}

struct Sysfs {
    shared: Arc<Shared>,
    thread: Option<Worker>,
    held: BTreeMap<Pin, Held>,
    /// The chip that `held` belongs to.
    generation: u64,
    device: Device,
    bias: SysfsBias,
}

/// A line the daemon has taken.
#[derive(Clone, Debug)]
struct Held {
    line: Line,
    /// An output's level is the one it was last given.
    hold: Hold,
    /// As it was, where another program had exported it before.
    found: Option<Snapshot>,
    /// The one that was set here.
    bias: Option<Bias>,
}

impl Sysfs {
    fn new(shared: Shared, bias: SysfsBias) -> Sysfs {
        Sysfs {
            shared: Arc::new(shared),
            thread: None,
            held: BTreeMap::new(),
            generation: 0,
            device: Device::default(),
            bias,
        }
    }

    /// The chip, or the error that says that it is gone. What was held of an earlier one is forgotten.
    fn chip(&mut self, pin: Pin) -> Result<Chip, GpioError> {
        let chip = self.shared.chip();
        let generation = chip.as_ref().map_or(self.generation + 1, |(_, generation)| *generation);
        if generation != self.generation {
            self.held.clear();
            self.device.forget();
        }
        match chip {
            Ok((chip, generation)) => {
                self.generation = generation;
                Ok(chip)
            }
            Err(why) => Err(GpioError::ChipGone { pin, why }),
        }
    }

    /// A line of the chip by its number.
    fn offset(chip: &Chip, pin: Pin) -> Result<u32, GpioError> {
        let offset = u32::from(pin.number());
        if offset < chip.lines { Ok(offset) } else { Err(GpioError::Unsupported { pin }) }
    }

    /// What an error of the kernel's means.
    fn error(&mut self, chip: &Chip, pin: Pin, doing: &'static str, error: &io::Error) -> GpioError {
        let system = |why| GpioError::System { pin, doing, why };
        let errno = Errno::from_io_error(error);
        // All of them may mean that the chip has gone; a number that belongs to no chip any more is invalid.
        let missing = [Some(Errno::NODEV), Some(Errno::NOENT), Some(Errno::INVAL)].contains(&errno);
        if missing && let Err(why) = self.shared.check() {
            return GpioError::ChipGone { pin, why };
        }
        match errno {
            Some(Errno::BUSY) => {
                let consumer = self.device.line(chip, u32::from(pin.number())).map(|info| info.consumer);
                let consumer = consumer.filter(|name| !name.is_empty());
                let unknown = || "another driver (sysfs cannot tell which)".to_owned();
                GpioError::Held { pin, consumer: consumer.unwrap_or_else(unknown) }
            }
            Some(Errno::INVAL) => GpioError::Unsupported { pin },
            Some(Errno::ROFS) => system(format!(
                "{CLASS} is read-only for this process; in a unit with ProtectKernelTunables=yes add \
                 ReadWritePaths=/sys/class/gpio /sys/devices"
            )),
            Some(Errno::ACCESS | Errno::PERM) => system(format!(
                "no permission for the files in {CLASS} ({error}); run the daemon in group gpio \
                 (SupplementaryGroups=gpio), with a udev rule that gives them to it: SUBSYSTEM==\"gpio\", \
                 RUN+=\"/bin/sh -c 'chgrp -R gpio /sys/class/gpio/ && chmod -R g=u /sys/class/gpio/ && chgrp -R gpio \
                 /sys$devpath && chmod -R g=u /sys$devpath'\""
            )),
            Some(Errno::NOENT) => {
                system(format!("a file of it is missing in {CLASS}, another program may have changed it"))
            }
            _ => system(error.to_string()),
        }
    }

    /// A line that is exported, by us or by somebody else.
    fn exported(&mut self, pin: Pin, line: &Line) -> io::Result<LineState> {
        let held = self.held.get(&pin);
        let direction = match line.is_output() {
            Ok(output) => Some(if output { Direction::Output } else { Direction::Input }),
            // A driver may have exported a line whose direction is its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound && line.is_exported() => None,
            Err(error) => return Err(error),
        };
        Ok(LineState {
            direction,
            level: Some(line.level()?),
            bias: held.and_then(|held| held.bias),
            active_low: line.active_low()?,
            consumer: held.is_none().then(|| "sysfs".to_owned()),
            pwm: None,
        })
    }

    /// Lets one line go.
    fn let_go(&mut self, pin: Pin, mut held: Held) -> io::Result<()> {
        self.shared.remove(pin);
        match held.found {
            Some(found) => {
                let driven = !matches!(held.hold.role, Role::Input { .. });
                let now = held.line.snapshot()?;
                let as_is = Snapshot { output: now.output, high: now.high, ..found };
                // An input nobody listens to is the safe state of a line that must not be driven.
                let parked = matches!(held.hold.role, Role::Input { edge: Edge::None, .. });
                let input = Snapshot { output: false, ..found };
                held.line.restore(if driven {
                    as_is
                } else if parked {
                    input
                } else {
                    found
                })
            }
            None => {
                if held.line.edge()?.is_some_and(|edge| edge != Edge::None) {
                    held.line.set_edge(Edge::None)?;
                }
                held.line.unexport()
            }
        }
    }
}

impl Lines for Sysfs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn simulated(&self) -> bool {
        false
    }

    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        let chip = self.chip(pin)?;
        let offset = Sysfs::offset(&chip, pin)?;
        let line = self.held.get(&pin).map_or_else(|| Line::new(&chip, offset), |held| held.line.clone());
        if line.is_exported() {
            return self.exported(pin, &line).map_err(|error| self.error(&chip, pin, "read", &error));
        }
        if self.held.contains_key(&pin) {
            // Somebody has unexported it behind our back, or the chip has gone.
            self.shared.check().map_err(|why| GpioError::ChipGone { pin, why })?;
            self.shared.remove(pin);
            self.held.remove(&pin);
        }
        let unknown =
            LineState { direction: None, level: None, bias: None, active_low: false, consumer: None, pwm: None };
        let state = self.device.line(&chip, offset).as_ref().map_or(unknown, info::state);
        Ok(state)
    }

    fn hold(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
        self.hold_all(lines)
    }

    fn release(&mut self, pins: &[Pin]) {
        for pin in pins {
            if self.chip(*pin).is_err() {
                return;
            }
            let Some(held) = self.held.remove(pin) else { continue };
            if let Err(error) = self.let_go(*pin, held) {
                log::warn!("{pin} could not be let go: {error}");
            }
        }
    }

    fn reports_edges(&self, pin: Pin) -> bool {
        self.shared.is_watched(pin)
    }

    /// A line is taken out of the watch to be changed.
    fn watches_through(&self, from: &Hold, to: &Hold) -> bool {
        let same_bias = to.bias.is_none() || to.bias == from.bias;
        same_bias && (kinds(from), from.active_low) == (kinds(to), to.active_low)
    }

    fn debounces(&self) -> bool {
        false
    }

    fn watch(&mut self, watcher: Arc<dyn Watcher>) -> io::Result<()> {
        if self.thread.is_none() {
            self.shared.set_running(true);
            let shared = Arc::clone(&self.shared);
            self.thread = Some(Worker::spawn("gpio-in", move || {
                process::be_punctual();
                watch::run(&shared, &*watcher);
            })?);
        }
        Ok(())
    }

    fn bell(&self) -> Option<Bell> {
        let shared = Arc::clone(&self.shared);
        Some(Box::new(move || shared.wake()))
    }

    fn stop(&mut self, limit: Duration) {
        self.shared.set_running(false);
        if let Some(thread) = self.thread.take() {
            thread.join(limit);
        }
    }
}

/// The kinds of edges the kernel is asked for.
fn kinds(hold: &Hold) -> Edge {
    match hold.role {
        Role::Input { edge: Edge::None, .. } | Role::Output { .. } | Role::OutputAsIs => Edge::None,
        Role::Input { edge, debounce } if debounce.is_zero() => edge,
        Role::Input { .. } => Edge::Both,
    }
}
