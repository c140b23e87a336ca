//! Which backend drives the lines: the configured one, or the first that works.

use super::Places;
use super::lines::{GpioError, Lines};
use super::sim::Sim;
use crate::config::{self, Backend};

/// The backend, and in words why it is this one and not the others.
///
/// # Errors
/// [`GpioError::NoBackend`] where the configured one does not work here.
pub fn backend(config: &config::Gpio, _places: &Places) -> Result<(Box<dyn Lines>, String), GpioError> {
    let why = match config.backend {
        Backend::Auto => "no GPIO character device support in this version; pins are simulated",
        Backend::Sim => "gpio.backend is \"sim\"; pins are simulated",
        Backend::Cdev => return Err(missing("cdev")),
        Backend::Sysfs => {
            return super::sysfs::open(config).map_err(|why| GpioError::NoBackend { backend: "sysfs", why });
        }
    };
    Ok((Box::new(Sim::new()), why.to_owned()))
}

fn missing(backend: &'static str) -> GpioError {
    let why = "this version only has the simulated backend; set gpio.backend to \"auto\" or \"sim\"".to_owned();
    GpioError::NoBackend { backend, why }
}
