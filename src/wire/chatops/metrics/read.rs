//! Reading a sample. One reader for both forms: every member is taken under each of its names.

use serde_json::value::RawValue;

use super::super::limit;
use super::super::read::{Fault, Field, Read, fields, number, within};
use super::GIB;
use crate::types::fleet::{Container, Cpu, Disk, Interface, Port, Process, Sample, Space, Traffic};
use crate::types::reading::Throttle;

/// More than any disk or memory, in GB.
const MAX_GB: f64 = 8_000_000.0;
/// More than all cores of any machine together.
const MAX_PROCESS_PERCENT: f64 = 1_000_000.0;
const MAX_RATE: f64 = 1e15;
/// More seconds than any machine has run.
const MAX_UPTIME: f64 = 1e12;

/// Reads the object that holds a sample's members: a flat message, or a nested one's `data`.
///
/// # Errors
/// The first member that makes no sense. A time that makes none counts as missing.
pub fn sample(text: &str) -> Read<Sample> {
    let [timestamp, cpu, cpu_percent, memory, memory_percent, swap, disk] =
        fields(text, ["timestamp", "cpu", "cpu_percent", "memory", "memory_percent", "swap", "disk"])?;
    let [disks, disk_usage, network, interfaces, load, temperature, throttled, containers, processes] = fields(
        text,
        [
            "disks",
            "disk_usage",
            "network",
            "interfaces",
            "load",
            "temperature_celsius",
            "throttled",
            "containers",
            "processes",
        ],
    )?;
    let [uptime, synchronised] = fields(text, ["uptime_seconds", "clock_synchronised"])?;
    let mut sample = Sample {
        at: timestamp.time(),
        cpu: cpu.object(cpu_members)?.unwrap_or_default(),
        memory: memory.object(space)?.unwrap_or_default(),
        swap: swap.object(space)?,
        disks: disk_list(disks)?,
        interfaces: interface_list(interfaces)?,
        load: load_averages(load)?,
        temperature_celsius: temperature.number(-273.15, 1000.0)?,
        throttle: throttled.whole(0, u32::MAX.into())?.map(|bits| Throttle { bits: bits as u32 }),
        uptime_seconds: uptime.number(0.0, MAX_UPTIME)?,
        clock_synchronised: synchronised.bool()?,
        containers: containers.list(limit::CONTAINERS, |value| within(value, container))?,
        processes: processes.list(limit::PROCESSES, |value| within(value, process))?,
        ..Sample::default()
    };
    sample.cpu.percent = sample.cpu.percent.or(cpu_percent.percent()?);
    sample.memory.percent = sample.memory.percent.or(memory_percent.percent()?);
    if network.is_list() {
        let list = interface_list(network)?;
        sample.interfaces = sample.interfaces.or(list);
    } else {
        sample.traffic = network.object(traffic)?.unwrap_or_default();
    }
    // The most detailed of the three says it; all of them have to make sense.
    let (flat, root) = (disk_list(disk_usage)?, disk.object(space)?);
    let root = root.filter(|root| *root != Space::default());
    let root = root.map(|space| vec![Disk { path: "/".to_owned(), space }]);
    sample.disks = sample.disks.or(flat).or(root);
    Ok(sample)
}

fn cpu_members(text: &str) -> Read<Cpu> {
    let [percent, cores, per_core, frequency] =
        fields(text, ["usage_percent", "cores", "per_core_percent", "frequency_mhz"])?;
    Ok(Cpu {
        percent: percent.percent()?,
        cores: cores.whole(0, limit::CORES as i64)?.map(|cores| cores as u32),
        per_core_percent: numbers(per_core, limit::CORES, 100.0)?,
        frequency_mhz: frequency.number(0.0, 1_000_000.0)?,
    })
}

/// Nested with sizes in GB, flat with sizes in bytes.
fn space(text: &str) -> Read<Space> {
    let [total_gb, used_gb, available_gb, usage_percent] =
        fields(text, ["total_gb", "used_gb", "available_gb", "usage_percent"])?;
    let [total, used, free, percent] = fields(text, ["total", "used", "free", "percent"])?;
    let gb = |field: Field| Ok(field.number(0.0, MAX_GB)?.map(|gb| (gb * GIB).round() as u64));
    Ok(Space {
        total: gb(total_gb)?.or(total.count()?),
        used: gb(used_gb)?.or(used.count()?),
        available: gb(available_gb)?.or(free.count()?),
        percent: usage_percent.percent()?.or(percent.percent()?),
    })
}

