//! PiCloud's publish.

use super::live::EPOCH;
use super::route::*;
use super::schema::*;

pub const ROUTES: &[Route] = &[Route::post("/publish", "publish", "Publish an event to all who subscribed to it")
    .about(
        "PiCloud's publish. Names under `gpio.`, `node.`, `cluster.`, `system.`, `telemetry.`, \
        `agent.` and `presence.` are the daemon's own. The `Content-Type` is ignored, and names of \
        members are taken in any case.",
    )
    .takes(&[
        in_header("X-API-Client-Name", TEXT, "Who publishes; here or in the query.").example("doorbell"),
        in_query("clientName", TEXT, "Who publishes; here or in the header, which counts first."),
        in_query(
            "ack",
            words(&["1", "true", "0", "false"]),
            "Answer what became of it; `ack` of the body does the same.",
        ),
    ])
    .body(&[json(model(&PUBLICATION)).example(r#"{"event":"door","data":"open"}"#)])
    .answers(&[
        answer(
            201,
            "Taken: it is on its way to the subscribers, and the body is empty. Where an answer was asked for, it was \
            sent to them; an event of a durable topic is on the disk then.",
            &[json(model(&RECEIPT)), text(TEXT)],
        ),
        answer(
            400,
            "A body that is no publication, or a name that is the daemon's own",
            &[text(TEXT.example(r#""Bad request: 'event' is missing or empty\n""#))],
        ),
        answer(401, "No key or a wrong one, or no client name", &[text(TEXT.example(r#""Invalid client name\n""#))]),
        answer(403, "The key's scopes do not have this name", &[text(TEXT)]),
        answer(
            429,
            "Too many wrong keys have come from this address; `Retry-After` says when the next \
            one is looked at",
            &[text(TEXT)],
        ),
        answer(503, "Not published: the store is busy with events of durable topics", &[text(TEXT)]),
        answer(504, "The disk does not end with it; it may still be kept, and is delivered then", &[text(TEXT)]),
        answer(507, "Not published: the disk is full, or may not be written", &[text(TEXT)]),
    ])
    .tag("events")];

pub const RECEIPT: Model = Model {
    name: "Receipt",
    schema: object(&[
        always("status", words(&["accepted", "durable"]).about("`durable`: it outlives the daemon")),
        always("epoch", EPOCH),
        always("offset", COUNT.about("Its place in the sequence")),
    ]),
};

pub const PUBLICATION: Model = Model {
    name: "Publication",
    schema: open_object(&[
        always("event", TEXT.about("Its name, as subscribers know it; at most 256 bytes").least(1)),
        maybe("data", TEXT.about("Any text; empty if left out").nullable()),
        maybe("action", TEXT.about("Passed on instead of `publish`").nullable()),
        maybe("created_at", TIME.about("Passed on instead of the time of receipt").nullable()),
        maybe("ack", FLAG.about("Answer what became of it").nullable()),
    ])
    .about("Members of other names are ignored"),
};
