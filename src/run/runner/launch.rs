//! The launcher: our own binary once more, in the process that becomes the command.
//!
//! Limits, user and the rest are set by this process for itself and then kept across `exec`, so that nothing has to run
//! between `fork` and `exec`, which could not be done safely.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, set_parent_process_death_signal, setrlimit};
use rustix::thread::{
    clear_ambient_capability_set, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::spec::Spec;

/// What a command finds in its environment, besides HOME.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// Out of 1,000: how much more readily a command is killed for want of memory than others.
const OOM_SCORE: &str = "500";

/// Becomes the command that the keeper describes on standard input; only a failure comes back, and is told there.
pub fn main() -> u8 {
    let Ok(mut keeper) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin().as_fd(), 3).map(UnixStream::from) else {
        return 1;
    };
    let why = match Spec::receive(&mut keeper).and_then(|spec| become_it(&spec)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // The keeper reads to the end; without a reader there is nobody to tell.
    let _ = keeper.write_all(why.to_string().as_bytes());
    1
}

fn become_it(spec: &Spec) -> io::Result<std::convert::Infallible> {
    let step = |what: &'static str| move |error: rustix::io::Errno| io::Error::other(format!("{what}: {error}"));
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing).map_err(step("standard input"))?;

    // Where memory is short the kernel takes the command, not the daemon. It is no loss where it cannot be said.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);

    let limits = &spec.limits;
    let cpu = limits.cpu_time.map(|time| time.as_secs());
    for (resource, limit) in [
        (Resource::Nproc, limits.processes),
        (Resource::As, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Cpu, cpu),
        (Resource::Core, Some(0)),
    ] {
        if let Some(limit) = limit {
            let most = rustix::process::getrlimit(resource).maximum;
            let limit = Some(most.map_or(limit, |most| most.min(limit)));
            setrlimit(resource, Rlimit { current: limit, maximum: limit }).map_err(step("limits"))?;
        }
    }
    if let Some((uid, gid, groups)) = &spec.identity.become_ {
        // This process has one thread, so it is all of it that changes.
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups).map_err(step("groups"))?;
        let gid = Gid::from_raw(*gid);
        set_thread_res_gid(gid, gid, gid).map_err(step("group"))?;
        let uid = Uid::from_raw(*uid);
        set_thread_res_uid(uid, uid, uid).map_err(step("user"))?;
    }
    // Those a service manager has given to the daemon are not for its commands.
    clear_ambient_capability_set().map_err(step("capabilities"))?;
    set_no_new_privs(true).map_err(step("no new privileges"))?;
    // After the user, whose change would undo it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("the end with the keeper"))?;
    std::env::set_current_dir(&spec.directory)
        .map_err(|error| io::Error::other(format!("directory '{}': {error}", spec.directory)))?;
    let (program, arguments) = spec.argv.split_first().ok_or_else(|| io::Error::other("no program"))?;
    let error =
        Command::new(program).args(arguments).env_clear().envs(ENVIRONMENT).env("HOME", &spec.identity.home).exec();
    let hint = match error.kind() {
        io::ErrorKind::WouldBlock => "; its user has as many processes as commands.max_processes allows",
        _ => "",
    };
    Err(io::Error::other(format!("'{program}' cannot be started: {error}{hint}")))
}
