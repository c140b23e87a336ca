//! Processes before they are servers: which CPU they get, and that they never outlive the bench.
//!
//! A server is not started directly: this executable is started with [`FLAG`], takes the CPU and the death
//! signal for itself, and then becomes the server by `exec`. Both survive `exec` and are there before the server makes
//! its first thread, which the parent could not guarantee from outside.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// First argument of a process that is to become a server: `--launch CPU|any PROGRAM ARGS…`.
pub const FLAG: &str = "--launch";

/// Which CPU each side of a measurement has for itself.
#[derive(Clone, Copy)]
pub struct Cpus {
    pub generator: usize,
    pub server: usize,
}

impl Cpus {
    /// Both on the generator's CPU.
    pub fn shared(self) -> Self {
        Self { server: self.generator, ..self }
    }
}

/// Pins this process, the generator, to the first CPU it may use and keeps the second for the servers.
/// `None`, with a line that says why, where that is impossible.
pub fn pin_generator() -> Option<Cpus> {
    let allowed = match sched_getaffinity(None) {
        Ok(allowed) => allowed,
        Err(error) => {
            println!("not pinned: the CPUs of this process are unknown: {error}");
            return None;
        }
    };
    let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let (Some(generator), Some(server)) = (usable.next(), usable.next()) else {
        println!("not pinned: only one CPU, generator and server share it");
        return None;
    };
    match pin(generator) {
        Ok(()) => Some(Cpus { generator, server }),
        Err(error) => {
            println!("not pinned: CPU {generator} was refused: {error}");
            None
        }
    }
}

/// Raises the soft limit of descriptors to the hard one; a thousand subscribers do not fit into the usual 1,024.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// The arguments that make [`become_program`] out of this executable.
pub fn arguments(cpus: Option<Cpus>) -> [String; 2] {
    [FLAG.to_owned(), cpus.map_or_else(|| "any".to_owned(), |cpus| cpus.server.to_string())]
}

/// Becomes the program named in `args` (`CPU|any PROGRAM ARGS…`); returns only if that failed.
pub fn become_program(args: &[String]) -> io::Result<()> {
    let [cpu, program, args @ ..] = args else {
        return Err(io::Error::other("expected CPU|any PROGRAM ARGS…"));
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Ok(cpu) = cpu.parse() {
        pin(cpu)?;
    }
    Err(Command::new(program).args(args).exec())
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}
