//! PiCloud: `/subscribe`, `/publish`, `/info` and the HTTP publish.
//!
//! Member names are case-insensitive, as Go's JSON decoder takes them; unknown members are ignored; of a
//! repeated member the last one counts.

use std::borrow::Cow;
use std::io::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::{self, Present};
use super::time;
use super::wants::{self, Asked};
use crate::types::event::{Body, Dialect, Event};
use crate::types::position::{Lagged, Position};
use crate::types::wants::{Resumed, Wants};

/// What a client asks on `/subscribe`.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// `pattern`: the name is a pattern; PiCloud's names are exact.
    Subscribe {
        event: Cow<'a, str>,
        pattern: bool,
        wants: Wants,
        /// An answer is wanted even if nothing else is.
        ack: bool,
    },
    Unsubscribe {
        event: Cow<'a, str>,
        pattern: bool,
    },
    UnsubscribeAll,
    /// What PiCloud does not know is wrong: told in a frame, and nothing else happens.
    Wrong {
        event: Cow<'a, str>,
        why: String,
    },
    /// Any other action, `publish` among them: ignored without a word, as PiCloud does.
    Ignored,
}

/// Reads a `/subscribe` frame.
///
/// # Errors
/// What is wrong, for the Close frame.
pub fn parse_ask(text: &[u8]) -> Result<Ask<'_>, String> {
    let message = parse(text)?;
    let event = message.event.unwrap_or_default();
    let options = || {
        let pattern = wants::flag("pattern", message.pattern)?;
        Ok((pattern, message.asked.read()?, wants::flag("ack", message.ack)?))
    };
    Ok(match message.action.as_deref() {
        Some("subscribe") => match options() {
            Ok((pattern, wants, ack)) => Ask::Subscribe { event, pattern, wants, ack },
            Err(why) => Ask::Wrong { event, why },
        },
        Some("unsubscribe") => match wants::flag("pattern", message.pattern) {
            Ok(pattern) => Ask::Unsubscribe { event, pattern },
            Err(why) => Ask::Wrong { event, why },
        },
        Some("unsubscribe:all") => Ask::UnsubscribeAll,
        _ => Ask::Ignored,
    })
}

/// A message to publish, as the client wrote it.
#[derive(Debug)]
pub struct Publish<'a> {
    pub event: Cow<'a, str>,
    pub data: Cow<'a, str>,
    /// The client's own `action`, forwarded as PiCloud does.
    pub action: Option<Cow<'a, str>>,
    /// The client's own time, already known to be RFC 3339.
    pub created_at: Option<Cow<'a, str>>,
    /// As it was sent; see [`Publish::wants_ack`].
    ack: Option<&'a RawValue>,
    /// The client's own mark, to be sent back with the answer; any JSON value.
    pub id: Option<&'a RawValue>,
}

impl Publish<'_> {
    /// Whether the client wants to be told what became of it.
    ///
    /// # Errors
    /// `ack` is neither true nor false.
    pub fn wants_ack(&self) -> Result<bool, String> {
        wants::flag("ack", self.ack)
    }

    /// As the hub carries it.
    pub fn into_body(self) -> Body {
        Body::Published {
            event: self.event.into(),
            data: self.data.into(),
            action: self.action.map(Into::into),
            created_at: self.created_at.map(Into::into),
        }
    }
}

/// Reads a publish frame or body. Only the first JSON value counts, as with PiCloud's decoder.
///
/// # Errors
/// What is wrong, naming the member.
pub fn parse_publish(text: &[u8]) -> Result<Publish<'_>, String> {
    let message = parse(text)?;
    Ok(Publish {
        event: message.event.unwrap_or_default(),
        data: message.data.unwrap_or_default(),
        action: message.action.filter(|action| !action.is_empty()),
        created_at: message.created_at,
        ack: message.ack,
        id: message.id,
    })
}

