//! One sample of a machine's state. What is not known is missing, never zero.

use std::time::SystemTime;

use crate::types::reading::Throttle;

/// Everything an agent measured at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The agent's clock.
    pub at: Option<SystemTime>,
    pub cpu: Cpu,
    pub memory: Space,
    pub swap: Option<Space>,
    /// Every real disk, or only `/`.
    pub disks: Option<Vec<Disk>>,
    /// All interfaces together, where an agent says no more (see [`Sample::traffic`]).
    pub traffic: Traffic,
    pub interfaces: Option<Vec<Interface>>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    pub temperature_celsius: Option<f64>,
    pub throttle: Option<Throttle>,
    /// Since boot, time spent suspended included.
    pub uptime_seconds: Option<f64>,
    /// Whether somebody keeps the machine's clock right.
    pub clock_synchronised: Option<bool>,
    /// `None` without Docker.
    pub containers: Option<Vec<Container>>,
    pub processes: Option<Vec<Process>>,
}

impl Sample {
    /// The disk that stands for the machine: `/`, or the first.
    pub fn main_disk(&self) -> Option<&Disk> {
        let disks = self.disks.as_deref()?;
        disks.iter().find(|disk| disk.path == "/").or(disks.first())
    }

    /// All interfaces together: as the agent says, or the sum where every interface knows.
    pub fn traffic(&self) -> Traffic {
        let sum = |of: fn(&Traffic) -> Option<u64>| {
            let interfaces = self.interfaces.as_deref().filter(|interfaces| !interfaces.is_empty())?;
            interfaces.iter().try_fold(0u64, |sum, interface| Some(sum.saturating_add(of(&interface.traffic)?)))
        };
        let known = &self.traffic;
        Traffic {
            bytes_sent: known.bytes_sent.or_else(|| sum(|traffic| traffic.bytes_sent)),
            bytes_received: known.bytes_received.or_else(|| sum(|traffic| traffic.bytes_received)),
            packets_sent: known.packets_sent.or_else(|| sum(|traffic| traffic.packets_sent)),
            packets_received: known.packets_received.or_else(|| sum(|traffic| traffic.packets_received)),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Of all cores together, 0 to 100.
    pub percent: Option<f64>,
    pub cores: Option<u32>,
    pub per_core_percent: Option<Vec<f64>>,
    pub frequency_mhz: Option<f64>,
}

/// Memory, swap, or a disk; in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Space {
    pub total: Option<u64>,
    pub used: Option<u64>,
    /// What programs may still have; less than the rest where some is reserved.
    pub available: Option<u64>,
    /// As measured (see [`Space::percent`]).
    pub percent: Option<f64>,
}

impl Space {
    /// How full it is, 0 to 100: as measured, or from used and total.
    pub fn percent(&self) -> Option<f64> {
        let counted = || match (self.used, self.total) {
            (Some(used), Some(total)) if total > 0 && used <= total => Some(used as f64 / total as f64 * 100.0),
            _ => None,
        };
        self.percent.or_else(counted)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Where it is mounted.
    pub path: String,
    pub space: Space,
}

/// Counters since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
    pub packets_sent: Option<u64>,
    pub packets_received: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    pub name: String,
    pub traffic: Traffic,
    /// Bytes per second since the sample before.
    pub sent_rate: Option<f64>,
    pub received_rate: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: Option<String>,
    /// Docker's sentence, e.g. `Up 2 hours`.
    pub status: Option<String>,
    /// Docker's word, e.g. `running`.
    pub state: Option<String>,
    /// As Docker wrote it.
    pub created: Option<String>,
    pub ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub private: u16,
    pub public: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub kind: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// Of one core: more than 100 with several threads.
    pub cpu_percent: Option<f64>,
    /// Resident, in MiB.
    pub memory_mib: Option<f64>,
    pub status: Option<String>,
    pub user: Option<String>,
}

/// One point of a server's history: the mean of the samples in its step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where the step begins.
    pub at: SystemTime,
    /// How many samples it stands for.
    pub samples: u32,
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
    pub disk_percent: Option<f64>,
    pub temperature_celsius: Option<f64>,
    pub load_1m: Option<f64>,
    /// Counters at the step's end.
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
}

impl Point {
    /// One sample as a point; `received` is when the hub got it, for samples that do not say when they were taken.
    pub fn of(sample: &Sample, received: SystemTime) -> Point {
        let traffic = sample.traffic();
        Point {
            at: sample.at.unwrap_or(received),
            samples: 1,
            cpu_percent: sample.cpu.percent,
            memory_percent: sample.memory.percent(),
            disk_percent: sample.main_disk().and_then(|disk| disk.space.percent()),
            temperature_celsius: sample.temperature_celsius,
            load_1m: sample.load.map(|load| load[0]),
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_missing_and_sums_need_all_parts() {
        let interface = |name: &str, sent: Option<u64>| Interface {
            name: name.into(),
            traffic: Traffic { bytes_sent: sent, ..Default::default() },
            sent_rate: None,
            received_rate: None,
        };
        let mut sample = Sample::default();
        assert_eq!((sample.traffic(), sample.main_disk()), (Traffic::default(), None));
        sample.interfaces = Some(Vec::new());
        assert_eq!(sample.traffic().bytes_sent, None);
        sample.interfaces = Some(vec![interface("lo", Some(1)), interface("eth0", Some(u64::MAX))]);
        assert_eq!(sample.traffic().bytes_sent, Some(u64::MAX));
        sample.interfaces = Some(vec![interface("lo", Some(1)), interface("eth0", None)]);
        assert_eq!(sample.traffic().bytes_sent, None);
        assert_eq!(Space { total: Some(0), used: Some(0), ..Default::default() }.percent(), None);
        assert_eq!(Space { total: Some(4), used: Some(1), ..Default::default() }.percent(), Some(25.0));
    }
}
