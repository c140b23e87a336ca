//! What clients may publish, and how it enters the hub.

use crate::hub::Hub;
use crate::rt::clock;
use crate::types::event::{Body, Event};
use crate::types::topic::{MAX_TOPIC_BYTES, is_reserved};

/// Publishes a client's message, stamped with the time of its receipt. The caller combines before it waits.
///
/// # Errors
/// Why a client may not publish under this name, in words for it.
pub fn publish(hub: &Hub, body: Body) -> Result<(), String> {
    let event = Event { at: clock::wall(), body };
    may_publish(event.topic())?;
    hub.publish(event);
    Ok(())
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
