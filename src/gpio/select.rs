//! Which backend drives the lines: the configured one, or the first that works.

use super::lines::{GpioError, Lines};
use super::sim::Sim;
use super::{Places, cdev, sysfs};
use crate::config::{self, Backend};

/// The backend, and in words why it is this one and not the others. No line is touched.
///
/// # Errors
/// [`GpioError::NoBackend`] where the configured one does not work here.
pub fn backend(config: &config::Gpio, _places: &Places) -> Result<(Box<dyn Lines>, String), GpioError> {
    let no = |backend| move |why| GpioError::NoBackend { backend, why };
    match config.backend {
        Backend::Auto => Ok(first(config)),
        Backend::Cdev => cdev::open(config).map_err(no("cdev")),
        Backend::Sysfs => sysfs::open(config).map_err(no("sysfs")),
        Backend::Sim => Ok((Box::new(Sim::new()), "gpio.backend is \"sim\"; pins are simulated".to_owned())),
    }
}

fn first(config: &config::Gpio) -> (Box<dyn Lines>, String) {
    let no_cdev = match cdev::open(config) {
        Ok(found) => return found,
        Err(why) => why,
    };
    let no_sysfs = match sysfs::open(config) {
        Ok((lines, why)) => return (lines, format!("{why}; not cdev: {no_cdev}")),
        Err(why) => why,
    };
    (Box::new(Sim::new()), format!("pins are simulated; not cdev: {no_cdev}; not sysfs: {no_sysfs}"))
}
