//! Pi-Controller's REST: clusters, nodes and their lines, as its clients read and write them.
//!
//! What is not known is empty or zero, as in the original: its clients' types have no `null` there. Ids are numbers; the
//! names that events call things by stand beside them.

use std::time::SystemTime;

use super::chatops::read::{Fault, Field, Read, fields, utf8};
use super::chatops::write::Object;
use super::time;
use crate::types::event::NodeStatus;
use crate::types::fleet::{Cluster, ClusterStatus, ClusterWish, Node, NodeFacts, NodeRole, NodeWish};
use crate::types::line::{Bias, Direction, Level};
use crate::types::output::LineReport;

/// The longest text a body may have in one member, in bytes.
const TEXT_BYTES: usize = 4096;

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub offset: usize,
}

impl Page {
    /// Reads `limit` (0 to 1000, by default 50) and `offset`.
    ///
    /// # Errors
    /// What is wrong with which.
    pub fn read(query: &str) -> Result<Page, String> {
        let mut page = Page { limit: 50, offset: 0 };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = value.parse::<usize>().ok();
            match &*name {
                "limit" => {
                    let limit = number.filter(|limit| *limit <= 1000);
                    page.limit = limit.ok_or("'limit' must be a whole number from 0 to 1000")?;
                }
                "offset" => page.offset = number.ok_or("'offset' must be a whole number from 0 on")?,
                _ => {}
            }
        }
        Ok(page)
    }

    /// This part of `all`.
    pub fn of<T>(self, all: &[T]) -> &[T] {
        let rest = all.get(self.offset..).unwrap_or_default();
        rest.get(..self.limit).unwrap_or(rest)
    }
}

/// Appends an error. Its text stands where the clients of either family of this API look for it.
pub fn error(out: &mut Vec<u8>, status: u16, message: &str) {
    let short = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    };
    Object::open(out).text("error", short).text("message", message).text("detail", message).close();
}

/// Appends something as it is, or as the member `data` of an object.
pub fn enveloped(out: &mut Vec<u8>, envelope: bool, write: impl FnOnce(&mut Vec<u8>)) {
    match envelope {
        true => Object::open(out).with("data", write).close(),
        false => write(out),
    }
}

/// Appends one page of the clusters; there are `total`.
pub fn clusters(out: &mut Vec<u8>, shown: &[Cluster], total: usize, page: Page) {
    let each = |out: &mut Vec<u8>, item: &Cluster| cluster(out, item, None);
    let object = Object::open(out).list("clusters", shown, each).list("data", shown, each);
    paged(object, shown.len(), total, page).close();
}

/// Appends a cluster, with its nodes where they are given.
pub fn cluster(out: &mut Vec<u8>, cluster: &Cluster, nodes: Option<&[Node]>) {
    let object = Object::open(out)
        .shown("id", cluster.id)
        .text("name", &cluster.name)
        .text("cluster_id", &cluster.name)
        .text("description", &cluster.description)
        .text("status", cluster.status.as_str())
        .text("version", "")
        .with("created_at", |out| stamp(out, cluster.created_at))
        .with("updated_at", |out| stamp(out, cluster.updated_at))
        .raw("deleted_at", "null")
        .text("master_endpoint", "");
    object.list_if("nodes", nodes, node).close();
}

/// Appends a cluster's nodes.
pub fn members(out: &mut Vec<u8>, cluster_id: u32, shown: &[Node], total: usize, page: Page) {
    let object = Object::open(out).list("nodes", shown, node).list("data", shown, node).shown("count", shown.len());
    let object = object.shown("cluster_id", cluster_id).shown("total", total);
    object.shown("limit", page.limit).shown("offset", page.offset).close();
}

/// Appends one page of the nodes; there are `total`.
pub fn nodes(out: &mut Vec<u8>, shown: &[Node], total: usize, page: Page) {
    let object = Object::open(out).list("nodes", shown, node).list("data", shown, node);
    paged(object, shown.len(), total, page).close();
}

