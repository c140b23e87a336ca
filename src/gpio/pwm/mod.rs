//! PWM made by a block of the chip, by way of the kernel's `/sys/class/pwm`.
//!
//! Finding a channel touches nothing; it is exported when it is first set. The kernel lets a channel run on after
//! its unexport, so it is stopped before. Whoever takes the line as a GPIO takes it away from the block, and nothing
//! gives it back before the board restarts: such a line must never be taken (Linux 6.12,
//! drivers/pinctrl/bcm/pinctrl-bcm2835.c, bcm2835_pmx_gpio_set_direction and _disable_free).

mod block;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::gpio::access::await_writable;
use crate::types::line::{Duty, Pin, Pwm, PwmSource};

/// A line's PWM channel. Dropped, it stops the signal it has made.
pub struct Hardware {
    pin: Pin,
    key: String,
    chip: PathBuf,
    channel: u32,
    held: Held,
}

/// How the channel came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Not,
    /// Somebody had exported it already, and keeps it.
    Found,
    Ours,
}

impl Hardware {
    /// Finds the channel that drives a line, below `root`. Nothing is touched.
    ///
    /// # Errors
    /// Why there is none, and how to get one.
    pub fn find(root: &Path, pin: Pin) -> Result<Hardware, String> {
        let found = block::find(root, pin)?;
        let key = format!("{}:{}", found.device, found.number);
        Ok(Hardware { pin, key, chip: found.chip, channel: found.number, held: Held::Not })
    }

    /// The same for lines that share a channel, and so cannot have two signals.
    pub fn channel_key(&self) -> &str {
        &self.key
    }

    /// Makes a signal of that many hertz. The first time may take up to a second, until udev has given the files to
    /// the daemon's group. The duty is that of the line's high level: `active_low` is the caller's business, and so
    /// is a polarity somebody else has set. While the frequency changes the line is high for no larger share of the
    /// time than before or after.
    ///
    /// # Errors
    /// What the kernel refuses, and what can be done; the signal is then as it was.
    pub fn set(&mut self, frequency: f64, duty: Duty) -> Result<Pwm, String> {
        let after = Signal::new(frequency, duty).ok_or_else(|| self.cannot(frequency))?;
        self.hold()?;
        let before = self.signal()?;
        let [first, second] = writes(before, after);
        self.write(first).map_err(|error| self.refused(first, frequency, &error))?;
        if let Err(error) = self.write(second) {
            let old = if first.0 == "period" { before.period } else { before.high };
            // A channel that never had a period cannot get none back, and makes no signal yet.
            let _ = self.write((first.0, old));
            return Err(self.refused(second, frequency, &error));
        }
        if !before.on {
            self.write(("enable", 1)).map_err(|error| self.refused(("enable", 1), frequency, &error))?;
        }
        Ok(Pwm { frequency: after.frequency(), duty, source: PwmSource::Hardware })
    }

    /// The signal as it is, whoever made it; `None` while there is none. Looking touches nothing.
    ///
    /// # Errors
    /// The file that cannot be read, and why.
    pub fn read(&self) -> Result<Option<Pwm>, String> {
        if !self.directory().is_dir() {
            return Ok(None);
        }
        let signal = self.signal()?;
        let pwm = Pwm { frequency: signal.frequency(), duty: signal.duty(), source: PwmSource::Hardware };
        Ok((signal.on && signal.period > 0).then_some(pwm))
    }