/// Appends the message a subscriber gets.
pub fn event(out: &mut Vec<u8>, event: &Event) {
    let (action, created_at) = match &event.body {
        Body::Published { action, created_at, .. } => (action.as_deref(), created_at.as_deref()),
        _ => (None, None),
    };
    out.extend_from_slice(b"{\"action\":");
    string(out, action.unwrap_or("publish"));
    out.extend_from_slice(b",\"event\":");
    string(out, event.topic());
    out.extend_from_slice(b",\"data\":");
    match &event.body {
        Body::Published { data, .. } => string(out, data),
        // The daemon's own events travel as text, because PiCloud's `data` is always a string.
        _ => {
            let mut json = Vec::new();
            super::events::data(&mut json, event);
            string(out, std::str::from_utf8(&json).unwrap_or_default());
        }
    }
    out.extend_from_slice(b",\"created_at\":");
    match created_at {
        Some(text) => string(out, text),
        None => {
            out.push(b'"');
            time::write_nanos(out, event.at);
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// Appends an error frame: PiCloud has none, but a refused publish must not look like a success.
/// `id` is what its sender gave it, as JSON.
pub fn error(out: &mut Vec<u8>, event: &str, message: &str, id: Option<&str>) {
    out.extend_from_slice(b"{\"action\":\"error\",\"event\":");
    string(out, event);
    out.extend_from_slice(b",\"error\":");
    string(out, message);
    end_with(out, id);
}

/// Appends the answer to a subscription that asks for one.
pub fn subscribed(out: &mut Vec<u8>, event: &str, resumed: &Resumed) {
    out.extend_from_slice(b"{\"action\":\"subscribed\",\"event\":");
    string(out, event);
    out.push(b',');
    wants::resumed(out, resumed);
    out.push(b'}');
}

/// Appends the answer to a publish that asks for one. `status` is `accepted` or `durable`.
pub fn ack(out: &mut Vec<u8>, event: &str, status: &str, position: Position, id: Option<&str>) {
    out.extend_from_slice(b"{\"action\":\"ack\",\"event\":");
    string(out, event);
    let _ = write!(out, ",\"status\":\"{status}\",");
    wants::position(out, position);
    end_with(out, id);
}

fn end_with(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id.as_bytes());
    }
    out.push(b'}');
}

/// Appends the same answer over HTTP.
pub fn published(out: &mut Vec<u8>, status: &str, position: Position) {
    let _ = write!(out, "{{\"status\":\"{status}\",");
    wants::position(out, position);
    out.push(b'}');
}

/// Appends which events were dropped for a client.
pub fn lagged(out: &mut Vec<u8>, lagged: &Lagged) {
    out.extend_from_slice(b"{\"action\":\"lagged\",");
    wants::lagged(out, lagged);
    out.push(b'}');
}

/// Appends the `/info` message: `subscriptions` sorted by name, clients in order of their coming. These are PiCloud's, in
/// its form; `clients` are all, with what PiCloud does not tell.
pub fn info(out: &mut Vec<u8>, clients: &[Present], now: SystemTime) {
    #[derive(Serialize)]
    struct Info<'a> {
        subscriptions: Vec<Subscription<'a>>,
        all_connections: Vec<Connection<'a>>,
        created_at: String,
    }
    #[derive(Serialize)]
    struct Subscription<'a> {
        name: &'a str,
        connections: Vec<Connection<'a>>,
    }
    #[derive(Serialize, Clone)]
    struct Connection<'a> {
        client_name: &'a str,
        ip_address: SocketAddr,
        connected_at: String,
    }
    let stamp = |at| {
        let mut text = Vec::new();
        time::write_nanos(&mut text, at);
        String::from_utf8(text).unwrap_or_default()
    };
    let mut subscriptions: std::collections::BTreeMap<&str, Vec<Connection>> = Default::default();
    let mut all_connections = Vec::new();
    let own = || clients.iter().filter(|client| client.dialect == Dialect::Picloud);
    for client in own() {
        let connection =
            Connection { client_name: client.name, ip_address: client.address, connected_at: stamp(client.since) };
        for name in client.subscriptions {
            subscriptions.entry(name).or_default().push(connection.clone());
        }
        all_connections.push(connection);
    }
    let subscriptions =
        subscriptions.into_iter().map(|(name, connections)| Subscription { name, connections }).collect();
    // Serialising these types into a Vec cannot fail.
    let _ = serde_json::to_writer(&mut *out, &Info { subscriptions, all_connections, created_at: stamp(now) });
    out.pop();
    out.extend_from_slice(b",\"clients\":");
    presence::clients(out, clients, string);
    out.push(b'}');
}

/// Appends a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

/// PiCloud's one message type, both ways.
#[derive(Default)]
struct Message<'a> {
    action: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
    created_at: Option<Cow<'a, str>>,
    // PiCloud knows none of these. They are looked at where they mean something.
    asked: Asked<'a>,
    pattern: Option<&'a RawValue>,
    ack: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

fn parse(text: &[u8]) -> Result<Message<'_>, String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let message = Option::<Message>::deserialize(&mut json).map_err(|error| {
        // The position says nothing to the author of a one-line message; the reason does.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        if error.is_data() { reason.to_owned() } else { format!("not JSON: {reason}") }
    })?;
    Ok(message.unwrap_or_default())
}

impl<'a> Message<'a> {
    /// Where a member goes that PiCloud does not have.
    fn option(&mut self, key: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match key {
            "since" => &mut self.asked.since,
            "last" => &mut self.asked.last,
            "position" => &mut self.asked.position,
            "pattern" => &mut self.pattern,
            "ack" => &mut self.ack,
            "id" => &mut self.id,
            _ => return None,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Message<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
                let mut message = Message::default();
                while let Some(Text(key)) = map.next_key()? {
                    if key.eq_ignore_ascii_case("event") {
                        message.event = member(&mut map, "event")?;
                    } else if key.eq_ignore_ascii_case("data") {
                        message.data = member(&mut map, "data")?;
                    } else if key.eq_ignore_ascii_case("action") {
                        message.action = member(&mut map, "action")?;
                    } else if key.eq_ignore_ascii_case("created_at") {
                        message.created_at = member(&mut map, "created_at")?;
                        if message.created_at.as_deref().is_some_and(|text| !time::is_rfc3339(text)) {
                            return Err(serde::de::Error::custom("'created_at' must be an RFC 3339 timestamp"));
                        }
                    } else if let Some(option) = message.option(&key) {
                        *option = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(message)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member that must be a string or null.
fn member<'de, A: MapAccess<'de>>(map: &mut A, name: &str) -> Result<Option<Cow<'de, str>>, A::Error> {
    let text = map.next_value::<Option<Text>>();
    text.map(|text| text.map(|Text(text)| text)).map_err(|error| {
        let _ = error;
        serde::de::Error::custom(format_args!("'{name}' must be a string"))
    })
}

/// Text borrowed from the input where it holds no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

#[cfg(test)]
mod tests;
