//! How everything is, and from where the events tell what changes.

use crate::alerts::Alerts;
use crate::gpio::{Gpio, GpioError};
use crate::hub::Hub;
use crate::rt::clock;
use crate::telemetry::Telemetry;
use crate::types::caller::Caller;
use crate::types::line::Pin;
use crate::types::snapshot::Snapshot;

/// What a key must be allowed to hear to be told of alerts here.
const ALERTS: &str = "system.alert.created";

/// As much as the caller may see. What cannot be read is left out: a snapshot is for the start, and half of it is better
/// than none.
///
/// # Errors
/// The lines cannot be read at all.
pub fn take(
    hub: &Hub,
    gpio: &Gpio,
    telemetry: &Telemetry,
    alerts: &Alerts,
    caller: &Caller,
) -> Result<Snapshot, GpioError> {
    // Before anything is looked at: a change that has a number up to this one is seen below. A change that is seen
    // below and gets its number later is told again, with the level that it has here.
    let position = hub.position();
    let rights = caller.rights.as_ref();
    let mut pins = Vec::new();
    for pin in Pin::HEADER.iter().copied().filter(|pin| rights.is_none_or(|rights| rights.read(*pin).is_ok())) {
        match gpio.read(&[pin]) {
            Ok(states) => pins.extend(states.into_iter().map(|state| (pin.to_string(), state))),
            // Nobody has named it.
            Err(GpioError::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let hears = rights.is_none_or(|rights| rights.hear(ALERTS).is_ok());
    Ok(Snapshot {
        position,
        at: clock::wall(),
        pins,
        temperature: telemetry.temperature().ok(),
        throttle: telemetry.throttle().ok(),
        uptime: telemetry.uptime().ok(),
        frequency: telemetry.frequency().ok(),
        memory: telemetry.memory().ok(),
        alerts: hears.then(|| alerts.open()),
    })
}
