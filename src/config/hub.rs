//! The hub: its agents and what it asks of them.

use std::time::Duration;

use crate::types::features;

/// The hub's side of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// Whether the hub is its own first server, where there is a state directory.
    pub own_server: bool,
    /// From the handshake to an agent's key.
    pub auth_deadline: Duration,
    /// Silence after which an agent counts as offline.
    pub agent_silence: Duration,
    /// Largest message of an agent that has authenticated itself, in bytes.
    pub message_bytes: usize,
    /// Messages of one agent that may not be understood before its socket is closed, within a minute.
    pub invalid_messages: usize,
    /// How long an order may take where the request does not say.
    pub order_timeout: Duration,
    /// The longest a request may ask for.
    pub order_timeout_max: Duration,
    /// Orders to one agent that may be under way.
    pub orders_per_server: usize,
    /// Orders to all agents together that may be under way.
    pub orders: usize,
    /// Servers there may be.
    pub servers: usize,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            own_server: features::HUB.built_in,
            auth_deadline: Duration::from_secs(10),
            agent_silence: Duration::from_secs(15),
            message_bytes: 2 * 1024 * 1024,
            invalid_messages: 20,
            order_timeout: Duration::from_secs(10),
            order_timeout_max: Duration::from_secs(600),
            orders_per_server: 32,
            orders: 512,
            servers: 1000,
        }
    }
}
