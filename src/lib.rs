//! Pinwire: a Raspberry Pi on the wire. THE MAP (to be completed).
#![deny(unsafe_code)]
// Clocks and threads belong to `rt` (clippy.toml says why); tests may use them.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod actions;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod conn;
pub mod daemon;
pub mod dispatch;
pub mod front;
pub mod gpio;
pub mod http;
pub mod hub;
pub mod logging;
pub mod rt;
pub mod session;
pub mod telemetry;
pub mod types;
pub mod web;
pub mod wire;