fn disk_list(field: Field) -> Read<Option<Vec<Disk>>> {
    field.list(limit::DISKS, |value| within(value, disk))
}

fn disk(text: &str) -> Read<Disk> {
    let [path] = fields(text, ["path"])?;
    Ok(Disk { path: path.required(path.text(limit::LINE_BYTES)?)?, space: space(text)? })
}

fn traffic(text: &str) -> Read<Traffic> {
    let [bytes_sent, bytes_recv, packets_sent, packets_recv] =
        fields(text, ["bytes_sent", "bytes_recv", "packets_sent", "packets_recv"])?;
    Ok(Traffic {
        bytes_sent: bytes_sent.count()?,
        bytes_received: bytes_recv.count()?,
        packets_sent: packets_sent.count()?,
        packets_received: packets_recv.count()?,
    })
}

fn interface_list(field: Field) -> Read<Option<Vec<Interface>>> {
    field.list(limit::INTERFACES, |value| within(value, interface))
}

fn interface(text: &str) -> Read<Interface> {
    let [name, sent, received] = fields(text, ["interface", "sent_bytes_per_second", "recv_bytes_per_second"])?;
    Ok(Interface {
        name: name.required(name.text(limit::NAME_BYTES)?)?,
        traffic: traffic(text)?,
        sent_rate: sent.number(0.0, MAX_RATE)?,
        received_rate: received.number(0.0, MAX_RATE)?,
    })
}

fn load_averages(field: Field) -> Read<Option<[f64; 3]>> {
    let Some(numbers) = numbers(field, 3, 1_000_000.0)? else { return Ok(None) };
    let three = numbers.try_into().map_err(|_| field.fault("must be three numbers: over 1, 5 and 15 minutes"))?;
    Ok(Some(three))
}

fn numbers(field: Field, max_elements: usize, max: f64) -> Read<Option<Vec<f64>>> {
    let read = |value: &RawValue| number(value, 0.0, max).map_err(|what| Fault::new("", what));
    field.list(max_elements, read)
}

fn container(text: &str) -> Read<Container> {
    let [id, name, image, status, state, created, ports] =
        fields(text, ["id", "name", "image", "status", "state", "created", "ports"])?;
    Ok(Container {
        id: id.required(id.text(limit::NAME_BYTES)?)?,
        name: name.text(limit::NAME_BYTES)?.unwrap_or_default(),
        image: image.text(limit::LINE_BYTES)?,
        status: status.text(limit::NAME_BYTES)?,
        state: state.text(limit::NAME_BYTES)?,
        created: created.text(limit::NAME_BYTES)?,
        ports: ports.list(limit::PORTS, |value| within(value, port))?.unwrap_or_default(),
    })
}

fn port(text: &str) -> Read<Port> {
    let [private, public, kind] = fields(text, ["private_port", "public_port", "type"])?;
    let number = |field: Field| Ok(field.whole(0, u16::MAX.into())?.map(|port| port as u16));
    Ok(Port {
        private: private.required(number(private)?)?,
        // Docker's Go types say 0 for "not published".
        public: number(public)?.filter(|port| *port != 0),
        kind: kind.text(limit::NAME_BYTES)?,
    })
}

fn process(text: &str) -> Read<Process> {
    let [pid, name, cpu, memory, status, user] = fields(text, ["pid", "name", "cpu", "memory", "status", "user"])?;
    Ok(Process {
        pid: pid.required(pid.whole(0, u32::MAX.into())?)? as u32,
        name: name.cut(limit::NAME_BYTES)?.map(|(name, _)| name).unwrap_or_default(),
        cpu_percent: cpu.number(0.0, MAX_PROCESS_PERCENT)?,
        memory_mib: memory.number(0.0, MAX_GB * 1024.0)?,
        status: status.text(limit::NAME_BYTES)?,
        user: user.text(limit::NAME_BYTES)?,
    })
}
