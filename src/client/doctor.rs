//! `doctor`: what works on this machine and what does not, and why. For now the lines.

use serde_json::json;

use super::{ClientError, backend, print_line, warn};
use crate::config::{Backend, Config};

/// What was found of one part.
struct Finding {
    /// Whether it works as it was meant to.
    ok: bool,
    backend: Option<&'static str>,
    simulated: bool,
    why: String,
}

/// Prints which backend would drive the lines, and why not the others. Touches no line.
///
/// # Errors
/// The configured backend does not work, or none of the real ones where the choice was left open. What was printed
/// says so.
pub fn doctor(config: &Config, json: bool) -> Result<(), ClientError> {
    warn(config);
    let gpio = lines(config);
    if json {
        let Finding { ok, backend, simulated, why } = &gpio;
        print_line(
            &json!({ "gpio": { "ok": ok, "backend": backend, "simulated": simulated, "why": why } }).to_string(),
        )?;
    } else {
        match gpio.backend {
            Some(name) => print_line(&format!("gpio: backend '{name}': {}", gpio.why))?,
            None => print_line(&format!("gpio: no backend: {}", gpio.why))?,
        }
        if gpio.backend.is_some() && !gpio.ok {
            print_line("gpio: no line of this machine is driven; if that is meant, set gpio.backend to \"sim\"")?;
        }
    }
    if gpio.ok { Ok(()) } else { Err(ClientError::new("")) }
}

fn lines(config: &Config) -> Finding {
    match backend(config) {
        // Simulation is a failure only for who hoped for more.
        Ok(info) => Finding {
            ok: !info.simulated || config.gpio.backend == Backend::Sim,
            backend: Some(info.name),
            simulated: info.simulated,
            why: info.why,
        },
        Err(error) => Finding { ok: false, backend: None, simulated: false, why: error.to_string() },
    }
}
