//! Alerts and thresholds.

use super::fleet::*;
use super::route::*;
use super::schema::*;
use crate::types::fleet::{AlertCause, AlertKind, Comparison, Severity};

const TAG: &str = "alerts";

pub const ROUTES: &[Route] = &[
    Route::get("/api/v1/alerts", "alerts", "Alerts of my servers, newest first")
        .takes(&[
            in_query("resolved", FLAG, "Only those that are resolved, or are not"),
            in_query("status", words(&["active", "resolved"]), "The same in words"),
            in_query("server_id", UUID, "Of this server"),
            SKIP,
            LIMIT,
        ])
        .answers(&[
            answer(200, "The alerts", &[json(list(&model(&ALERT)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::get("/api/v1/alerts/{alert_id}", "alert", "One alert")
        .takes(&[ALERT_IN_PATH])
        .answers(&[
            answer(200, "The alert", &[json(model(&ALERT))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::post("/api/v1/alerts/{alert_id}/resolve", "resolveAlert", "Resolve an alert")
        .about(
            "If its cause lasts, there will be another one when it comes back after it has been \
            away.",
        )
        .takes(&[ALERT_IN_PATH])
        .answers(CHANGED)
        .tag(TAG),
    Route::post("/api/v1/alerts/{alert_id}/acknowledge", "acknowledgeAlert", "Say that somebody looks after an alert")
        .takes(&[ALERT_IN_PATH])
        .answers(CHANGED)
        .tag(TAG),
    Route::get("/api/v1/alerts/thresholds", "thresholds", "Thresholds of my servers")
        .takes(&[in_query("server_id", UUID, "Of this server")])
        .answers(&[
            answer(200, "The thresholds", &[json(list(&model(&THRESHOLD)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::post("/api/v1/alerts/thresholds", "makeThreshold", "Make a threshold")
        .body(&[json(model(&NEW_THRESHOLD))])
        .answers(&[
            answer(201, "Made", &[json(model(&THRESHOLD))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            FULL,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::put("/api/v1/alerts/thresholds/{threshold_id}", "changeThreshold", "Change a threshold")
        .takes(&[THRESHOLD_IN_PATH])
        .body(&[json(model(&THRESHOLD_CHANGE))])
        .answers(&[
            answer(200, "Changed", &[json(model(&THRESHOLD))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::delete("/api/v1/alerts/thresholds/{threshold_id}", "deleteThreshold", "Remove a threshold")
        .about("Its open alert is resolved.")
        .takes(&[THRESHOLD_IN_PATH])
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
];

const CHANGED: &[Answer] = &[
    answer(200, "The alert, changed", &[json(model(&ALERT))]),
    UNKNOWN_CALLER,
    NOT_ALLOWED,
    NOT_YOURS,
    NOT_VALID,
    TOO_MANY,
    BUSY,
    UNWRITABLE,
];

const ALERT_IN_PATH: Parameter = in_path("alert_id", UUID, "The alert's id", "5e2d8c1a-0f3b-4c7d-8e9f-a0b1c2d3e4f5");
const THRESHOLD_IN_PATH: Parameter =
    in_path("threshold_id", UUID, "The threshold's id", "7f6e5d4c-3b2a-4190-8f7e-6d5c4b3a2918");

/// What samples tell of.
const WATCHABLE: Schema = words(&["cpu", "memory", "disk", "network"]);
const VALUE: Schema = NUMBER.min(-1e15).max(1e15);
const SECONDS: Schema = COUNT.max(86_400.0);

pub const ALERT: Model = Model {
    name: "Alert",
    schema: object(&[
        always("server_id", ID),
        always("type", words(AlertKind::WORDS)),
        always("severity", words(Severity::WORDS)),
        always("message", TEXT.example(r#""CPU usage is 85.0%, which exceeds threshold of > 80.0%""#)),
        always("threshold", NUMBER.nullable().about("null where nothing is compared, as the next")),
        always("current_value", NUMBER.nullable().about("When it was made")),
        always("id", ID),
        always("resolved", FLAG),
        always("created_at", TIME),
        always("resolved_at", TIME.nullable()),
        maybe("acknowledged_at", TIME),
        maybe("threshold_id", ID.about("The threshold behind it, where there is one")),
        maybe("cause", words(AlertCause::WORDS).about("What is behind it, where it is no threshold")),
    ]),
};

const NEW_THRESHOLD: Model = Model {
    name: "NewThreshold",
    schema: open_object(&[
        always("server_id", ID),
        always("metric_type", WATCHABLE),
        always("threshold_value", VALUE.about("Percent, for `cpu`, `memory` and `disk`")),
        always("comparison", words(Comparison::WORDS)),
        maybe("enabled", FLAG.nullable().about("Yes, if left out")),
        maybe("for_seconds", SECONDS.nullable().about("How long the value has to be beyond it; 0 if left out")),
        maybe("hysteresis", NUMBER.min(0.0).max(1e15).nullable().about("How far it has to come back; 0 if left out")),
    ]),
};

const THRESHOLD_CHANGE: Model = Model {
    name: "ThresholdChange",
    schema: open_object(&[
        maybe("metric_type", WATCHABLE.nullable()),
        maybe("threshold_value", VALUE.nullable()),
        maybe("comparison", words(Comparison::WORDS).nullable()),
        maybe("enabled", FLAG.nullable()),
        maybe("for_seconds", SECONDS.nullable()),
        maybe("hysteresis", NUMBER.min(0.0).max(1e15).nullable()),
    ]),
};

const THRESHOLD: Model = Model {
    name: "Threshold",
    schema: object(&[
        always("server_id", ID),
        always("metric_type", words(AlertKind::WORDS)),
        always("threshold_value", NUMBER),
        always("comparison", words(Comparison::WORDS)),
        always("enabled", FLAG),
        always("for_seconds", COUNT),
        always("hysteresis", NUMBER.min(0.0)),
        always("id", ID),
        always("created_at", TIME),
        always("updated_at", TIME),
    ]),
};
