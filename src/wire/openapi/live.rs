//! The start of what events go on with: everything at once, and who is there.

use super::alerts::ALERT;
use super::pins::{AWAY, PIN_CONFIGURATIONS};
use super::route::*;
use super::schema::*;
use super::shared::*;
use super::system::{FREQUENCY, MEMORY, TEMPERATURE, THROTTLE, UPTIME};

pub const ROUTES: &[Route] = &[
    Route::get("/snapshot", "snapshot", "Pins, readings and alerts, and from where events tell what changes")
        .about(
            "Subscribe with `since` `epoch:offset` of the answer to get what has changed since. Some of that may \
            be in the answer already. Endrpi's socket has it as `READ_SNAPSHOT`.",
        )
        .answers(&[
            answer(200, "As much as the key may see", &[json(model(&SNAPSHOT))]),
            KEY_NEEDED,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("events"),
    Route::get("/presence", "presence", "Who is connected, and subscribed to what")
        .about("For a key with scopes it takes `admin`. Endrpi's socket has it as `READ_PRESENCE`.")
        .answers(&[
            answer(200, "All subscribers and PiCloud's publishers", &[json(model(&PRESENCE))]),
            KEY_NEEDED,
            answer(403, "The key's scopes do not have `admin`", &[json(model(&MESSAGE))]),
            SLOWED,
        ])
        .tag("events"),
];

pub const EPOCH: Schema = TEXT
    .about("Names the sequence of offsets; new with each start, unless a topic is durable")
    .least(16)
    .most(16)
    .example(r#""00c0ffee00c0ffee""#);

pub const SNAPSHOT: Model = Model {
    name: "Snapshot",
    schema: object(&[
        always("epoch", EPOCH),
        always("offset", COUNT.about("Events behind this one tell what changes")),
        always("timestamp", TIME),
        always("pins", model(&PIN_CONFIGURATIONS)),
        always(
            "telemetry",
            object(&[
                always("temperature", either(&[model(&TEMPERATURE), NOTHING])),
                always("throttle", either(&[model(&THROTTLE), NOTHING])),
                always("uptime", either(&[model(&UPTIME), NOTHING])),
                always("frequency", either(&[model(&FREQUENCY), NOTHING])),
                always("memory", either(&[model(&MEMORY), NOTHING])),
            ])
            .about("`null` for what cannot be read"),
        ),
        always(
            "alerts",
            list(&model(&ALERT))
                .nullable()
                .about("Those that are not resolved; `null` for a key that may not hear of alerts"),
        ),
    ]),
};

/// `null`.
const NOTHING: Schema = words(&[]).nullable();

pub const PRESENCE: Model = Model {
    name: "Presence",
    schema: object(&[always(
        "clients",
        list(&object(&[
            always("name", TEXT.about("As a client of PiCloud calls itself; empty elsewhere")),
            always("address", TEXT.example(r#""10.0.0.7:51324""#)),
            always("dialect", words(&["picloud", "events", "code", "endrpi", "page"])),
            always("since", TIME),
            always("subscriptions", list(&TEXT).about("As they were written")),
            always("backlog", COUNT.about("Bytes that wait for it")),
            always("lagged", COUNT.about("Events that were dropped for it, since it reads too slowly")),
        ])),
    )]),
};
