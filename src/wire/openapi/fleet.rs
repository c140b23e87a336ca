//! What all routes of the fleet speak in: errors, ids, pages.

use super::route::*;
use super::schema::*;

const DETAIL: Model = Model {
    name: "Detail",
    schema: open_object(&[
        always("detail", TEXT),
        maybe("error", TEXT.about("The same, for Pi-Controller's clients, as `message`")),
        maybe("message", TEXT),
        maybe("denied", FLAG.about("There, and true, where the agent's own rules forbid it, which is no failure")),
    ]),
};

const INVALID: Model = Model {
    name: "Invalid",
    schema: object(&[always("detail", list(&model(&FAULT)))]).about("Every fault that was found"),
};

const FAULT: Model = Model {
    name: "Fault",
    schema: object(&[
        always("type", TEXT.about("The rule that is broken")),
        always("loc", list(&TEXT).about("`body`, `query` or `path`, then the member")),
        always("msg", TEXT),
        always("input", ANY.nullable().about("What was sent; null where it is long, deep or secret")),
        maybe("ctx", open_object(&[]).about("The rule's own values")),
    ]),
};

const NOTE: Model = Model { name: "Note", schema: object(&[always("message", TEXT)]) };

const STATUS: Model = Model { name: "Status", schema: object(&[always("status", TEXT), always("message", TEXT)]) };

/// A body with one sentence.
pub const DETAIL_BODY: &[Content] = &[json(model(&DETAIL))];
pub const NOTE_BODY: &[Content] = &[json(model(&NOTE))];
pub const STATUS_BODY: &[Content] = &[json(model(&STATUS))];

pub const UNKNOWN_CALLER: Answer = answer(
    401,
    "Nothing was shown, or nothing that is good",
    &[json(model(&DETAIL)).example(r#"{"detail":"Could not validate credentials"}"#)],
)
.named("UnknownCaller");

pub const NOT_ALLOWED: Answer = answer(
    403,
    "What was shown does not allow this: a role that is too low, a key without the scope",
    &[json(model(&DETAIL))],
)
.named("NotAllowed");

pub const NOT_YOURS: Answer =
    answer(404, "No such thing, or it is somebody else's", &[json(model(&DETAIL))]).named("NotYours");

pub const NOT_VALID: Answer =
    answer(422, "A body, a query or an id that is not what is asked for", &[json(model(&INVALID))]).named("NotValid");

pub const TOO_MANY: Answer = answer(
    429,
    "Too many wrong keys, tokens or passwords have come from this address; `Retry-After` \
    says when to try again. Who shows a good key or token does not wait",
    &[json(model(&DETAIL))],
)
.named("TooMany");

pub const FULL: Answer =
    answer(409, "There are as many as there may be, or one with this name", &[json(model(&DETAIL))]).named("Full");

pub const BUSY: Answer =
    answer(503, "There is too much to do right now; try again", &[json(model(&DETAIL))]).named("Busy");

pub const UNWRITABLE: Answer =
    answer(507, "The store's disk is full, or may not be written", &[json(model(&DETAIL))]).named("StoreUnwritable");

pub const ID: Schema = UUID.example(r#""0c9b1a52-6a3e-4f0e-9d9b-3f0a1f0f6f01""#);

/// A name or a word: bytes.
pub const NAME: Schema = TEXT.least(1).most(256);

pub const SERVER_IN_PATH: Parameter =
    in_path("server_id", UUID, "The server's id", "0c9b1a52-6a3e-4f0e-9d9b-3f0a1f0f6f01");

pub const SKIP: Parameter =
    in_query("skip", COUNT.max(4_294_967_296.0), "How many of the list to leave out; 0 if left out");
pub const LIMIT: Parameter =
    in_query("limit", WHOLE.min(1.0).max(1000.0), "How many of the list to give at most; 100 if left out");
