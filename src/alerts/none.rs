//! In the place of alerts where no hub is built in: nothing is watched, and nobody is told.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::hub::Hub;
use crate::store::Store;
use crate::types::fleet::Alert;

/// See the module's text.
pub struct Alerts;

impl Alerts {
    /// # Errors
    /// None; the configuration has seen to it that nobody is to be told.
    pub fn start(_: &config::Alerts, _: Arc<Hub>, _: Arc<Store>) -> Result<Arc<Alerts>, String> {
        Ok(Arc::new(Alerts))
    }

    /// # Errors
    /// None.
    pub fn check(_: &config::Alerts) -> Result<(), String> {
        Ok(())
    }

    pub fn set_limits(&self, _: &config::Alerts) {}

    /// # Errors
    /// None.
    pub fn replace_couriers(&self, _: &config::Alerts, _: Duration) -> Result<(), String> {
        Ok(())
    }

    pub fn open(&self) -> Vec<Alert> {
        Vec::new()
    }

    pub fn on_change(&self, _: impl Fn(&str) + Send + Sync + 'static) {}

    pub fn stop(&self, _: Duration) {}
}
