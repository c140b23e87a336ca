//! Taking lines: all are taken and looked at before the first is changed, and an error undoes everything.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::chip::Chip;
use super::count::{Ledger, newcomer};
use super::line::{Line, Snapshot};
use super::watch::{self, Watched};
use super::{Held, Sysfs, bias, kinds};
use crate::config::SysfsBias;
use crate::gpio::access::await_writable;
use crate::gpio::lines::{GpioError, Hold, Role};
use crate::types::line::{Bias, Edge, Level, Pin};

/// Why an input with a bias cannot be had, and what to do about it.
pub(super) const NO_BIAS: &str = "the sysfs interface cannot set a pull-up or pull-down; use pull \"FLOATING\", or \
    gpio.sysfs_bias (\"cdev\" or \"pinctrl\"), or gpio.backend \"cdev\"";

/// One line on its way to what is wanted of it.
struct Job {
    pin: Pin,
    offset: u32,
    hold: Hold,
    line: Line,
    /// How it was held until now.
    was: Option<Held>,
    /// Whether it has been exported for this.
    exported: bool,
    /// What it was before anything was changed; only looked at where it is needed.
    before: Option<Snapshot>,
    change: Change,
    /// What it is held as then.
    level: Option<Level>,
    bias: Option<Bias>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Of an output that stays one.
    Level(Level),
    Everything,
}

impl Sysfs {
    pub(super) fn hold_all(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
        let Some((first, _)) = lines.first() else { return Ok(()) };
        let chip = self.chip(*first)?;
        let mut jobs = Vec::with_capacity(lines.len());
        for (pin, hold) in lines {
            jobs.push(self.job(&chip, *pin, *hold)?);
        }
        if let Err(error) = self.carry_out(&chip, &mut jobs) {
            for job in jobs.iter_mut().rev() {
                self.undo(job);
            }
            return Err(error);
        }
        for job in jobs {
            let role = match (job.hold.role, job.level) {
                (Role::OutputAsIs | Role::Output { .. }, Some(level)) => Role::Output { level },
                (role, _) => role,
            };
            let found = match job.was {
                Some(was) => was.found,
                None => job.before.filter(|_| !job.exported),
            };
            let held = Held { line: job.line, hold: Hold { role, ..job.hold }, found, bias: job.bias };
            self.held.insert(job.pin, held);
        }
        Ok(())
    }

    /// What has to be done; nothing is touched yet.
    fn job(&mut self, chip: &Chip, pin: Pin, hold: Hold) -> Result<Job, GpioError> {
        let offset = Sysfs::offset(chip, pin)?;
        let was = self.held.get(&pin).filter(|held| held.line.is_exported()).cloned();
        let line = was.as_ref().map_or_else(|| Line::new(chip, offset), |held| held.line.clone());
        let found = was.as_ref().map_or_else(|| line.is_exported(), |held| held.found.is_some());
        let had = was.as_ref().and_then(|held| held.bias);
        let bias = self.bias_to_set(pin, &hold, had, found)?;
        let change = match &was {
            _ if bias.is_some() => Change::Everything,
            Some(held) if held.hold.active_low == hold.active_low => match (held.hold.role, hold.role) {
                (Role::Output { .. }, Role::OutputAsIs) => Change::Nothing,
                (Role::Output { .. }, Role::Output { level }) => Change::Level(level),
                (Role::Input { .. }, Role::Input { .. }) if kinds(&held.hold) == kinds(&hold) => Change::Nothing,
                _ => Change::Everything,
            },
            _ => Change::Everything,
        };
        let level = match (hold.role, was.as_ref().map(|held| held.hold.role)) {
            (Role::Output { level }, _) | (Role::OutputAsIs, Some(Role::Output { level })) => Some(level),
            _ => None,
        };
        Ok(Job { pin, offset, hold, line, was, exported: false, before: None, change, level, bias: bias.or(had) })
    }

    /// The bias to set by the configured way; `None` where the line's stays.
    fn bias_to_set(&self, pin: Pin, hold: &Hold, had: Option<Bias>, found: bool) -> Result<Option<Bias>, GpioError> {
        let refused = |why: &str| Err(GpioError::Refused { pin, why: why.to_owned() });
        let is_input = matches!(hold.role, Role::Input { .. });
        match (hold.bias, self.bias) {
            (None, _) => Ok(None),
            (wanted, _) if wanted == had => Ok(None),
            // Its resistor is on the board.
            (Some(Bias::Up), _) if pin.has_fixed_pull_up() => Ok(None),
            (wanted, SysfsBias::Pinctrl) => Ok(wanted),
            (Some(Bias::Floating), SysfsBias::Refuse) => Ok(None),
            (Some(Bias::Floating), SysfsBias::Cdev) if found => Ok(None),
            // A driven line's bias has no effect, and to refuse would keep it from its safe level.
            (Some(_), _) if !is_input => Ok(None),
            (Some(_), SysfsBias::Refuse) => refused(NO_BIAS),
            (Some(_), SysfsBias::Cdev) if found => refused(
                "another program has exported the line, so gpio.sysfs_bias \"cdev\" cannot set its bias; unexport it",
            ),
            (wanted, SysfsBias::Cdev) => Ok(wanted),
        }
    }

