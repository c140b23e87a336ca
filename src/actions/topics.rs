//! What clients may publish, and how it enters the hub.

use crate::hub::{Ack, Hub};
use crate::rt::clock;
use crate::types::event::{Body, Event};
use crate::types::rights::{Lacks, Rights};
use crate::types::topic::{MAX_TOPIC_BYTES, is_reserved};

/// Why a client's message was not published, in words for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Lacks(#[from] Lacks),
    /// Nobody may publish under this name.
    #[error("{0}")]
    Name(String),
}

/// Publishes a client's message, stamped with the time of its receipt. The caller combines before it waits.
///
/// # Errors
/// Why a client may not publish under this name.
pub fn publish(hub: &Hub, rights: Option<&Rights>, body: Body) -> Result<(), Refused> {
    hub.publish(allowed(rights, body)?);
    Ok(())
}

/// The same for a client that wants to know what became of it: `ack` is called then, under the hub's lock. Only the hub's
/// own subscribers and, of a durable topic, the disk are meant.
///
/// # Errors
/// Why a client may not publish under this name; `ack` is not called then.
pub fn publish_acked(hub: &Hub, rights: Option<&Rights>, body: Body, ack: Ack) -> Result<(), Refused> {
    hub.publish_acked(allowed(rights, body)?, ack);
    Ok(())
}

fn allowed(rights: Option<&Rights>, body: Body) -> Result<Event, Refused> {
    let event = Event { at: clock::wall(), body };
    rights.map_or(Ok(()), |rights| rights.publish(event.topic()))?;
    may_publish(event.topic()).map_err(Refused::Name)?;
    Ok(event)
}

/// Whether clients may publish under this name.
///
/// # Errors
/// Why not, in words for the publisher.
fn may_publish(event: &str) -> Result<(), String> {
    if is_reserved(event) {
        let prefix = event.split('.').next().unwrap_or(event);
        return Err(format!(
            "events under '{prefix}.' are the daemon's own: subscribe to them, publish under another name"
        ));
    }
    if event.len() > MAX_TOPIC_BYTES {
        return Err(format!("'event' has at most {MAX_TOPIC_BYTES} bytes, this one has {}", event.len()));
    }
    Ok(())
}
