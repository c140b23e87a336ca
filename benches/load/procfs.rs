//! What the kernel knows about a server, and about the machine.
//!
//! | what | from | unit |
//! |---|---|---|
//! | CPU time | `/proc/PID/task/*/schedstat`, else `/proc/PID/stat` | ns, else clock ticks |
//! | resident memory | `/proc/PID/smaps_rollup`, else `VmRSS` of `/proc/PID/status` | KiB |
//! | context switches | `/proc/PID/task/*/status` | count |

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::system::uname;

use crate::Result;

/// CPU time of all living threads of a process. Threads that have ended are not in it: it is for differences
/// over a time in which none ends.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let nanoseconds = sum_over_threads(pid, "schedstat", |text| text.split(' ').next()?.parse().ok());
    match nanoseconds {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        // Kernels without scheduler statistics have no such file, or zeros in it.
        _ => cpu_time_in_ticks(pid),
    }
}

/// CPU time of a process with all its threads, those that have ended too; in clock ticks, so for longer times.
pub fn whole_cpu_time(pid: u32) -> Result<Duration> {
    cpu_time_in_ticks(pid)
}

/// Resident memory of a process. The kernel keeps `VmRSS` in counters per thread or per CPU that lag behind, by more
/// than is to be measured here once there are a thousand threads; the roll-up walks the page tables.
pub fn rss_kib(pid: u32) -> Result<f64> {
    let exact = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let kib = match exact.as_deref().and_then(|text| field(text, "Rss:")) {
        Some(kib) => Some(kib),
        None => field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:"),
    };
    kib.map(|kib| kib as f64).ok_or_else(|| format!("no resident size of process {pid}").into())
}

/// What of the resident memory is the process's own: without the program and the libraries, whose pages the kernel maps
/// from its cache, many around each that is used, and takes back when it likes.
pub fn own_kib(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = field(&text, "Anonymous:").ok_or_else(|| format!("no anonymous size of process {pid}"))?;
    Ok(kib as f64)
}

/// How often the threads of a process left a CPU, of their own will or not: each time they had been woken before.
pub fn context_switches(pid: u32) -> Result<u64> {
    sum_over_threads(pid, "status", |text| {
        Some(field(text, "voluntary_ctxt_switches:")? + field(text, "nonvoluntary_ctxt_switches:")?)
    })
}

/// One line about the machine the figures come from.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpu = named("model name").or_else(|| named("Model")).unwrap_or_else(|| "CPU of unknown model".to_owned());
    // Not `available_parallelism`: this process has pinned itself.
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cpu}, {cpus} CPUs, Linux {}", uname().release().to_string_lossy())
}

/// How busy the machine was of late, by others too: over 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// User and system time, fields 14 and 15; counted behind the command name, which may contain anything.
fn cpu_time_in_ticks(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = behind_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Adds up what `value` finds in a file of each thread; a thread that ends meanwhile is left out.
fn sum_over_threads(pid: u32, file: &str, value: impl Fn(&str) -> Option<u64>) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Ok(text) = fs::read_to_string(thread?.path().join(file)) {
            sum += value(&text).ok_or_else(|| format!("{file} of a thread: {text:?} was not expected"))?;
        }
    }
    Ok(sum)
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
