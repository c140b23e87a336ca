//! Who comes for the fleet: agents, and web pages that watch a server.

mod agent;
mod page;

use std::sync::Arc;

use super::{Conversation, End, Host, Line};
use crate::conn::Conn;
use page::Watched;

/// Which of these conversations a visitor came for.
pub enum FleetKind {
    /// A web page that watches a server.
    Page {
        watched: Watched,
        /// As it stands in the path.
        server_id: String,
        /// A token or key that was shown in the handshake.
        shown: Option<String>,
    },
    /// ChatOps' agents.
    Agent { user_agent: Option<String> },
}

impl FleetKind {
    /// As told where there is no such socket.
    pub const PATHS: &str = ", /info and, below /api/v1, agents/ws, ws/metrics/{server_id} and ws/logs/{server_id}";

    /// What is at a path. Who it is, is asked there: tokens are no keys, and an agent says it in its first message.
    pub fn at(path: &str, shown: Option<&str>, user_agent: Option<&str>) -> Option<FleetKind> {
        if path == "/api/v1/agents/ws" {
            return Some(FleetKind::Agent { user_agent: user_agent.map(str::to_owned) });
        }
        let (watched, server_id) = path.strip_prefix("/api/v1/ws/")?.split_once('/')?;
        let watched = match watched {
            "metrics" => Watched::Metrics,
            "logs" => Watched::Logs,
            _ => return None,
        };
        let server_id = server_id.strip_suffix('/').unwrap_or(server_id).to_owned();
        Some(FleetKind::Page { watched, server_id, shown: shown.map(str::to_owned) })
    }

    pub(super) fn open(self, host: &Arc<Host>, conn: &Arc<Conn>) -> Box<dyn Conversation> {
        match self {
            FleetKind::Page { watched, server_id, shown } => {
                Box::new(page::Page::new(host, conn, watched, server_id, shown))
            }
            FleetKind::Agent { user_agent } => Box::new(agent::Agent::new(host, conn, user_agent.as_deref())),
        }
    }
}
