//! Pins, lines, sequences.

use super::route::*;
use super::schema::*;
use super::shared::*;

pub const ROUTES: &[Route] = &[
    Route::get("/pins", "pins", "All pins of the header")
        .about("In Endrpi's order. Reading never changes a pin.")
        .answers(&[
            answer(200, "Configurations by the name of the pin", &[json(model(&PIN_CONFIGURATIONS))]),
            KEY_NEEDED,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::get("/pins/{id}", "pin", "One pin")
        .about("BCM 0 to 27. Reading never changes a pin.")
        .takes(&[PIN])
        .answers(&[
            answer(200, "Its configuration", &[json(model(&PIN_CONFIGURATION))]),
            KEY_NEEDED,
            NOT_IN_SCOPE,
            NO_SUCH_PIN,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::put("/pins/{id}", "updatePin", "Make a pin an input or an output")
        .about(
            "An input needs `pull`, an output needs `state`: 0 is low, 1 is high, and anything \
            between is the duty of a pin configured for PWM, which is simply high on any other \
            pin and reads back as 1 there. The body is looked at before the pin is. A change of \
            level becomes a `gpio.state.changed` event.",
        )
        .takes(&[PIN])
        .body(&[json(model(&PIN_SETTING)).example(r#"{"io":"OUTPUT","state":1}"#)])
        .answers(&[
            answer(
                200,
                "Done",
                &[json(model(&MESSAGE))
                    .example(r#"{"message":"Pin configuration for pin `GPIO17` was updated successfully"}"#)],
            ),
            answer(
                400,
                "A body that is not `application/json` or not a setting, a setting without its pull \
                or state, or one that the pin cannot have",
                &[json(model(&MESSAGE)).example(r#"{"message":"No state specified for output pin configuration"}"#)],
            ),
            KEY_NEEDED,
            FORBIDDEN,
            NO_SUCH_PIN,
            CONFLICT,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::post("/pins/{id}/pulse", "pulsePin", "A level for a while")
        .about(
            "The pin goes to `level` and, after `duration`, to the other one. The daemon times \
            it, not the client.",
        )
        .takes(&[PIN])
        .body(&[json(model(&PULSE)).example(r#"{"duration":"100ms"}"#)])
        .answers(&[
            answer(200, "It has begun", &[json(model(&SEQUENCE)).example(r#"{"sequence":"3","durationSeconds":0.1}"#)]),
            BAD_BODY,
            KEY_NEEDED,
            FORBIDDEN,
            NO_SUCH_PIN,
            CONFLICT,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::post("/pins/{id}/blink", "blinkPin", "High and low in turn")
        .about("High first, low at the end; until it is cancelled unless `count` is given.")
        .takes(&[PIN])
        .body(&[json(model(&BLINK)).example(r#"{"on":"500ms","off":0.5,"count":10}"#)])
        .answers(&[
            answer(200, "It has begun", &[json(model(&SEQUENCE)).example(r#"{"sequence":"4","durationSeconds":9.5}"#)]),
            BAD_BODY,
            KEY_NEEDED,
            FORBIDDEN,
            NO_SUCH_PIN,
            CONFLICT,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::post("/pins/{id}/pwm", "pwmPin", "A PWM signal")
        .about(
            "From the chip's own PWM where the pin has one, else made by software, which jitters \
            and is limited by `gpio.software_pwm_limit`. `source` says which.",
        )
        .takes(&[PIN])
        .body(&[json(model(&PWM_SETTING)).example(r#"{"frequency":100,"duty":0.25}"#)])
        .answers(&[
            answer(200, "The signal as it is", &[json(model(&PWM))]),
            BAD_BODY,
            KEY_NEEDED,
            FORBIDDEN,
            NO_SUCH_PIN,
            CONFLICT,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::get("/lines", "lines", "All that is known of all lines")
        .about(
            "BCM 0 to 27: who holds and leases them, what plays on them, how many edges they had. \
            Looking never changes a line.",
        )
        .answers(&[
            answer(200, "Reports by the name of the line", &[json(model(&LINES))]),
            KEY_NEEDED,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::get("/lines/{id}", "line", "All that is known of one line")
        .takes(&[PIN])
        .answers(&[
            answer(200, "Its report", &[json(model(&LINE))]),
            KEY_NEEDED,
            NOT_IN_SCOPE,
            NO_SUCH_PIN,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::post("/sequences", "playPins", "Levels of several pins over time")
        .about(
            "What plays on one of the pins ends. Once, unless `count` says more; what repeats \
            needs a `period`.",
        )
        .body(&[json(model(&STEPS)).example(
            r#"{"steps":[{"at":0,"pins":{"GPIO17":1,"GPIO18":0}},{"at":1500,
"pins":{"GPIO17":0,"GPIO18":1}}],"period":20000,"count":0}"#,
        )])
        .answers(&[
            answer(
                200,
                "It has begun",
                &[json(model(&SEQUENCE)).example(r#"{"sequence":"5","durationSeconds":null}"#)],
            ),
            BAD_BODY,
            KEY_NEEDED,
            FORBIDDEN,
            CONFLICT,
            SLOWED,
            FAILED,
            AWAY,
        ])
        .tag("pins"),
    Route::delete("/sequences/{id}", "cancelSequence", "End what plays")
        .about("The pins stay as they are.")
        .takes(&[in_path("id", TEXT, "As `sequence` in the answer that began it", "3")])
        .answers(&[
            answer(200, "It has ended", &[json(model(&MESSAGE)).example(r#"{"message":"Sequence cancelled"}"#)]),
            KEY_NEEDED,
            NO_SUCH_SEQUENCE,
            answer(409, "A lease of somebody else covers one of its pins", &[json(model(&MESSAGE))]),
            SLOWED,
            AWAY,
        ])
        .tag("pins"),
];

const PIN: Parameter = in_path(
    "id",
    TEXT,
    "`GPIO17`, the BCM number `17`, the place on the header `pin11`, or a name from the \
    configuration. Case matters.",
    "GPIO17",
);

pub const PIN_CONFIGURATIONS: Model = Model {
    name: "PinConfigurations",
    schema: map(&model(&PIN_CONFIGURATION))
        .about("By the name of the pin, as `GPIO17`")
        .example(r#"{"GPIO17":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}}"#),
};

pub const PIN_CONFIGURATION: Model = Model {
    name: "PinConfiguration",
    schema: object(&[
        always("io", words(&["INPUT", "OUTPUT"]).about("null where the backend cannot tell").nullable()),
        always(
            "state",
            NUMBER
                .about("0 is low, 1 is high, between is the duty of a PWM signal, null is not known")
                .nullable()
                .min(0.0)
                .max(1.0),
        ),
        always("pull", words(&["UP", "DOWN", "FLOATING"]).about("null where the backend cannot tell").nullable()),
        maybe(
            "consumer",
            TEXT.about("Who else holds the line, as the kernel names it; only there where somebody does"),
        ),
        maybe("activeLow", FLAG.about("Only there where it is true: a high level is 0 V then")),
        maybe("pwm", model(&PWM)),
    ]),
};

pub const PWM: Model = Model {
    name: "Pwm",
    schema: object(&[
        always("frequency", NUMBER.about("In hertz").min(0.0)),
        always("duty", NUMBER.about("The share of time at high").min(0.0).max(1.0)),
        always("source", words(&["hardware", "software"])),
    ])
    .about("A PWM signal; only there where one is made")
    .example(r#"{"frequency":100.0,"duty":0.25,"source":"software"}"#),
};

pub const PIN_SETTING: Model = Model {
    name: "PinSetting",
    schema: open_object(&[
        always("io", words(&["INPUT", "OUTPUT"])),
        maybe(
            "state",
            NUMBER
                .about("Needed for an output; between 0 and 1 the duty of a pin configured for PWM")
                .nullable()
                .min(0.0)
                .max(1.0),
        ),
        maybe("pull", words(&["UP", "DOWN", "FLOATING"]).about("Needed for an input").nullable()),
    ])
    .about("Members of other names are ignored"),
};

pub const MAYBE_PWM: Model = Model {
    name: "MaybePwm",
    schema: object(&[
        always("frequency", NUMBER.about("In hertz").min(0.0)),
        always("duty", NUMBER.about("The share of time at high").min(0.0).max(1.0)),
        always("source", words(&["hardware", "software"])),
    ])
    .about("null where there is no PWM signal")
    .nullable(),
};

pub const LINES: Model =
    Model { name: "Lines", schema: map(&model(&LINE)).about("By the name of the line, as `GPIO17`") };

pub const LINE: Model = Model {
    name: "Line",
    schema: object(&[
        always("resource", TEXT.about("What its events call it")),
        always("pin", COUNT.about("The BCM number").max(27.0)),
        always("io", words(&["INPUT", "OUTPUT"]).about("null where the backend cannot tell").nullable()),
        always(
            "state",
            NUMBER
                .about("0 is low, 1 is high, between is the duty of a PWM signal, null is not known")
                .nullable()
                .min(0.0)
                .max(1.0),
        ),
        always("pull", words(&["UP", "DOWN", "FLOATING"]).about("null where the backend cannot tell").nullable()),
        always("activeLow", FLAG),
        always("held", FLAG.about("Whether the daemon holds it")),
        always("allowed", FLAG.about("Whether clients may touch it")),
        always("consumer", TEXT.about("Who else holds it, as the kernel names it").nullable()),
        always("safe", words(&["low", "high", "input", "hold"]).about("Where it goes when nobody answers for it")),
        always("leasedBy", TEXT.about("Who leases it").nullable()),
        always("sequence", TEXT.about("What plays on it").nullable()),
        always("pwm", model(&MAYBE_PWM)),
        always(
            "edges",
            object(&[
                always("rising", COUNT),
                always("falling", COUNT),
                always(
                    "lost",
                    COUNT.about(
                        "Known to have been lost before the daemon saw them: rising, falling and lost \
                        together are all there were",
                    ),
                ),
                always("summarised", COUNT.about("Told in summaries instead of one by one")),
            ])
            .about("Since the daemon took the line"),
        ),
    ])
    .example(
        r#"{"resource":"relay","pin":17,"io":"OUTPUT","state":1.0,"pull":"FLOATING",
"activeLow":false,"held":true,"allowed":true,"consumer":null,
"safe":"low","leasedBy":"panel","sequence":null,"pwm":null,"edges":{"rising":0,
"falling":0,"lost":0,"summarised":0}}"#,
    ),
};

pub const PULSE: Model = Model {
    name: "Pulse",
    schema: open_object(&[
        always("duration", ANY.about("100 µs to 24 h: text like `100ms`, or a number of seconds")),
        maybe("level", ANY.about("`high` (as when left out) or `low`; also 1, 0, true, false")),
    ])
    .about("Members of other names are ignored"),
};

pub const BLINK: Model = Model {
    name: "Blink",
    schema: open_object(&[
        always("on", ANY.about("100 µs to 24 h: text like `100ms`, or a number of seconds")),
        always(
            "off",
            ANY.about(
                "100 µs to 24 h: text like `100ms`, or a number of seconds; at least 1 ms together \
                with `on`",
            ),
        ),
        maybe("count", ANY.about("A whole number; 0 or `forever` until it is cancelled, as when left out").nullable()),
    ])
    .about("Members of other names are ignored"),
};

pub const STEPS: Model = Model {
    name: "Steps",
    schema: open_object(&[
        always(
            "steps",
            ANY.about(
                "1 to 1000 objects `{\"at\",\"pins\"}`: `at` is after the start, later from step to \
                step, in whole microseconds or as text; `pins` are levels by the name of the pin, \
                each pin once a step",
            ),
        ),
        maybe(
            "period",
            ANY.about(
                "From one round's start to the next one's, in whole microseconds or as text. Needed \
                unless played once, then at least 1 ms and 100 µs for each step",
            )
            .nullable(),
        ),
        maybe(
            "count",
            ANY.about(
                "A whole number; 0 or `forever` until it is cancelled; once when left out. 24 h at \
                most in all",
            )
            .nullable(),
        ),
    ])
    .about("Members of other names are ignored"),
};

pub const SEQUENCE: Model = Model {
    name: "Sequence",
    schema: object(&[
        always("sequence", TEXT.about("What cancels it")),
        always("durationSeconds", NUMBER.about("To its last step; null for one without end").nullable().min(0.0)),
    ]),
};

pub const PWM_SETTING: Model = Model {
    name: "PwmSetting",
    schema: open_object(&[
        always("frequency", NUMBER.about("In hertz; what a pin can do is less than this").min(0.1).max(50000000.0)),
        always("duty", NUMBER.about("The share of time at high").min(0.0).max(1.0)),
    ])
    .about("Members of other names are ignored"),
};

pub const NO_SUCH_PIN: Answer = answer(
    404,
    "No pin of this name",
    &[json(model(&MESSAGE)).example(r#"{"message":"Pin with BCM pin number `GPIO99` not found"}"#)],
)
.named("NoSuchPin");

pub const FORBIDDEN: Answer = answer(
    403,
    "Clients may not touch this pin: `gpio.allow` and `gpio.deny` decide that",
    &[json(model(&MESSAGE)).example(
        r#"{"message":"Failed to update pin `GPIO0`: clients may not touch it; gpio.allow and gpio.deny decide that"}"#,
    )],
)
.named("Forbidden");

pub const CONFLICT: Answer = answer(
    409,
    "Somebody else has the pin (the kernel, another process, a lease), or one of its own \
    rules forbids this now",
    &[json(model(&MESSAGE))
        .example(r#"{"message":"Failed to update pin `GPIO17`: line 17 is held by 'spi0 CS1'; end that first"}"#)],
)
.named("Conflict");

pub const AWAY: Answer = answer(
    503,
    "The chip is gone, or the daemon is shutting down",
    &[json(model(&MESSAGE)).example(r#"{"message":"Failed to update pin `GPIO17`: the daemon is shutting down"}"#)],
)
.named("Away");

pub const BAD_BODY: Answer = answer(400, "A body that is not `application/json`, or not what is asked for; the message names \
    the member", &[json(model(&MESSAGE)).example(r#"{"message":"Received message with invalid 'duration' field: from 100us to 1day, as text like \"5s\" or as a number of seconds"}"#)]).named("BadBody");

pub const NO_SUCH_SEQUENCE: Answer = answer(
    404,
    "No such sequence plays",
    &[json(model(&MESSAGE)).example(r#"{"message":"There is no sequence '7': it has ended, or it never was"}"#)],
)
.named("NoSuchSequence");

const NOT_IN_SCOPE: Answer =
    answer(403, "The key's scopes do not have this pin", &[json(model(&MESSAGE))]).named("NotInScope");
