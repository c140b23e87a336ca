//! The one description of the HTTP API: a table of all routes, from which `/openapi.json` is made, and by which the
//! HTTP side knows what there is: a path that is not in the table is not served.
//!
//! | file | what it is |
//! |---|---|
//! | `schema`, `route`, `names` | the words of the table, and how they are written |
//! | `shared`, `fleet` | what several systems answer, and all routes of the fleet |
//! | the others | the routes of one system each, and the models they speak in |
//! | `about.md` | the document's introduction, for people: what holds for all routes, and the WebSockets |

mod accounts;
mod alerts;
mod clusters;
mod daemon;
mod events;
mod fleet;
mod live;
mod names;
mod pins;
mod route;
mod samples;
mod schema;
mod servers;
mod shared;
mod system;

#[cfg(test)]
mod tests;

use super::chatops::write::Object;
use crate::types::features;
use names::Names;
use route::{Answer, Route};
use schema::Model;

/// All routes, by system, in the order of the document.
const SYSTEMS: &[&[Route]] = &[daemon::ROUTES, system::ROUTES, pins::ROUTES, events::ROUTES, live::ROUTES];

/// And those of a hub.
const HUBS: &[&[Route]] = match features::HUB.built_in {
    true => &[accounts::ROUTES, servers::ROUTES, samples::ROUTES, alerts::ROUTES, clusters::ROUTES],
    false => &[],
};

/// The groups of the document, with what holds for each.
const TAGS: &[(&str, &str)] = &[
    (
        "system",
        "Readings of the machine. What cannot be read is answered 500 with the reason, never \
        with a guess.",
    ),
    ("pins", "The pins of the 40-pin header"),
    ("events", "Publish; to subscribe, open a WebSocket"),
    ("users", "ChatOps: who may log in to the hub. Users see their own servers, administrators all"),
    ("api-keys", "ChatOps: keys of agents"),
    ("servers", "ChatOps: the machines of the fleet"),
    ("metrics", "ChatOps: samples of a server"),
    ("logs", "ChatOps: log entries of a server"),
    ("commands", "ChatOps: commands, which each agent's own configuration allows or denies"),
    ("docker", "ChatOps: a server's containers"),
    ("alerts", "ChatOps: alerts, and the thresholds behind them"),
    ("clusters", "Pi-Controller: named groups of nodes. Ids in paths are numbers or names"),
    ("daemon", "The daemon itself; no key needed"),
];

/// The ways to show a key, the first of which counts.
const SECURITY: &[(&str, &str)] = &[
    ("apiKeyHeader", r#"{"type":"apiKey","in":"header","name":"X-API-Key"}"#),
    (
        "bearer",
        r#"{"type":"http","scheme":"bearer","description":"An API key as the token, or a user's access token"}"#,
    ),
    (
        "apiKeyQuery",
        r#"{"type":"apiKey","in":"query","name":"apiKey","description":"Ends up in logs of proxies; prefer a header"}"#,
    ),
    ("tokenQuery", r#"{"type":"apiKey","in":"query","name":"token","description":"The same under its other name"}"#),
];

fn routes() -> impl Iterator<Item = &'static Route> {
    SYSTEMS.iter().chain(HUBS).copied().flatten()
}

/// Whether there is such a path. A slash at its end is not looked at here.
pub fn knows(path: &str) -> bool {
    routes().any(|route| route.matches(path))
}

/// The methods of a path, in upper case, as `Allow` names them; none where there is no such path.
pub fn methods(path: &str) -> Vec<String> {
    routes().filter(|route| route.matches(path)).map(|route| route.method.to_uppercase()).collect()
}

/// Makes the document. Asked for rarely, so it is not kept.
pub fn document() -> Vec<u8> {
    let mut out = Vec::new();
    let (mut answers, mut models) = (Names::new(), Names::new());
    routes().for_each(|route| collect(route, &mut answers, &mut models));
    let tags = TAGS.iter().filter(|(name, _)| routes().any(|route| route.tag == *name));
    Object::open(&mut out)
        .text("openapi", "3.0.3")
        .object("info", |info| {
            let info = info.text("title", "Pinwire API").text("version", env!("CARGO_PKG_VERSION"));
            let info = info.text("description", include_str!("about.md").trim_end());
            info.object("license", |license| license.text("name", "MIT OR Apache-2.0"))
        })
        .list("servers", ["/"], |out, url| {
            Object::open(out).text("url", url).text("description", "This daemon").close();
        })
        .list("tags", tags, |out, (name, about)| {
            Object::open(out).text("name", name).text("description", about).close();
        })
        .list("security", SECURITY, |out, (name, _)| Object::open(out).raw(name, "[]").close())
        .object("paths", paths)
        .object("components", |components| {
            components
                .object("securitySchemes", |object| {
                    SECURITY.iter().fold(object, |object, (name, way)| object.raw(name, way))
                })
                .object("responses", |object| {
                    answers.iter().fold(object, |object, (name, answer)| object.with(name, |out| answer.write(out)))
                })
                .object("schemas", |object| {
                    models.iter().fold(object, |object, (name, model): (_, &Model)| {
                        object.with(name, |out| model.schema.write(out))
                    })
                })
        })
        .close();
    out
}

/// Notes what the route's bodies are made of.
fn collect(route: &'static Route, answers: &mut Names<Answer>, models: &mut Names<Model>) {
    let bodies = route.body.iter().chain(route.answers.iter().flat_map(|answer| answer.content));
    bodies.for_each(|content| content.schema.collect(models));
    for answer in route.answers.iter().filter(|answer| !answer.name.is_empty()) {
        answers.add(answer.name, answer);
    }
}

/// Every path once, with all its methods.
fn paths(object: Object<'_>) -> Object<'_> {
    let first =
        |route: &&Route| routes().find(|other| other.path == route.path).is_some_and(|other| other.id == route.id);
    routes().filter(first).fold(object, |object, route| {
        object.object(route.path, |object| {
            let mut parameters = route.path_parameters().peekable();
            let object = match parameters.peek() {
                Some(_) => object.list("parameters", parameters, |out, parameter| parameter.write(out)),
                None => object,
            };
            let methods = routes().filter(|other| other.path == route.path);
            methods.fold(object, |object, route| object.with(route.method, |out| route.write(out)))
        })
    })
}
