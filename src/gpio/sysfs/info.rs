//! What the character device tells about lines without taking them, for all that sysfs cannot tell.

use std::path::Path;
use std::time::{Duration, Instant};

use gpiocdev::line::{Bias as DeviceBias, Direction as DeviceDirection, Info};

use super::chip::Chip;
use crate::rt::clock;
use crate::types::line::{Bias, Direction, LineState};

/// How long a device that could not be had is not looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The chip's device, if this process may open it.
#[derive(Default)]
pub struct Device {
    open: Option<gpiocdev::Chip>,
    missed: Option<Instant>,
}

impl Device {
    /// What the kernel says of a line; `None` where nobody can be asked.
    pub fn line(&mut self, chip: &Chip, offset: u32) -> Option<Info> {
        let info = self.chip(chip)?.line_info(offset);
        if info.is_err() {
            self.forget();
        }
        info.ok()
    }

    /// The device with the chip's label.
    pub fn chip(&mut self, chip: &Chip) -> Option<&gpiocdev::Chip> {
        if self.open.is_none() && self.missed.is_none_or(|at| clock::now().duration_since(at) >= RETRY) {
            self.open = find(chip);
            self.missed = self.open.is_none().then(clock::now);
        }
        self.open.as_ref()
    }

    /// The chip has gone, or is another one now.
    pub fn forget(&mut self) {
        self.open = None;
        self.missed = None;
    }
}

fn find(chip: &Chip) -> Option<gpiocdev::Chip> {
    let devices = std::fs::read_dir("/sys/bus/gpio/devices").ok()?;
    devices.flatten().find_map(|entry| {
        let device = gpiocdev::Chip::from_path(Path::new("/dev").join(entry.file_name())).ok()?;
        device.info().is_ok_and(|info| info.label == chip.label && info.num_lines == chip.lines).then_some(device)
    })
}

/// A line that nobody holds through sysfs, as the device describes it.
pub fn state(info: &Info) -> LineState {
    let consumer = match info.consumer.as_str() {
        "" if info.used => Some("the kernel".to_owned()),
        "" => None,
        name => Some(name.to_owned()),
    };
    let direction = match info.direction {
        DeviceDirection::Input => Direction::Input,
        DeviceDirection::Output => Direction::Output,
    };
    LineState {
        direction: Some(direction),
        level: None,
        bias: info.bias.map(bias),
        active_low: info.active_low,
        consumer,
        pwm: None,
    }
}

fn bias(bias: DeviceBias) -> Bias {
    match bias {
        DeviceBias::PullUp => Bias::Up,
        DeviceBias::PullDown => Bias::Down,
        DeviceBias::Disabled => Bias::Floating,
    }
}

/// The other way round.
pub fn device_bias(bias: Bias) -> DeviceBias {
    match bias {
        Bias::Up => DeviceBias::PullUp,
        Bias::Down => DeviceBias::PullDown,
        Bias::Floating => DeviceBias::Disabled,
    }
}
