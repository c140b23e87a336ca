//! Pinwire: a Raspberry Pi on the wire. This is the map.
//!
//! One static binary serves GPIO, telemetry, events and pub/sub over WebSocket and HTTP on one port, and speaks
//! the dialects of Endrpi, PiCloud, Pi-Controller and ChatOps so that their clients work unchanged. Threads and
//! channels; no async runtime.
//!
//! # Rooms, from the ground up
//!
//! A room imports only rooms above it in this list, and those of one line not each other; `tests/tidy.rs` fails on a
//! wrong arrow.
//!
//! | room | what it owns |
//! |---|---|
//! | [`types`] | the vocabulary: lines, readings, events, topics, what is built in; no I/O, no serde |
//! | [`rt`], [`config`], [`web`] | threads, clocks, memory and descriptor limits, the only room that spawns or reads a clock; raw (as written) → typed (what it means), after which a bad value cannot exist, and which key a reload may change; the embedded pages |
//! | [`wire`] | the only JSON: one file or folder per dialect, bytes to typed requests and back |
//! | [`auth`], [`conn`], [`systemd`] | who may come in; one socket, plain or TLS: outbox, flusher, reader, budgets; what a service manager gives (sockets, an interval, the journal) and is told (ready, status, alive) |
//! | [`hub`], [`gpio`], [`telemetry`], [`store`], [`run`], [`docker`], [`mdns`] | the workshops: events to subscribers, lines, readings, what outlives the process, commands, containers, who else is on the network |
//! | [`alerts`], [`collect`], [`nodes`] | thresholds and what is watched without one; a machine's whole sample; clusters and the machines in them |
//! | [`fleet`] | servers and their agents, as the hub knows them |
//! | [`actions`] | what clients may do; no wire, no threads |
//! | [`dispatch`] | request → action → answer: the one place where errors become what the wire says |
//! | [`session`], [`http`] | one visitor on a WebSocket, one file per dialect's conversation; the tiny_http side, routes and error bodies per system |
//! | [`front`], [`agent`], [`logging`], [`cli`] | the public port: accept, caps, head, Host and Origin, relay to `http`; this device, connected to a hub; stderr, and warnings as events; the command line as typed |
//! | [`client`], [`daemon`] | the other commands, `doctor` among them; the only room that sees every other: wiring, signals, reload, shutdown order |
//!
//! # A frame's walk
//!
//! `front` accepts and reads the head → `session` reads a message → its dialect in `wire` makes it a typed request
//! → `dispatch` → `actions` → a workshop answers → `wire` writes it → the connection's outbox. An edge comes from
//! `gpio-in` by way of the input stage (counted, debounced, limited) to the hub's own thread. A fact (a level
//! that changed, a log line, a published message) goes once into `hub`, is encoded once per dialect that somebody
//! wants, and the same bytes go to everyone.
//!
//! # Threads
//!
//! | thread | waits for | number |
//! |---|---|---|
//! | main | signals | 1 |
//! | `visitor` | a visitor, or the end; then what that visitor says | one per connection, and per address one that waits, or some after a burst |
//! | `flusher` | room in the sockets that have a backlog; the end of those being closed | 1 |
//! | `hub` | events from threads that must not send | 1 |
//! | `http-<n>`, and tiny_http's own | requests | 4, and one per HTTP connection |
//! | `http-fleet-<n>` | requests about the fleet, which may wait for the store | 4 |
//! | `http-later` | answers that no handler waits for: orders' ends, a durable event's way to the disk | 1 |
//! | `http-probe` | tiny_http, whether it is alive | 1, when an answer did not come |
//! | `http-large` | its visitor, who reads slowly | one per answer beyond 64 KiB, at most 16 |
//! | `fleet` | an order's end of time, an agent's silence | 1 |
//! | `own-server` | its next sample, requests to this device by way of the hub | 1, where the hub is its own server |
//! | `gpio-in` | edges and what others do with lines (character device, or sysfs), an input's rate or debounce window | 1, with real lines |
//! | `gpio-out` | what is due: a lease's end, a longest time on, a sequence's step, a software PWM's toggle | 1 |
//! | `gpio-keep` | outputs' levels to write down, and the disk | 1, once a line that is persistent has changed |
//! | `store` | writes of others, records to be written together, another process at the database, a key's expiry | 1 |
//! | `store-news` | something having been kept, or the store's health having changed: it tells who wants to know | 1 |
//! | `alerts` | an agent that is offline for too long, alerts to write down | 1 |
//! | `alerts-web`, `alerts-cmd` | alerts to post, and to run a command for; their answers | 1 each, where configured |
//! | `run` | commands to run, and what those print | 2, where commands are allowed |
//! | `containers` | the engine's list of containers, for samples | 1, where samples are taken and containers allowed |
//! | `orders` | orders about containers; refusals to write down | 1 |
//! | `nodes` | what was seen of other machines and of agents | 1 |
//! | `mdns`, and the library's own | the network's announcements; this machine's addresses, once a minute | 1 each, where it announces or looks for machines |
//! | `agent-feed` | events of this device, log lines, the next sample | 1, with a hub |
//! | `agent-link` | its hub, or the next attempt to reach it; what there is to tell it | 1, with a hub |
//! | `agent-spill` | the disk, while the agent ends | 1, with a hub |
//! | `agent-journal`, `agent-files` | `journalctl`; what is appended to log files | 1 each, where they are told a hub |
//! | `doctor`, `doctor-dns` | what is looked at; a name server | in `pinwire doctor` only: thirteen, and one with a hub |
//! | `watchdog` | half of the service manager's interval, changes of the status it shows | 1, under a service manager |
//! | `vcgencmd` | its next run, while somebody asks | 1, started on demand |
//!
//! An idle daemon does not wake unless it is its own server, which measures every five seconds; the kernel says when
//! another process changes the database. Sessions publish and send by themselves (see [`hub`]); nobody waits for a slow
//! reader (see [`conn`]).
//!
//! # Where this differs from the first design, and why
//!
//! - The outbox and the flusher are a room of their own below the hub, not part of `session`: the hub sends
//!   through them, and arrows point downward.
//! - Answers are collected until the session would wait, and then sent in one write: a client that pipelines gets
//!   its answers batched, one that does not sees no difference.
//! - HTTP bodies are collected by the front door before tiny_http sees the request: its handler threads are few,
//!   and a body that never comes would hold one for as long as it likes. Each request has a private connection of
//!   its own: tiny_http's pool leaves connections that arrive in a burst without a thread while others are kept.
//! - tiny_http's death is noticed by the error its queue hands out, and by a probe when an answer does not come;
//!   there is no periodic probe, so an idle daemon sleeps.
//! - Readings are shared for 100 ms by default: `/proc/meminfo` costs the kernel 8 µs, more than everything else
//!   in a round trip together, and its counters are folded about once a second.
//! - A crash in any thread drives the outputs to their safe states, also one in a connection's thread that ends
//!   nothing else: a bug has been met, and a relay should not wait for the next one.
//! - Lines taken together are one kernel request and stay one: they are set in one call, and a request cannot give
//!   back a single line. Inputs of the configuration have a request each, for the kernel's largest edge buffer.
//! - A session whose visitor has said nothing for half a second gives its stack's unused pages back, and what it waits
//!   with fits into two: an idle connection costs 13 KiB instead of 28. It waits in `poll` then, as a socket's own timeout
//!   is seconds late at 25 s, and late for all at once; while its visitor is busy it waits in the read, one system call.
//! - The service manager's watchdog is fed by a thread that asks the others through what they wait at, not by a timer of
//!   its own: a timer goes on when they hang. The store, which waits for the card, has ten intervals, and outputs' levels
//!   are written by a thread of their own: a worn card should neither end the daemon nor keep a lease's end waiting.
//! - A publisher that sends several events at a time is waited for, until as many are here as the last time and no longer
//!   than sending took: the first of a burst arrives alone, and would cost a round of sends of its own (twice the
//!   deliveries at eight in flight). Who sends one after the other is never waited for.
//! - Who waits for visitors serves the one it gets: a thread that only accepts would have to wake another for each, which
//!   costs as much as the rest of a handshake.
//! - A reload is all or nothing for the file and line by line for the pins: a bad file changes nothing, and a line that is
//!   in use in a way that would have to change keeps what it had, with a warning that names it.
//! - An event of a durable topic is delivered once it is on the disk, and gets its number behind a gap that is left to all
//!   others meanwhile: one sequence, one order, and nobody waits for the card (see `hub::durable`).
//! - Each feature that can be left out has a file with the same functions in its place, so that nobody else asks what is
//!   built in; a configuration that wants it is refused with its name.
#![deny(unsafe_code)]
// Clocks and threads belong to `rt` (clippy.toml says why); tests may use them.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// A room's tests in files of their own; `tests/orders` builds some rooms once more, without them.
macro_rules! unit_tests {
    ($(#[$where:meta])* mod $name:ident;) => {
        #[cfg(test)]
        $(#[$where])*
        mod $name;
    };
}

pub mod types;

pub mod rt;

pub mod config;
pub mod web;

pub mod wire;

pub mod auth;
pub mod conn;
pub mod systemd;

pub mod docker;
pub mod gpio;
pub mod hub;
pub mod mdns;
pub mod run;
#[cfg_attr(not(feature = "hub"), path = "store/none.rs")]
pub mod store;
pub mod telemetry;

#[cfg_attr(not(feature = "hub"), path = "alerts/none.rs")]
pub mod alerts;
pub mod collect;
#[cfg_attr(not(feature = "hub"), path = "nodes/none.rs")]
pub mod nodes;

#[cfg_attr(not(feature = "hub"), path = "fleet/none.rs")]
pub mod fleet;

pub mod actions;

pub mod dispatch;

pub mod http;
pub mod session;

pub mod agent;
pub mod cli;
pub mod front;
pub mod logging;

pub mod client;
pub mod daemon;
