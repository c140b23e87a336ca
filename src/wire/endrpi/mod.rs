//! The Endrpi dialect: requests and replies of the WebSocket at `/`, and the bodies of its REST twin.
//!
//! `request` decides what a message asks for (or why it asks for nothing), `params` and `configuration` read its
//! details; `reply` writes the answers and the events (`model` and `line` what is in them), `rest` the same models without the envelope. `json` and
//! `write` are the plumbing. Nothing here acts.

mod configuration;
pub(in crate::wire) mod json;
mod line;
mod model;
mod params;
mod reply;
mod request;
pub mod rest;
mod write;

pub use configuration::Configuration;
pub use model::{Data, System};
pub use reply::{event, failure, lagged, success};
pub use request::{ActionName, Call, Known, Publish, Refusal, Request, parse};

/// What a successful UPDATE_PIN_CONFIGURATIONS answers as its `data`.
pub const PINS_UPDATED: &str = "Pin configurations updated";

/// What a successful RELEASE_LEASE answers.
pub const LEASE_RELEASED: &str = "Lease released";
/// What a successful CANCEL_SEQUENCE answers.
pub const SEQUENCE_CANCELLED: &str = "Sequence cancelled";

/// What PUBLISH answers where nothing more is asked for.
pub const PUBLISHED: &str = "Published";

/// What DEBUG_PANIC answers where it does not end the session itself.
pub const PANIC_ASKED: &str = "The thread will panic";

/// What DEBUG_HANG answers.
pub const HANG_ASKED: &str = "The thread will hang";

/// Texts of the protocol's refusals, in the order in which they are considered.
mod text {
    pub const INVALID_MESSAGE: &str = "Received invalid message";
    pub const MISSING_ACTION: &str = "Received message with missing 'action' field";
    pub const INVALID_ACTION: &str = "Received message with invalid 'action' field";
    pub const MISSING_PARAMS: &str = "Received message with missing 'params' field";
    pub const INVALID_PARAMS: &str = "Received message with invalid 'params' field";
    pub const NO_PINS: &str = "At least one pin id and pin configuration must be supplied";
    pub const NO_PULL: &str = "No pull specified for input pin configuration";
    pub const NO_STATE: &str = "No state specified for output pin configuration";
    /// Ours, in the style of [`NO_PINS`].
    pub const NO_TOPICS: &str = "At least one topic must be supplied";
}
