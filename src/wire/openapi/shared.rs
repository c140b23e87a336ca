//! What several systems answer.

use super::route::*;
use super::schema::*;

pub const BACKEND: Model = Model {
    name: "Backend",
    schema: object(&[
        always("backend", TEXT.about("Its name in the configuration").example(r#""sim""#)),
        always("simulated", FLAG.about("Whether the pins exist in memory only")),
        always("reason", TEXT.about("Why this backend was chosen")),
    ])
    .about("What drives the pins"),
};

pub const MESSAGE: Model = Model { name: "Message", schema: object(&[always("message", TEXT)]) };

pub const REFUSAL: Model = Model {
    name: "Refusal",
    schema: object(&[always("detail", TEXT), always("message", TEXT.about("The same as `detail`"))]),
};

pub const KEY_NEEDED: Answer = answer(
    401,
    "No key was shown, or a wrong one",
    &[json(model(&REFUSAL)).example(r#"{"detail":"Invalid API Key","message":"Invalid API Key"}"#)],
)
.named("KeyNeeded");

pub const FAILED: Answer = answer(
    500,
    "It could not be read or done; the message says why",
    &[json(model(&MESSAGE)).example(r#"{"message":"Failed to query system throttle status"}"#)],
)
.named("Failed");

pub const SLOWED: Answer = answer(
    429,
    "Too many wrong keys have come from this address; `Retry-After` says when the next \
    one is looked at. Who shows a good one does not wait",
    &[json(model(&REFUSAL))],
)
.named("Slowed");
