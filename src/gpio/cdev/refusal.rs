//! What the kernel's refusals mean for whoever asked.

use gpiocdev::Error;
use rustix::io::Errno;

use crate::gpio::lines::GpioError;
use crate::types::line::Pin;

/// What drivers answer to a configuration they cannot do; not an error number of its own for programs.
const ENOTSUPP: i32 = 524;

/// The kernel's error number, if it was the kernel.
pub fn errno(error: &Error) -> Option<Errno> {
    match error {
        Error::Os(number) | Error::Uapi(_, gpiocdev_uapi::Error::Os(number)) => {
            Some(Errno::from_raw_os_error(number.0))
        }
        _ => None,
    }
}

pub fn is(error: &Error, number: Errno) -> bool {
    errno(error) == Some(number)
}

/// Whether edges or debounce may be what the line cannot do: it has no interrupt, or its driver no such setting.
pub fn may_be_for_edges(error: &Error) -> bool {
    matches!(errno(error), Some(Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP | Errno::INVAL))
        || errno(error).is_some_and(|number| number.raw_os_error() == ENOTSUPP)
}

/// In words; a busy line and a vanished chip have errors of their own.
pub fn system(pin: Pin, doing: &'static str, error: &Error) -> GpioError {
    let why = match errno(error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "permission denied; the user must be in group gpio, and the unit needs DeviceAllow=char-gpiochip rw"
                .to_owned()
        }
        Some(Errno::INVAL) => "the kernel refuses this setting for this line".to_owned(),
        Some(Errno::MFILE | Errno::NFILE) => "no file descriptor is left; raise LimitNOFILE=".to_owned(),
        Some(Errno::IO) => "the chip does not do it (input/output error)".to_owned(),
        Some(number) if number.raw_os_error() == ENOTSUPP => "the chip cannot do this".to_owned(),
        Some(number) => std::io::Error::from(number).to_string(),
        None => error.to_string(),
    };
    GpioError::System { pin, doing, why }
}
