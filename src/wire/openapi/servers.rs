//! Servers, their logs, commands and containers.

use super::fleet::*;
use super::route::*;
use super::samples::CONTAINER;
use super::schema::*;
use crate::types::fleet::{Health, LogLevel, LogSource, ServerStatus};

const TAG: &str = "servers";
const LOGS: &str = "logs";
const COMMANDS: &str = "commands";
const DOCKER: &str = "docker";

pub const ROUTES: &[Route] = &[
    Route::get("/api/v1/servers", "servers", "My servers")
        .about("Administrators get everybody's.")
        .takes(&[SKIP, LIMIT])
        .answers(&[
            answer(200, "The servers", &[json(list(&model(&SERVER)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::post("/api/v1/servers", "makeServer", "Enter a server")
        .about("Its agent needs a key: `POST /api/v1/api-keys`.")
        .body(&[json(model(&NEW_SERVER)).example(r#"{"name":"greenhouse"}"#)])
        .answers(&[
            answer(201, "Entered", &[json(model(&SERVER))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            FULL,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::get("/api/v1/servers/{server_id}", "server", "One server")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(200, "The server", &[json(model(&SERVER))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::put("/api/v1/servers/{server_id}", "changeServer", "Change a server")
        .about("What is there changes; null takes `host`, `port` or `metadata` away.")
        .takes(&[SERVER_IN_PATH])
        .body(&[json(model(&SERVER_CHANGE))])
        .answers(&[
            answer(200, "The server, changed", &[json(model(&SERVER))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::delete("/api/v1/servers/{server_id}", "deleteServer", "Forget a server")
        .about("With its keys, samples, logs, thresholds and alerts. Its agent's socket is closed.")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(204, "Gone", &[]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::post("/api/v1/servers/{server_id}/health", "serverHealth", "How a server is")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(200, "Its health, and why", STATUS_BODY),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::get("/api/v1/servers/{server_id}/events", "serverEvents", "What happened on a server, oldest first")
        .about("Its device's own events, as its agent handed them over: pins, leases, its system.")
        .takes(&[
            SERVER_IN_PATH,
            in_query("since", COUNT.max(9_007_199_254_740_992.0), "Only those behind the event of this `id`"),
            LIMIT,
        ])
        .answers(&[
            answer(200, "The events", &[json(list(&model(&DEVICE_EVENT)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::post("/api/v1/servers/{server_id}/actions", "serverAction", "Ask a server's device something")
        .about(
            "The body is a message as on the WebSocket `/` of the device itself, and so is the \
            answer. Only agents of this program know how.",
        )
        .takes(&[SERVER_IN_PATH, in_query("timeout", SECONDS, "Seconds to wait; 10 if left out")])
        .body(&[json(open_object(&[always("action", TEXT)])).example(r#"{"action":"READ_TEMPERATURE"}"#)])
        .answers(&[
            answer(
                200,
                "What the device said, which may be that it failed",
                &[json(open_object(&[always("action", TEXT.nullable()), always("success", FLAG)]))],
            ),
            UNKNOWN_CALLER,
            REFUSED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            FAILED_ORDER,
            answer(501, "Its agent is another program's", DETAIL_BODY),
            NO_AGENT,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::get("/api/v1/logs/{server_id}", "serverLogs", "A server's log entries, newest first")
        .takes(&[
            SERVER_IN_PATH,
            LIMIT,
            in_query("level", words(LogLevel::WORDS), "Of this level"),
            in_query("source", words(LogSource::WORDS), "Of this source"),
            in_query("component", TEXT.most(4096), "Of this unit, program or file"),
        ])
        .answers(&[
            answer(200, "The entries", &[json(list(&model(&LOG_ENTRY)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(LOGS),
    Route::post("/api/v1/commands/{server_id}", "command", "Run a command on a server")
        .about(
            "The first word names a template of the agent's own configuration, the others are its \
            parameters as `name=value`. Any other text goes to a shell, where the agent's own \
            configuration allows that; the hub cannot.",
        )
        .takes(&[SERVER_IN_PATH])
        .body(&[json(model(&COMMAND)).example(r#"{"command":"restart unit=nginx"}"#)])
        .answers(&[
            answer(200, "It ran; whether it succeeded says `success`", &[json(model(&COMMAND_REPLY))]),
            UNKNOWN_CALLER,
            REFUSED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            FAILED_ORDER,
            NO_AGENT,
            UNWRITABLE,
        ])
        .tag(COMMANDS),
    Route::get("/api/v1/docker/{server_id}/containers", "containers", "A server's containers")
        .about("As in its latest sample; none where there is no Docker.")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(200, "The containers", &[json(list(&model(&CONTAINER)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(DOCKER),
    Route::post("/api/v1/docker/{server_id}/containers/{container_id}/start", "startContainer", "Start a container")
        .takes(&[SERVER_IN_PATH, CONTAINER_IN_PATH])
        .answers(CONTAINER_ANSWERS)
        .tag(DOCKER),
    Route::post("/api/v1/docker/{server_id}/containers/{container_id}/stop", "stopContainer", "Stop a container")
        .takes(&[SERVER_IN_PATH, CONTAINER_IN_PATH, GRACE])
        .answers(CONTAINER_ANSWERS)
        .tag(DOCKER),
    Route::post(
        "/api/v1/docker/{server_id}/containers/{container_id}/restart",
        "restartContainer",
        "Restart a container",
    )
    .takes(&[SERVER_IN_PATH, CONTAINER_IN_PATH, GRACE])
    .answers(CONTAINER_ANSWERS)
    .tag(DOCKER),
    Route::get(
        "/api/v1/docker/{server_id}/containers/{container_id}/logs",
        "containerLogs",
        "A container's last lines",
    )
    .takes(&[
        SERVER_IN_PATH,
        CONTAINER_IN_PATH,
        in_query("tail", WHOLE.min(1.0).max(10_000.0), "How many lines; 500 if left out"),
    ])
    .answers(&[
        answer(200, "The lines, oldest first", &[json(list(&TEXT))]),
        UNKNOWN_CALLER,
        REFUSED,
        NOT_YOURS,
        NOT_VALID,
        TOO_MANY,
        FAILED_ORDER,
        NO_AGENT,
        UNWRITABLE,
    ])
    .tag(DOCKER),
];

const CONTAINER_ANSWERS: &[Answer] = &[
    answer(
        200,
        "Done",
        &[json(open_object(&[always("status", words(&["success"])), always("message", TEXT)]))
            .example(r#"{"status":"success","message":"Container started successfully"}"#)],
    ),
    UNKNOWN_CALLER,
    REFUSED,
    NOT_YOURS,
    NOT_VALID,
    TOO_MANY,
    FAILED_ORDER,
    NO_AGENT,
    UNWRITABLE,
];

const REFUSED: Answer = answer(
    403,
    "What was shown does not allow this; or, with `denied`, the agent's own configuration \
    does not",
    DETAIL_BODY,
)
.named("Refused");

const FAILED_ORDER: Answer =
    answer(500, "The agent could not do it, or did not answer in time; the text says which", DETAIL_BODY)
        .named("FailedOrder");

const NO_AGENT: Answer = answer(503, "The agent is not connected, or has too much to do", DETAIL_BODY).named("NoAgent");

/// The hub's `order_timeout_max` decides; this is its default.
const SECONDS: Schema = WHOLE.min(1.0).max(600.0);

const CONTAINER_IN_PATH: Parameter = in_path("container_id", TEXT, "Its id or its name", "web");

const GRACE: Parameter =
    in_query("timeout", COUNT.max(86_400.0), "Seconds until what does not end by itself is killed; 10 if left out");

const NEW_SERVER: Model = Model {
    name: "NewServer",
    schema: open_object(&[
        always("name", NAME),
        maybe("host", TEXT.most(256).nullable()),
        maybe("port", WHOLE.min(1.0).max(65_535.0).nullable()),
        maybe("metadata", open_object(&[]).nullable().about("Anything of yours; at most 16 KiB")),
    ]),
};

const SERVER_CHANGE: Model = Model {
    name: "ServerChange",
    schema: open_object(&[
        maybe("name", NAME.nullable()),
        maybe("host", TEXT.most(256).nullable()),
        maybe("port", WHOLE.min(1.0).max(65_535.0).nullable()),
        maybe("metadata", open_object(&[]).nullable()),
    ]),
};

const SERVER: Model = Model {
    name: "Server",
    schema: object(&[
        always("name", TEXT),
        always("host", TEXT.nullable()),
        always("port", WHOLE.nullable()),
        always("metadata", open_object(&[])),
        always("id", ID),
        always("status", words(ServerStatus::WORDS).about("`unknown` until its agent connects for the first time")),
        always("health_status", words(Health::WORDS).about("By its open alerts")),
        always("last_seen", TIME.nullable()),
        always("created_at", TIME),
        always("updated_at", TIME),
    ]),
};

const DEVICE_EVENT: Model = Model {
    name: "DeviceEvent",
    schema: object(&[
        always("id", COUNT),
        always("type", TEXT.example(r#""gpio.state.changed""#)),
        always("timestamp", TIME),
        always("data", ANY.nullable().about("As the device wrote it")),
    ]),
};

const LOG_ENTRY: Model = Model {
    name: "LogEntry",
    schema: object(&[
        always("message", TEXT),
        always("level", words(LogLevel::WORDS)),
        always("source", words(LogSource::WORDS)),
        always("component", TEXT.nullable().about("Unit, program or file")),
        always("extra_data", open_object(&[]).nullable()),
        always("id", TEXT),
        always("server_id", ID),
        always("timestamp", TIME),
    ]),
};

const COMMAND: Model = Model {
    name: "Command",
    schema: open_object(&[
        always("command", TEXT.least(1).most(65_536)),
        maybe("timeout", SECONDS.nullable().about("Seconds to wait for its result; 10 if left out")),
    ]),
};

const COMMAND_REPLY: Model = Model {
    name: "CommandReply",
    schema: object(&[
        always("success", FLAG.about("Whether it ended with 0")),
        always("output", TEXT.about("What it wrote to its outputs, together")),
        always("error", TEXT.nullable().about("The output once more, where it did not end with 0")),
        always("exit_code", WHOLE.about("-1: ended by a signal")),
        always("command_id", TEXT),
        always("command", TEXT),
        always("duration_ms", COUNT),
        maybe("truncated", FLAG.about("There, and true, where the output was longer than what is kept")),
    ]),
};
