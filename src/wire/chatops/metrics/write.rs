//! Writing a sample, in each form.

use super::super::write::{Object, float, list};
use super::GIB;
use crate::types::fleet::{Container, Disk, Interface, Port, Process, Sample, Space, Traffic};

/// What a nested sample says of containers and processes nobody looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nothing, to a hub: `null`, as ChatOps' agent without Docker.
    Null,
    /// To browsers and clients of REST, which go through the list without a look.
    EmptyList,
}

/// Appends the nested form: `/latest`, and the `data` of the code's metrics message.
pub fn nested(out: &mut Vec<u8>, server_id: Option<&str>, sample: &Sample, absent: Absent) {
    let object = Object::open(out).text_if("server_id", server_id).time_if("timestamp", sample.at);
    let object = beside(halves(object, sample), sample);
    let object = object.list_if("disks", sample.disks.as_deref(), write_disk);
    let object = object.list_if("interfaces", sample.interfaces.as_deref(), write_interface);
    lists(object, sample, absent).close();
}

/// Appends what browsers get: the documented scalars and the nested form in one object.
pub fn merged(out: &mut Vec<u8>, server_id: &str, sample: &Sample) {
    let object = Object::open(out);
    let object = object.float_if("cpu_percent", sample.cpu.percent).float_if("memory_percent", sample.memory.percent());
    let object = object.list("disk_usage", sample.disks.as_deref().unwrap_or_default(), write_disk);
    let object = object.text("server_id", server_id).time_if("timestamp", sample.at);
    let object = beside(halves(object, sample), sample);
    let object = object.list("interfaces", sample.interfaces.as_deref().unwrap_or_default(), write_interface);
    let object = object.list("containers", sample.containers.as_deref().unwrap_or_default(), write_container);
    object.list("processes", busiest(sample.processes.as_deref().unwrap_or_default()), write_process).close();
}

/// Processes a page is told: an agent may send thousands, every few seconds.
const PUSHED_PROCESSES: usize = 200;

/// Of too many processes those that use the most, half of them by processor time and half by memory; else all, in order.
fn busiest(processes: &[Process]) -> Vec<&Process> {
    let mut all: Vec<&Process> = processes.iter().collect();
    if all.len() > PUSHED_PROCESSES {
        let more = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        all.sort_by(|a, b| more(a.cpu_percent, b.cpu_percent));
        if let Some(rest) = all.get_mut(PUSHED_PROCESSES / 2..) {
            rest.sort_by(|a, b| more(a.memory_mib, b.memory_mib));
        }
        all.truncate(PUSHED_PROCESSES);
    }
    all
}

/// The members of the flat form: `GET /metrics/{id}`, and the documented metrics message. Its arrays are left out
/// towards a hub where nobody looked, so that they stay missing.
pub fn flat_members<'o>(object: Object<'o>, server_id: Option<&str>, sample: &Sample, absent: Absent) -> Object<'o> {
    let object = object.text_if("server_id", server_id);
    let object = object.float_if("cpu_percent", sample.cpu.percent).float_if("memory_percent", sample.memory.percent());
    let empty = absent == Absent::EmptyList;
    let disks = sample.disks.as_deref().or(empty.then_some(&[]));
    let object = object.list_if("disk_usage", disks, write_disk);
    let interfaces = sample.interfaces.as_deref();
    let object = if interfaces.is_none() && sample.traffic != Traffic::default() {
        // An agent that adds all interfaces up is better shown under a name of its own than not at all.
        object.list("network", ["all"], |out, name| {
            write_traffic(Object::open(out).text("interface", name), &sample.traffic).close();
        })
    } else {
        object.list_if("network", interfaces.or(empty.then_some(&[])), write_interface)
    };
    let object = object.time_if("timestamp", sample.at);
    let cpu = &sample.cpu;
    let object = if cpu.cores.is_some() || cpu.per_core_percent.is_some() || cpu.frequency_mhz.is_some() {
        object.object("cpu", |object| write_cpu(object, sample))
    } else {
        object
    };
    let object = match sample.memory {
        Space { total: None, used: None, available: None, .. } => object,
        _ => object.object("memory", |object| write_space(object, &sample.memory)),
    };
    let object = beside(object, sample);
    let object = object.list_if("containers", sample.containers.as_deref(), write_container);
    object.list_if("processes", sample.processes.as_deref(), write_process)
}

