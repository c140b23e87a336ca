//! In the place of nodes where no hub is built in: no other machine is known, and this one is in no cluster.

use std::sync::Arc;
use std::time::Duration;

use crate::hub::Hub;
use crate::mdns::News;
use crate::store::Store;
use crate::types::event::NodeStatus;
use crate::types::fleet::{AgentInfo, NodeFacts, Server};

/// This machine.
pub struct Own {
    pub node_id: Arc<str>,
    pub facts: NodeFacts,
}

/// A server by its id.
pub type Look = Box<dyn Fn(&str) -> Option<Server> + Send + Sync>;

/// See the module's text.
pub struct Nodes;

impl Nodes {
    /// # Errors
    /// None.
    pub fn start(_: Arc<Hub>, _: Arc<Store>, _: Own, _: Look) -> std::io::Result<Arc<Nodes>> {
        Ok(Arc::new(Nodes))
    }

    pub fn own_server(&self, _: &str) {}

    pub fn server_changed(&self, _: &str, _: Option<&AgentInfo>) {}

    pub fn seen(&self, _: News) {}

    pub fn own_status(&self, _: NodeStatus) {}

    pub fn stop(&self, _: Duration) {}
}