    fn carry_out(&mut self, chip: &Chip, jobs: &mut [Job]) -> Result<(), GpioError> {
        for job in jobs.iter_mut().filter(|job| job.was.is_none() && !job.line.is_exported()) {
            job.line.export().map_err(|error| self.error(chip, job.pin, "take", &error))?;
            job.exported = true;
        }
        for job in jobs.iter_mut().filter(|job| job.was.is_none()) {
            let writable = await_writable(&job.line.files());
            writable.map_err(|(_, error)| self.error(chip, job.pin, "take", &error))?;
        }
        for job in jobs.iter_mut().filter(|job| job.change != Change::Nothing) {
            let before = job.line.snapshot().map_err(|error| self.error(chip, job.pin, "read", &error))?;
            job.before = Some(before);
        }
        for job in jobs {
            self.change(chip, job)?;
        }
        Ok(())
    }

    fn change(&mut self, chip: &Chip, job: &mut Job) -> Result<(), GpioError> {
        let Some(before) = job.before else { return Ok(()) };
        match job.change {
            Change::Nothing => return Ok(()),
            // Another program may have changed it behind our back, so what it is decides.
            Change::Level(level) if before.output && before.active_low == job.hold.active_low => {
                let set = if before.level() == level { Ok(()) } else { job.line.set_level(level) };
                return set.map_err(|error| self.error(chip, job.pin, "update", &error));
            }
            Change::Level(_) | Change::Everything => {}
        }
        self.shared.remove(job.pin);
        if job.bias != job.was.as_ref().and_then(|held| held.bias) {
            self.set_bias(chip, job)?;
        }
        self.set_everything(job, before).map_err(|error| self.error(chip, job.pin, "update", &error))
    }

    fn set_bias(&mut self, chip: &Chip, job: &mut Job) -> Result<(), GpioError> {
        let Some(bias) = job.bias else { return Ok(()) };
        let set = if self.bias == SysfsBias::Pinctrl {
            bias::by_pinctrl(job.pin, bias)
        } else {
            // Only a line that nobody holds can be requested.
            let failed = |error: io::Error| error.to_string();
            let set = job.line.unexport().map_err(failed);
            let set = set.and_then(|()| bias::by_device(&mut self.device, chip, job.offset, bias));
            job.line.export().map_err(|error| self.error(chip, job.pin, "take", &error))?;
            await_writable(&job.line.files()).map_err(|(_, error)| self.error(chip, job.pin, "take", &error))?;
            set
        };
        set.map_err(|why| GpioError::Refused { pin: job.pin, why })
    }

    fn set_everything(&self, job: &mut Job, before: Snapshot) -> io::Result<()> {
        // The kernel does not let a line with an interrupt become an output.
        if job.line.edge()?.is_some_and(|edge| edge != Edge::None) {
            job.line.set_edge(Edge::None)?;
        }
        if job.line.active_low()? != job.hold.active_low {
            job.line.set_active_low(job.hold.active_low)?;
        }
        match job.hold.role {
            Role::Input { .. } => {
                // Also where it says that it is one: so does a line that serves another function of the chip.
                job.line.make_input()?;
                self.watch_line(&job.line, job.pin, job.offset, kinds(&job.hold))
            }
            Role::Output { level } => job.line.make_output((level == Level::High) != job.hold.active_low),
            Role::OutputAsIs => {
                if !before.output {
                    job.line.make_output(before.high)?;
                }
                job.level = Some(Level::from_bool(before.high != job.hold.active_low));
                Ok(())
            }
        }
    }

    /// Asks the kernel for the line's edges. A line that cannot have any is held all the same.
    fn watch_line(&self, line: &Line, pin: Pin, offset: u32, kinds: Edge) -> io::Result<()> {
        if kinds == Edge::None {
            return Ok(());
        }
        if line.edge()?.is_none() {
            log::warn!("{pin} is not watched: sysfs has no edges for it here; gpio.backend \"cdev\" may");
            return Ok(());
        }
        let value = File::open(line.directory().join("value"))?;
        let before = self.shared.counts();
        line.set_edge(kinds)?;
        let after = self.shared.counts();
        let row = before.zip(after).and_then(|(before, after)| newcomer(&before, &after, offset));
        if row.is_none() {
            log::debug!("{pin} has no row of its own in the kernel's count of interrupts");
        }
        let ledger = Ledger::new(kinds, watch::read(&value)?, row.map(|row| row.1));
        self.shared.add(Watched { pin, value: Arc::new(value), interrupt: row.map(|row| row.0), ledger });
        Ok(())
    }

    /// Makes a line what it was before the job, as far as that can be had.
    fn undo(&self, job: &mut Job) {
        if job.change == Change::Nothing || (job.before.is_none() && !job.exported) {
            return;
        }
        self.shared.remove(job.pin);
        let mut undone = job.before.map_or(Ok(()), |before| job.line.restore(before));
        if job.exported {
            undone = undone.and(job.line.unexport());
        } else if let Some(was) = &job.was {
            // Its row in the count is new, too.
            let watched = kinds(&was.hold);
            if watched != Edge::None {
                undone = undone.and_then(|()| job.line.set_edge(Edge::None));
                undone = undone.and_then(|()| self.watch_line(&was.line, job.pin, job.offset, watched));
            }
        }
        match undone {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::NODEV) => {
                log::error!("{} could not be made what it was: {error}", job.pin);
            }
            _ => {}
        }
    }
}