fn paged(object: Object<'_>, count: usize, total: usize, page: Page) -> Object<'_> {
    object.shown("count", count).shown("total", total).shown("limit", page.limit).shown("offset", page.offset)
}

/// Appends a node.
pub fn node(out: &mut Vec<u8>, node: &Node) {
    let facts = &node.facts;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Object::open(out)
        .shown("id", node.id)
        .text("name", &node.name)
        .text("node_id", &node.name)
        .text("ip_address", &text(&facts.ip_address))
        .text("mac_address", &text(&facts.mac_address))
        .text("status", node.status.as_str())
        .text("role", node.role.as_str())
        .with("created_at", |out| stamp(out, node.created_at))
        .with("updated_at", |out| stamp(out, node.updated_at))
        .raw("deleted_at", "null")
        .text("architecture", &text(&facts.architecture))
        .text("model", &text(&facts.model))
        .text("serial_number", &text(&facts.serial_number))
        .shown("cpu_cores", facts.cpu_cores.unwrap_or(0))
        .shown("memory", facts.memory.unwrap_or(0))
        .shown_or_null("cluster_id", node.cluster_id)
        .text("kube_version", "")
        .text("node_name", "")
        .text("os_version", &text(&facts.os_version))
        .text("kernel_version", &text(&facts.kernel_version))
        .text_or_null("server_id", node.server_id.as_deref())
        .with("last_seen", |out| match node.last_seen {
            Some(at) => stamp(out, at),
            None => out.extend(b"null"),
        })
        .close();
}

/// Appends the status alone: a JSON string.
pub fn status(out: &mut Vec<u8>, status: ClusterStatus) {
    super::picloud::string(out, status.as_str());
}

/// Appends a node's lines.
pub fn lines(out: &mut Vec<u8>, node_id: u32, lines: &[LineReport]) {
    let each = |out: &mut Vec<u8>, line: &LineReport| device(out, node_id, line);
    let object = Object::open(out).list("gpio_devices", lines, each).list("data", lines, each);
    object.shown("count", lines.len()).shown("total", lines.len()).shown("node_id", node_id).close();
}

fn device(out: &mut Vec<u8>, node_id: u32, line: &LineReport) {
    let state = &line.state;
    let direction = state.direction.map(|direction| match direction {
        Direction::Input => "input",
        Direction::Output => "output",
    });
    let pull = match state.bias {
        Some(Bias::Up) => "up",
        Some(Bias::Down) => "down",
        _ => "none",
    };
    let level = state.level.map(|level| u8::from(level == Level::High));
    Object::open(out)
        .shown("id", line.pin.number())
        .text("name", &line.resource)
        .text("resource", &line.resource)
        .text("description", "")
        .shown("pin_number", line.pin.number())
        .text_or_null("direction", direction)
        .text("pull_mode", pull)
        .shown_or_null("value", level)
        .text("device_type", if state.pwm.is_some() { "pwm" } else { "digital" })
        .text("status", if line.held { "active" } else { "inactive" })
        .shown("node_id", node_id)
        .text_or_null("reserved_by", line.leased_by.as_deref())
        .close();
}

/// What a hub knows of itself.
pub struct Info<'a> {
    pub version: &'a str,
    pub node_id: &'a str,
    pub os: &'a str,
    pub os_version: &'a str,
    pub architecture: &'a str,
    pub model: Option<&'a str>,
    pub cpu_count: usize,
    /// Threads of the process, where Go would count goroutines.
    pub threads: u32,
    pub memory_total: Option<u64>,
    pub memory_available: Option<u64>,
    pub uptime_seconds: f64,
    pub now: SystemTime,
}

/// Appends `GET /system/info`.
pub fn info(out: &mut Vec<u8>, info: &Info<'_>) {
    let uptime = humantime::format_duration(std::time::Duration::from_secs(info.uptime_seconds as u64)).to_string();
    Object::open(out)
        .text("version", info.version)
        .text("node_id", info.node_id)
        .text("os", info.os)
        .text("os_version", info.os_version)
        .text("arch", info.architecture)
        .text_or_null("model", info.model)
        .shown("cpu_count", info.cpu_count)
        .shown("goroutines", info.threads)
        .object("memory", |object| {
            object.shown_or_null("total", info.memory_total).shown_or_null("available", info.memory_available)
        })
        .with("timestamp", |out| stamp(out, info.now))
        .text("uptime", &uptime)
        .close();
}

/// Appends `GET /system/metrics`: this process, memory in bytes.
pub fn metrics(out: &mut Vec<u8>, info: &Info<'_>, resident: Option<u64>, virtual_size: Option<u64>) {
    let unix = info.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Object::open(out)
        .float("uptime_seconds", info.uptime_seconds)
        .shown("goroutines_count", info.threads)
        .shown_or_null("memory_alloc", resident)
        .shown_or_null("memory_sys", virtual_size)
        .shown("timestamp", unix)
        .close();
}

fn stamp(out: &mut Vec<u8>, at: SystemTime) {
    out.push(b'"');
    time::write_millis(out, at);
    out.push(b'"');
}

/// Reads a cluster's body.
///
/// # Errors
/// The member that is wrong.
pub fn cluster_wish(body: &[u8]) -> Result<ClusterWish, String> {
    let read = || -> Read<ClusterWish> {
        let [name, description, status] = fields(utf8(body)?, ["name", "description", "status"])?;
        Ok(ClusterWish {
            name: name.text(TEXT_BYTES)?,
            description: description.text(TEXT_BYTES)?,
            status: status.word(ClusterStatus::WORDS, ClusterStatus::from_word)?,
        })
    };
    read().map_err(|fault| fault.to_string())
}