    /// Stops the signal, if there is one; the line is low then. The channel stays ours.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn disable(&mut self) -> Result<(), String> {
        if self.held == Held::Not || !self.signal()?.on {
            return Ok(());
        }
        // What a channel does while disabled is up to its driver; low before, it has no reason to do otherwise.
        let low = self.write(("duty_cycle", 0));
        self.write(("enable", 0)).and(low).map_err(|error| self.explain(&self.file("enable"), &error))
    }

    /// Has the channel exported, its files writable.
    fn hold(&mut self) -> Result<(), String> {
        if self.held != Held::Not {
            return Ok(());
        }
        let export = self.chip.join("export");
        self.held = if self.directory().is_dir() {
            Held::Found
        } else {
            match write(&export, u64::from(self.channel)) {
                Ok(()) => Held::Ours,
                // Somebody was faster.
                Err(_) if self.directory().is_dir() => Held::Found,
                Err(error) => return Err(self.explain(&export, &error)),
            }
        };
        let files = ["period", "duty_cycle", "enable"].map(|name| self.file(name));
        await_writable(&files).map_err(|(file, error)| {
            let why = self.explain(&file, &error);
            self.let_go();
            why
        })
    }

    fn let_go(&mut self) {
        let held = std::mem::replace(&mut self.held, Held::Not);
        if held == Held::Ours
            && let Err(error) = write(&self.chip.join("unexport"), u64::from(self.channel))
        {
            log::warn!("PWM on {}: {}", self.pin, self.explain(&self.chip.join("unexport"), &error));
        }
    }

    fn signal(&self) -> Result<Signal, String> {
        let read = |name| {
            let file = self.file(name);
            let text = fs::read_to_string(&file).map_err(|error| self.explain(&file, &error))?;
            text.trim().parse::<u64>().map_err(|_| format!("{} holds no number: {:?}", file.display(), text.trim()))
        };
        Ok(Signal { period: read("period")?, high: read("duty_cycle")?, on: read("enable")? != 0 })
    }

    fn directory(&self) -> PathBuf {
        self.chip.join(format!("pwm{}", self.channel))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn write(&self, (file, value): (&str, u64)) -> io::Result<()> {
        write(&self.file(file), value)
    }

    fn cannot(&self, frequency: f64) -> String {
        format!("the PWM block cannot make {frequency} Hz on {}", self.pin)
    }

    /// Why the kernel refused a write on the way to a frequency.
    fn refused(&self, (file, _): (&str, u64), frequency: f64, error: &io::Error) -> String {
        match Errno::from_io_error(error) {
            // Kernels before 5.10 read 32 bits, and say so of longer periods.
            Some(Errno::INVAL | Errno::RANGE) => self.cannot(frequency),
            _ => self.explain(&self.file(file), error),
        }
    }

    fn explain(&self, file: &Path, error: &io::Error) -> String {
        let path = file.display();
        match Errno::from_io_error(error) {
            Some(Errno::ACCESS | Errno::PERM) => format!(
                "{path} is closed to the daemon: {error}; its user must be in the group `gpio`, which gets these files \
                 by a udev rule of Raspberry Pi OS"
            ),
            Some(Errno::ROFS) => {
                let real = fs::canonicalize(&self.chip).unwrap_or_else(|_| self.chip.clone());
                format!("{path} is read-only for the daemon; add ReadWritePaths={} to its unit", real.display())
            }
            Some(Errno::BUSY) => {
                format!("PWM channel {} is in use by a driver of the kernel (sound, a fan); disable that", self.key)
            }
            Some(Errno::NODEV) => format!("{} has no channel {}", self.chip.display(), self.channel),
            _ => format!("{path}: {error}"),
        }
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        if let Err(why) = self.disable() {
            log::warn!("PWM on {} could not be stopped: {why}", self.pin);
        }
        self.let_go();
    }
}

/// A signal as the kernel has it, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signal {
    period: u64,
    high: u64,
    on: bool,
}

impl Signal {
    /// `None` for what is no frequency.
    fn new(frequency: f64, duty: Duty) -> Option<Signal> {
        let period = (1e9 / frequency).round();
        // Up to 11 days; which of these it can make, the kernel says.
        if !(1.0..=1e15).contains(&period) {
            return None;
        }
        let period = period as u64;
        let high = duty.of(Duration::from_nanos(period)).as_nanos() as u64;
        Some(Signal { period, high, on: true })
    }

    fn frequency(self) -> f64 {
        1e9 / self.period as f64
    }

    fn duty(self) -> Duty {
        Duty::from_fraction(self.high as f64 / self.period as f64).unwrap_or(Duty::ZERO)
    }
}

/// The order in which a signal becomes another. The kernel refuses a duty longer than the period, at every moment.
fn writes(before: Signal, after: Signal) -> [(&'static str, u64); 2] {
    let (period, high) = (("period", after.period), ("duty_cycle", after.high));
    if after.period >= before.period { [period, high] } else { [high, period] }
}

fn write(file: &Path, value: u64) -> io::Result<()> {
    // In one write, as the kernel wants it.
    let mut file = fs::File::options().write(true).truncate(true).open(file)?;
    file.write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests;
