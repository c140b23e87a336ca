//! Alerts: thresholds and what the daemon watches for by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::hub::Hub;
use crate::store::Store;
use crate::types::fleet::{Health, Sample, ServerStatus};

/// A handle for everyone.
pub struct Alerts {
    _config: config::Alerts,
    _hub: Arc<Hub>,
    _store: Arc<Store>,
}

impl Alerts {
    /// # Errors
    /// No thread to be had.
    pub fn start(config: &config::Alerts, hub: Arc<Hub>, store: Arc<Store>) -> io::Result<Arc<Alerts>> {
        Ok(Arc::new(Alerts { _config: config.clone(), _hub: hub, _store: store }))
    }

    /// The server that is this machine: what is wrong with the hub itself is said of it.
    pub fn set_own_server(&self, _server_id: &str, _server_name: &str) {}

    /// A server's state as it is now, not one that was handed over late. Never waits.
    pub fn sample(&self, _server_id: &str, _server_name: &str, _sample: &Sample) {}

    /// A server's status has changed, or is this when the daemon starts. Never waits.
    pub fn status(&self, _server_id: &str, _server_name: &str, _status: ServerStatus) {}

    /// How the hub's own store is: why it works from memory, or `None` when it is well. Never waits.
    pub fn store_state(&self, _degraded: Option<&str>) {}

    /// The server is gone, and its thresholds and alerts with it. Never waits.
    pub fn removed(&self, _server_id: &str) {}

    /// A server's health: that of its worst open alert.
    pub fn health(&self, _server_id: &str) -> Health {
        Health::Healthy
    }

    /// Writes what waits, within `limit`.
    pub fn stop(&self, _limit: Duration) {}
}
