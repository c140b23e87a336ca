//! The daemon itself.

use super::route::*;
use super::schema::*;
use super::shared::*;

pub const ROUTES: &[Route] = &[
    Route::get("/", "front", "The live page for browsers, a banner for programs")
        .open()
        .answers(&[answer(200, "HTML where `Accept` names `text/html`, else JSON", &[json(model(&BANNER)), HTML])])
        .tag("daemon"),
    Route::head("/", "frontHead", "Whether there is a front page")
        .open()
        .answers(&[answer(200, "As GET, without the body", &[])])
        .tag("daemon"),
    Route::get("/health", "health", "That the daemon runs, since when, and what drives its pins")
        .open()
        .answers(&[answer(200, "It runs", &[json(model(&HEALTH))])])
        .tag("daemon"),
    Route::head("/health", "healthHead", "That the daemon runs")
        .open()
        .answers(&[answer(200, "As GET, without the body", &[])])
        .tag("daemon"),
    Route::get("/ready", "ready", "That the daemon serves")
        .open()
        .answers(&[answer(200, "It serves", &[json(model(&READY))])])
        .tag("daemon"),
    Route::head("/ready", "readyHead", "That the daemon serves")
        .open()
        .answers(&[answer(200, "As GET, without the body", &[])])
        .tag("daemon"),
    Route::get("/docs", "docs", "This description, for people")
        .open()
        .answers(&[answer(200, "A page", &[HTML])])
        .tag("daemon"),
    Route::get("/openapi.json", "openapi", "This description, for programs")
        .open()
        .answers(&[answer(
            200,
            "An OpenAPI 3.0 document",
            &[json(open_object(&[
                always("openapi", TEXT),
                always("info", open_object(&[])),
                always("paths", open_object(&[])),
                always("components", open_object(&[])),
            ]))],
        )])
        .tag("daemon"),
    Route::get("/asyncapi.yaml", "asyncapi", "The description of the WebSockets, for programs")
        .open()
        .answers(&[answer(200, "An AsyncAPI 3.0 document", &[YAML])])
        .tag("daemon"),
];

pub const BANNER: Model = Model {
    name: "Banner",
    schema: object(&[
        always("name", words(&["Pinwire"])),
        always("message", TEXT),
        always("version", TEXT),
        always("node_id", TEXT.about("How this device calls itself in events")),
        always("docs", TEXT),
        always("openapi", TEXT),
        always("asyncapi", TEXT),
        always("health", TEXT),
    ]),
};

pub const HEALTH: Model = Model {
    name: "Health",
    schema: object(&[
        always("status", words(&["healthy"])),
        always("timestamp", TIME),
        always("uptime", TEXT.about("Of the daemon, in words").example(r#""2h 3m 4s""#)),
        always("uptime_seconds", COUNT.about("Of the daemon")),
        always("version", TEXT),
        always("node_id", TEXT.about("How this device calls itself in events")),
        always("gpio", model(&BACKEND)),
        always("store", model(&STORE)),
    ]),
};

pub const STORE: Model = Model {
    name: "Store",
    schema: object(&[always("state", words(&["ok", "degraded", "none"])), always("reason", TEXT)]).about(
        "What outlives the process: the API keys. `none` without a `state_dir`; `degraded` \
        where it cannot be read or written, and the daemon goes on from memory, or where what is to be written has \
        waited for seconds",
    ),
};

pub const READY: Model = Model {
    name: "Ready",
    schema: object(&[
        always("status", words(&["ready"])),
        always("timestamp", TIME),
        always(
            "services",
            object(&[always("database", words(&["healthy", "unhealthy"]))])
                .about("`unhealthy`: the store cannot be read or written, and the daemon goes on from memory"),
        ),
    ]),
};
