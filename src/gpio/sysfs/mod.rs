//! Lines by way of `/sys/class/gpio`.

use super::lines::Lines;
use crate::config;

/// The backend, and in words why it can be used; or why not.
///
/// # Errors
/// Always, for now.
pub fn open(_config: &config::Gpio) -> Result<(Box<dyn Lines>, String), String> {
    Err("not in this build".to_owned())
}
