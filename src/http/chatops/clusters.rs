//! Clusters, in Pi-Controller's forms, and who may do what with them and with nodes. `parts` begins with `clusters`,
//! `nodes` or `system`.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::{nodes, who};
use crate::auth::Principal;
use crate::nodes::Refusal;
use crate::store::StoreError;
use crate::types::fleet::{Cluster, Node};
use crate::wire::clusters::{self as wire, Page};

/// What somebody has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Viewer,
    Operator,
    Admin,
}

/// Said of everything that would make a cluster one of Kubernetes.
pub const NO_KUBERNETES: &str =
    "clusters here are named groups of nodes: no Kubernetes is installed or removed, and there is no kubeconfig";

pub fn answer(rooms: &Rooms, asked: &Asked, parts: &[&str]) -> Reply {
    let principal = match who(rooms, asked) {
        Ok(principal) => principal,
        // A scope that is missing, or somebody who has to wait: said with what they need to know.
        Err(reply) if reply.status() != 401 => return reply,
        Err(_) if asked.shown.key().is_none() => return unauthorised("Authorization header is required"),
        Err(_) => return unauthorised("Invalid or expired token"),
    };
    // Names in paths are encoded as in a query, but for three signs.
    let parts: Vec<String> = parts.iter().map(|part| decoded(part)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (allowed, need) = match allowed(&parts, &asked.method) {
        Some(found) => found,
        None => return super::not_found(),
    };
    let Some(need) = need else {
        return error(405, "Method Not Allowed").with("Allow", allowed);
    };
    if let Err(reply) = may(&principal, need) {
        return reply;
    }
    let body = matches!(asked.method, Method::Post | Method::Put);
    let empty = asked.body.is_empty() && parts.last().is_some_and(|last| ACTIONS.contains(last));
    if body && !asked.json && !empty {
        return error(400, "The body is JSON; send Content-Type: application/json");
    }
    match parts.as_slice() {
        ["clusters", rest @ ..] => clusters(rooms, asked, &principal, rest),
        ["nodes", rest @ ..] => nodes::nodes(rooms, asked, &principal, rest),
        _ => nodes::system(rooms, &parts),
    }
}

/// Said of a node that is not there for who asks.
pub const NO_NODE: &str = "Node not found";

/// What has no body that matters.
const ACTIONS: [&str; 4] = ["provision", "deprovision", "cluster-token", "kubeconfig"];

/// The methods of a path, and what somebody has to be for this one. `None`: no such path; and no need: no such method.
fn allowed(parts: &[&str], method: &Method) -> Option<(&'static str, Option<Need>)> {
    let read = (Method::Get, Need::Viewer);
    let (allow, table): (&'static str, &[(Method, Need)]) = match parts {
        ["clusters"] | ["nodes"] => ("GET, POST", &[read, (Method::Post, Need::Operator)]),
        ["clusters" | "nodes", _] => {
            ("GET, PUT, DELETE", &[read, (Method::Put, Need::Operator), (Method::Delete, Need::Admin)])
        }
        ["clusters", _, "nodes"] => ("GET, POST", &[read, (Method::Post, Need::Operator)]),
        ["clusters", _, "nodes", _] => ("DELETE", &[(Method::Delete, Need::Operator)]),
        ["clusters", _, "status"] | ["nodes", _, "gpio"] | ["system", "info" | "metrics"] => ("GET", &[read]),
        ["clusters" | "nodes", _, action] if ACTIONS.contains(action) => ("POST", &[(Method::Post, Need::Operator)]),
        _ => return None,
    };
    let method = if *method == Method::Head { &Method::Get } else { method };
    Some((allow, table.iter().find(|(known, _)| known == method).map(|(_, need)| *need)))
}

fn may(principal: &Principal, need: Need) -> Result<(), Reply> {
    let (may, role) = match need {
        Need::Viewer => (!matches!(principal, Principal::Agent { .. }), "viewer"),
        Need::Operator => (principal.may_change(), "operator"),
        Need::Admin => (principal.is_admin(), "admin"),
    };
    if may { Ok(()) } else { Err(error(403, &format!("Requires {role} role"))) }
}

fn clusters(rooms: &Rooms, asked: &Asked, who: &Principal, parts: &[&str]) -> Reply {
    match (&asked.method, parts) {
        (Method::Post, []) => told(wire::new_cluster(&asked.body), |wish| {
            rooms.nodes.add_cluster(&wish).map(|cluster| one(asked, 201, &cluster, None))
        }),
        (_, []) => match Page::read(&asked.query) {
            Ok(page) => {
                let all = rooms.nodes.clusters();
                json(200, |out| wire::clusters(out, page.of(&all), all.len(), page))
            }
            Err(text) => error(400, &text),
        },
        (_, [id, rest @ ..]) => cluster(rooms, asked, who, id, rest),
    }
}

fn cluster(rooms: &Rooms, asked: &Asked, who: &Principal, id: &str, parts: &[&str]) -> Reply {
    let Some(known) = rooms.nodes.cluster(id) else {
        return match id.bytes().all(|b| b.is_ascii_digit()) {
            true => error(404, "Cluster not found"),
            false => error(400, "Invalid cluster ID"),
        };
    };
    let page = || Page::read(&asked.query);
    let members = || nodes::seen(rooms, who, rooms.nodes.members(known.id));
    let hidden = |id: &str| rooms.nodes.node(id).is_some_and(|node| !nodes::sees(rooms, who, &node));
    match (&asked.method, parts) {
        (Method::Put, []) => told(wire::cluster_wish(&asked.body), |wish| {
            rooms.nodes.change_cluster(id, &wish).map(|cluster| one(asked, 200, &cluster, None))
        }),
        (Method::Delete, []) => done(rooms.nodes.remove_cluster(id)),
        (_, []) => one(asked, 200, &known, Some(&members())),
        (Method::Post, ["nodes"]) => told(wire::member(&asked.body), |node| {
            if hidden(&node) {
                return Err(Refusal::Missing(NO_NODE));
            }
            rooms.nodes.join(id, &node).map(|node| nodes::one(asked, 200, &node))
        }),
        (Method::Delete, ["nodes", node]) if hidden(node) => error(404, NO_NODE),
        (Method::Delete, ["nodes", node]) => done(rooms.nodes.part(id, node)),
        (_, ["nodes"]) => match page() {
            Ok(page) => {
                let all = members();
                json(200, |out| wire::members(out, known.id, page.of(&all), all.len(), page))
            }
            Err(text) => error(400, &text),
        },
        (_, ["status"]) => json(200, |out| wire::status(out, known.status)),
        _ => error(501, NO_KUBERNETES),
    }
}

fn one(asked: &Asked, status: u16, cluster: &Cluster, nodes: Option<&[Node]>) -> Reply {
    json(status, |out| wire::enveloped(out, envelope(asked), |out| wire::cluster(out, cluster, nodes)))
}

/// Whether a single object is to stand in `data`.
pub fn envelope(asked: &Asked) -> bool {
    form_urlencoded::parse(asked.query.as_bytes()).any(|(name, value)| name == "envelope" && value == "data")
}

/// Does something with what was read of a body.
pub fn told<T>(read: Result<T, String>, act: impl FnOnce(T) -> Result<Reply, Refusal>) -> Reply {
    match read {
        Ok(wish) => act(wish).unwrap_or_else(|refusal| refused(&refusal)),
        Err(text) => error(400, &text),
    }
}

pub fn done(outcome: Result<(), Refusal>) -> Reply {
    match outcome {
        Ok(()) => Reply::json(204, Vec::new()),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::Missing(_) => 404,
        Refusal::Invalid(_) => 400,
        Refusal::Conflict(_) | Refusal::Store(StoreError::Conflict(_)) => 409,
        Refusal::Store(StoreError::Busy) => 503,
        Refusal::Store(StoreError::Unwritable(_)) => 507,
        Refusal::Store(StoreError::Sql(_)) => 500,
    };
    error(status, &refusal.to_string())
}

pub fn error(status: u16, text: &str) -> Reply {
    json(status, |out| wire::error(out, status, text))
}

fn unauthorised(text: &str) -> Reply {
    error(401, text).with("WWW-Authenticate", "Bearer")
}

pub fn json(status: u16, write: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let mut body = Vec::new();
    write(&mut body);
    Reply::json(status, body)
}

fn decoded(part: &str) -> String {
    let plain = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
