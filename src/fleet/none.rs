//! In the fleet's place where no hub is built in: there are no servers, and none comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::alerts::Alerts;
use crate::config;
use crate::hub::Hub;
use crate::store::Store;
use crate::types::features;
pub use crate::types::fleet::Change;
use crate::types::fleet::Server;

/// See the module's text.
pub struct Fleet;

impl Fleet {
    /// # Errors
    /// None.
    pub fn start(_: config::Hub, _: Arc<Hub>, _: Arc<Store>, _: Arc<Alerts>) -> Result<Arc<Fleet>, Infallible> {
        Ok(Arc::new(Fleet))
    }

    /// # Errors
    /// Always; the configuration has seen to it that none is wanted.
    pub fn own_server(&self, _: &str) -> Result<Server, String> {
        Err(features::HUB.needed_by("hub.own_server"))
    }

    pub fn server(&self, _: &str) -> Option<Server> {
        None
    }

    pub fn on_change(&self, _: impl Fn(&Server, &Change) + Send + Sync + 'static) {}

    pub fn stop(&self, _: Duration) {}
}
