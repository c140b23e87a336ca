//! Load beside the daemon: a process per CPU that does nothing but compute.

use std::env;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::Result;

/// First argument of a process that is to [`spin`].
pub const FLAG: &str = "--spin";

/// The processes, until it is dropped.
pub struct Busy(Vec<Child>);

impl Busy {
    /// One for each CPU.
    pub fn start() -> Result<Busy> {
        let mut busy = Busy(Vec::new());
        for _ in 0..std::thread::available_parallelism()?.get() {
            busy.0.push(Command::new(env::current_exe()?).arg(FLAG).stdin(Stdio::null()).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Computes until it is killed, at the latest with its parent.
pub fn spin() -> ! {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        std::process::exit(1);
    }
    let mut number = 0u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Of this machine, over the last minute.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
