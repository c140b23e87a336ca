//! What clients may publish, and how it enters the hub.

use crate::rt::clock;
use crate::types::event::{Body, Event};
use crate::types::topic::{MAX_TOPIC_BYTES, is_reserved};
use crate::wire::picloud;

/// Whether clients may publish under this name.
///
/// # Errors
/// Why not, in words for the publisher.
pub fn may_publish(event: &str) -> Result<(), String> {
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

/// A published message as the hub carries it, stamped with the time of its receipt.
pub fn published(message: picloud::Publish) -> Event {
    let body = Body::Published {
        event: message.event.into(),
        data: message.data.into(),
        action: message.action.map(Into::into),
        created_at: message.created_at.map(Into::into),
    };
    Event { at: clock::wall(), body }
}
