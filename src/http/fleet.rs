//! The paths every system has: the front page, `/health` and `/ready`.

use tiny_http::Method;

use super::{Asked, Reply, Rooms};
use crate::rt::clock;
use crate::store::Health;
use crate::types::features;
use crate::wire::time;

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    if !matches!(asked.method, Method::Get | Method::Head) {
        return Reply::json(405, br#"{"detail":"Method Not Allowed"}"#.to_vec()).with("Allow", "GET, HEAD");
    }
    match asked.path.as_str() {
        "/health" => health(rooms),
        "/ready" => ready(rooms),
        _ if asked.accepts_html => Reply::file("text/html; charset=utf-8", crate::web::PAGE),
        _ => banner(rooms),
    }
}

/// Pi-Controller's and ChatOps' members together, what runs the pins, and how what outlives the process is kept.
fn health(rooms: &Rooms) -> Reply {
    let uptime = clock::now().duration_since(rooms.desk.started);
    let backend = rooms.desk.gpio.backend();
    let (state, reason) = match rooms.store.health() {
        Health::None if !features::HUB.built_in => ("none", features::HUB.needed()),
        Health::None => ("none", "no state_dir is configured".to_owned()),
        Health::Ok => ("ok", "the database in the state directory works".to_owned()),
        Health::Degraded(why) => ("degraded", why),
    };
    let body = serde_json::json!({
        "status": "healthy",
        "timestamp": now(),
        "uptime": humantime::format_duration(std::time::Duration::from_secs(uptime.as_secs())).to_string(),
        "uptime_seconds": uptime.as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": rooms.node_id,
        "gpio": {"backend": backend.name, "simulated": backend.simulated, "reason": backend.why},
        "store": {"state": state, "reason": reason},
    });
    Reply::json(200, body.to_string().into())
}

/// Ready also where the store is not healthy: the daemon serves on from memory.
fn ready(rooms: &Rooms) -> Reply {
    let database = if matches!(rooms.store.health(), Health::Degraded(_)) { "unhealthy" } else { "healthy" };
    let body = serde_json::json!({"status": "ready", "timestamp": now(), "services": {"database": database}});
    Reply::json(200, body.to_string().into())
}

fn banner(rooms: &Rooms) -> Reply {
    let body = serde_json::json!({
        "name": "Pinwire",
        "message": "Pinwire: a Raspberry Pi on the wire",
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": rooms.node_id,
        "docs": "/docs",
        "openapi": "/openapi.json",
        "asyncapi": "/asyncapi.yaml",
        "health": "/health",
    });
    Reply::json(200, body.to_string().into())
}

fn now() -> String {
    let mut out = Vec::new();
    time::write_millis(&mut out, clock::wall());
    String::from_utf8(out).unwrap_or_default()
}
