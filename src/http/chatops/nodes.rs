//! Nodes, and what this machine tells of itself, in Pi-Controller's forms.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::clusters::{NO_KUBERNETES, NO_NODE, done, envelope, error, json, told};
use crate::actions::gpio;
use crate::auth::Principal;
use crate::nodes::OWN;
use crate::rt::{clock, process};
use crate::types::fleet::Node;
use crate::wire::clusters::{self as wire, Page};

/// `parts` comes after `nodes`.
pub fn nodes(rooms: &Rooms, asked: &Asked, who: &Principal, parts: &[&str]) -> Reply {
    match (&asked.method, parts) {
        (Method::Post, []) => {
            told(wire::new_node(&asked.body), |wish| rooms.nodes.add_node(&wish).map(|node| one(asked, 201, &node)))
        }
        (_, []) => match Page::read(&asked.query) {
            Ok(page) => {
                let all = seen(rooms, who, rooms.nodes.all());
                json(200, |out| wire::nodes(out, page.of(&all), all.len(), page))
            }
            Err(text) => error(400, &text),
        },
        (_, [id, rest @ ..]) => node(rooms, asked, who, id, rest),
    }
}

fn node(rooms: &Rooms, asked: &Asked, who: &Principal, id: &str, parts: &[&str]) -> Reply {
    let Some(known) = rooms.nodes.node(id).filter(|node| sees(rooms, who, node)) else {
        return match id.bytes().all(|b| b.is_ascii_digit()) {
            true => error(404, NO_NODE),
            false => error(400, "Invalid node ID"),
        };
    };
    match (&asked.method, parts) {
        (Method::Put, []) => told(wire::node_wish(&asked.body), |wish| {
            rooms.nodes.change_node(id, &wish).map(|node| one(asked, 200, &node))
        }),
        (Method::Delete, []) => done(rooms.nodes.remove_node(id)),
        (_, []) => one(asked, 200, &known),
        (_, ["gpio"]) if known.id == OWN => lines(rooms, asked, who),
        (_, ["gpio"]) => error(501, "only this device's own lines are listed here; ask the other device itself"),
        _ => error(501, NO_KUBERNETES),
    }
}

/// Whether a node is there for who asks: a server's is where its server is. This device, and what no agent speaks for, is
/// there for everyone.
pub fn sees(rooms: &Rooms, who: &Principal, node: &Node) -> bool {
    let Some(server) = node.server_id.as_deref().filter(|_| node.id != OWN) else { return true };
    who.may_see(rooms.fleet.server(server).and_then(|server| server.owner).as_deref())
}

/// Those that are there for who asks.
pub fn seen(rooms: &Rooms, who: &Principal, mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.retain(|node| sees(rooms, who, node));
    nodes
}

pub fn one(asked: &Asked, status: u16, node: &Node) -> Reply {
    json(status, |out| wire::enveloped(out, envelope(asked), |out| wire::node(out, node)))
}

fn lines(rooms: &Rooms, asked: &Asked, who: &Principal) -> Reply {
    match gpio::report_all(&rooms.desk.gpio, &asked.caller_with(who.rights().cloned())) {
        Ok(lines) => {
            let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
            json(200, |out| wire::lines(out, OWN, &lines))
        }
        Err(error_of_line) => error(crate::dispatch::status(&error_of_line), &error_of_line.to_string()),
    }
}

/// `GET /system/info` and `/system/metrics`: of the machine, and of this process.
pub fn system(rooms: &Rooms, parts: &[&str]) -> Reply {
    let telemetry = &rooms.desk.telemetry;
    let (platform, memory) = (telemetry.platform().ok(), telemetry.memory().ok());
    let platform = platform.as_ref();
    let info = wire::Info {
        version: env!("CARGO_PKG_VERSION"),
        node_id: &rooms.node_id,
        os: platform.map_or("", |platform| &platform.os_name),
        os_version: platform.map_or("", |platform| &platform.os_version),
        architecture: platform.map_or(std::env::consts::ARCH, |platform| &platform.machine),
        model: platform.and_then(|platform| platform.model.as_deref()),
        cpu_count: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads: telemetry.own_threads().unwrap_or(0),
        memory_total: memory.as_ref().map(|memory| memory.total_kib * 1024),
        memory_available: memory.as_ref().map(|memory| memory.available_kib * 1024),
        uptime_seconds: clock::now().duration_since(rooms.desk.started).as_secs_f64(),
        now: clock::wall(),
    };
    match parts {
        [_, "metrics"] => {
            let (virtual_size, resident) = process::memory_bytes().unzip();
            json(200, |out| wire::metrics(out, &info, resident, virtual_size))
        }
        _ => json(200, |out| wire::info(out, &info)),
    }
}
