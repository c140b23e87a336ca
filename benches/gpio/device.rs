//! The daemon under test, and a chip for it where the kernel makes one.

use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Result;
use crate::common::{Daemon, TempDir, Ws, pinwire};
use crate::options::{Backend, Options};
use crate::rig::Sim;

const LABEL: &str = "bench";

/// A chip with a line for each of a Raspberry Pi's.
pub fn chip() -> Sim {
    Sim::with(LABEL, 28).live()
}

/// The daemon on that chip, or on simulated pins of its own. `more` goes into section `[gpio]` of its configuration
/// and whatever follows that.
pub fn daemon(options: &Options, backend: Option<Backend>, log_level: &str, more: &str) -> Daemon {
    let dir = TempDir::new();
    let chip = if backend.is_some() { format!("chip = \"{LABEL}\"\n") } else { String::new() };
    let config = dir.file("pinwire.toml", &format!("[gpio]\n{chip}{more}"));
    let mut command = Command::new(&options.daemon);
    // It is told no more by the environment than the tests' daemons are.
    for (name, _) in pinwire().get_envs().filter(|(_, value)| value.is_none()) {
        command.env_remove(name);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", log_level, "--gpio"]);
    command.arg(backend.map_or("sim", Backend::name)).arg("--config").arg(config);
    Daemon::launch(dir, command)
}

/// Asks for something that has to succeed; returns its data.
pub fn ask(ws: &mut Ws, action: &str, params: Value) -> Result<Value> {
    let answer = ws.ask(&json!({"action": action, "params": params}).to_string());
    if answer["success"] == true {
        return Ok(answer["data"].clone());
    }
    Err(format!("{action}: {}", answer["error"]).into())
}

/// The kernel's clock of edges, CLOCK_MONOTONIC.
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