/// Reads a new cluster's body: it has a name.
///
/// # Errors
/// The member that is wrong or missing.
pub fn new_cluster(body: &[u8]) -> Result<ClusterWish, String> {
    let wish = cluster_wish(body)?;
    if wish.name.is_none() { Err("'name' is missing".into()) } else { Ok(wish) }
}

/// Reads a node's body.
///
/// # Errors
/// The member that is wrong.
pub fn node_wish(body: &[u8]) -> Result<NodeWish, String> {
    let read = || -> Read<NodeWish> {
        let text = utf8(body)?;
        let [name, status, role, ip, mac] = fields(text, ["name", "status", "role", "ip_address", "mac_address"])?;
        let [architecture, model, serial, cores, memory, os, kernel] = fields(
            text,
            ["architecture", "model", "serial_number", "cpu_cores", "memory", "os_version", "kernel_version"],
        )?;
        let cores = cores.whole(0, i64::from(u32::MAX))?.and_then(|n| u32::try_from(n).ok());
        Ok(NodeWish {
            name: name.text(TEXT_BYTES)?,
            status: status.word(&NODE_STATUS, NodeStatus::from_word)?,
            role: role.word(NodeRole::WORDS, NodeRole::from_word)?,
            facts: NodeFacts {
                ip_address: filled(ip)?,
                mac_address: filled(mac)?,
                architecture: filled(architecture)?,
                model: filled(model)?,
                serial_number: filled(serial)?,
                cpu_cores: cores.filter(|n| *n > 0),
                memory: memory.count()?.filter(|n| *n > 0),
                os_version: filled(os)?,
                kernel_version: filled(kernel)?,
            },
        })
    };
    read().map_err(|fault| fault.to_string())
}

/// The words a node's status may be given.
const NODE_STATUS: [&str; 9] =
    ["discovered", "provisioning", "ready", "not_ready", "maintenance", "failed", "offline", "stopping", "unknown"];

/// Text with something in it.
fn filled(field: Field<'_>) -> Read<Option<String>> {
    Ok(field.text(TEXT_BYTES)?.filter(|text| !text.is_empty()))
}

/// Reads a new node's body, which has these four.
///
/// # Errors
/// The member that is wrong or missing.
pub fn new_node(body: &[u8]) -> Result<NodeWish, String> {
    let wish = node_wish(body)?;
    let present = [
        ("name", wish.name.is_some()),
        ("ip_address", wish.facts.ip_address.is_some()),
        ("mac_address", wish.facts.mac_address.is_some()),
        ("role", wish.role.is_some()),
    ];
    match present.iter().find(|(_, present)| !present) {
        Some((missing, _)) => Err(format!("'{missing}' is missing")),
        None => Ok(wish),
    }
}

/// Reads which node is meant: its number or its name.
///
/// # Errors
/// The member is missing or neither.
pub fn member(body: &[u8]) -> Result<String, String> {
    let read = || -> Read<String> {
        let [id] = fields(utf8(body)?, ["node_id"])?;
        if let Ok(Some(number)) = id.whole(0, i64::from(u32::MAX)) {
            return Ok(number.to_string());
        }
        let text = id.text(TEXT_BYTES).map_err(|_| id.fault("must be a node's number or its name"))?;
        id.required(text)
    };
    read().map_err(|fault: Fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_parts_of_the_list_and_bounded() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(Page::read("").expect("the default"), Page { limit: 50, offset: 0 });
        assert_eq!(Page::read("limit=2&offset=3&x=y").expect("a page").of(&all), [4, 5]);
        assert_eq!(Page::read("offset=9").expect("a page").of(&all), [0; 0]);
        assert_eq!(Page::read("limit=0").expect("a page").of(&all), [0; 0]);
        for query in ["limit=1001", "limit=-1", "limit=", "offset=x"] {
            assert!(Page::read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn bodies_name_the_member_that_is_wrong() {
        assert_eq!(new_cluster(br#"{"name":"lab"}"#).expect("a wish").name.as_deref(), Some("lab"));
        for (body, member) in
            [("[]", "object"), ("{}", "name"), (r#"{"name":5}"#, "name"), (r#"{"name":"a","status":"x"}"#, "status")]
        {
            assert!(new_cluster(body.as_bytes()).is_err_and(|error| error.contains(member)), "{body}");
        }
        let node = r#"{"name":"a","ip_address":"10.0.0.1","mac_address":"b8:27:eb:00:00:01","role":"worker"}"#;
        assert!(new_node(node.as_bytes()).is_ok());
        assert_eq!(new_node(node.replace("role", "rule").as_bytes()), Err("'role' is missing".into()));
        assert_eq!(member(br#"{"node_id":7}"#), Ok("7".into()));
        assert_eq!(member(br#"{"node_id":"pi"}"#), Ok("pi".into()));
        assert!(member(br#"{"node_id":[]}"#).is_err() && member(b"{}").is_err() && member(b"\xff").is_err());
        for word in NODE_STATUS {
            assert!(NodeStatus::from_word(word).is_some(), "{word}");
        }
    }
}