/// The four objects of the nested form. They are always there, and hold what is known.
fn halves<'o>(object: Object<'o>, sample: &Sample) -> Object<'o> {
    let disk = sample.main_disk().map(|disk| disk.space).unwrap_or_default();
    object
        .object("cpu", |object| write_cpu(object, sample))
        .object("memory", |object| write_space(object, &sample.memory))
        .object("disk", |object| write_space(object, &disk))
        .object("network", |object| write_traffic(object, &sample.traffic()))
}

/// What neither form of ChatOps has.
fn beside<'o>(object: Object<'o>, sample: &Sample) -> Object<'o> {
    let object = match &sample.swap {
        Some(swap) => object.object("swap", |object| write_space(object, swap)),
        None => object,
    };
    let object = object.list_if("load", sample.load.as_ref().map(|load| &load[..]), |out, load| float(out, *load));
    let object = object.float_if("temperature_celsius", sample.temperature_celsius);
    let object = object.shown_if("throttled", sample.throttle.map(|throttle| throttle.bits));
    let object = object.float_if("uptime_seconds", sample.uptime_seconds);
    object.shown_if("clock_synchronised", sample.clock_synchronised)
}

fn lists<'o>(object: Object<'o>, sample: &Sample, absent: Absent) -> Object<'o> {
    let missing = if absent == Absent::Null { "null" } else { "[]" };
    let object = match &sample.containers {
        Some(containers) => object.list("containers", containers, write_container),
        None => object.raw("containers", missing),
    };
    match &sample.processes {
        Some(processes) => object.list("processes", processes, write_process),
        None => object.raw("processes", missing),
    }
}

fn write_cpu<'o>(object: Object<'o>, sample: &Sample) -> Object<'o> {
    let cpu = &sample.cpu;
    let object = object.float_if("usage_percent", cpu.percent).shown_if("cores", cpu.cores);
    let object = object.shown_if("frequency_mhz", cpu.frequency_mhz.filter(|mhz| mhz.is_finite()));
    object.list_if("per_core_percent", cpu.per_core_percent.as_deref(), |out, percent| float(out, *percent))
}

fn write_space<'o>(object: Object<'o>, space: &Space) -> Object<'o> {
    // Six digits are a KiB; without the cut, 3.7 GB would come back as 3.7000000001862645.
    let gb = |bytes: Option<u64>| bytes.map(|bytes| (bytes as f64 / GIB * 1e6).round() / 1e6);
    object
        .float_if("total_gb", gb(space.total))
        .float_if("used_gb", gb(space.used))
        .float_if("available_gb", gb(space.available))
        .float_if("usage_percent", space.percent())
}

fn write_disk(out: &mut Vec<u8>, disk: &Disk) {
    let space = &disk.space;
    let object = Object::open(out).text("path", &disk.path).shown_if("total", space.total);
    object.shown_if("used", space.used).shown_if("free", space.available).float_if("percent", space.percent()).close();
}

fn write_traffic<'o>(object: Object<'o>, traffic: &Traffic) -> Object<'o> {
    object
        .shown_if("bytes_sent", traffic.bytes_sent)
        .shown_if("bytes_recv", traffic.bytes_received)
        .shown_if("packets_sent", traffic.packets_sent)
        .shown_if("packets_recv", traffic.packets_received)
}

fn write_interface(out: &mut Vec<u8>, interface: &Interface) {
    let object = write_traffic(Object::open(out).text("interface", &interface.name), &interface.traffic);
    let object = object.float_if("sent_bytes_per_second", interface.sent_rate);
    object.float_if("recv_bytes_per_second", interface.received_rate).close();
}

/// Also an element of `GET /docker/{id}/containers`.
fn write_container(out: &mut Vec<u8>, container: &Container) {
    Object::open(out)
        .text("id", &container.id)
        .text("name", &container.name)
        .text_if("image", container.image.as_deref())
        .text_if("status", container.status.as_deref())
        .text_if("state", container.state.as_deref())
        .text_if("created", container.created.as_deref())
        .list("ports", &container.ports, write_port)
        .close();
}

fn write_port(out: &mut Vec<u8>, port: &Port) {
    let object = Object::open(out).shown("private_port", port.private).shown_if("public_port", port.public);
    object.text_if("type", port.kind.as_deref()).close();
}

fn write_process(out: &mut Vec<u8>, process: &Process) {
    Object::open(out)
        .shown("pid", process.pid)
        .text("name", &process.name)
        .float_if("cpu", process.cpu_percent)
        .float_if("memory", process.memory_mib)
        .text_if("status", process.status.as_deref())
        .text_if("user", process.user.as_deref())
        .close();
}

/// Appends the containers of a sample: the body of `GET /docker/{id}/containers`.
pub fn containers(out: &mut Vec<u8>, containers: &[Container]) {
    list(out, containers, write_container);
}
