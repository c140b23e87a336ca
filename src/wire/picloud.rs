//! PiCloud: `/subscribe`, `/publish`, `/info` and the HTTP publish.
//!
//! Member names are case-insensitive, as Go's JSON decoder takes them; unknown members are ignored; of a
//! repeated member the last one counts.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::time;
use crate::types::event::Body;
use crate::types::event::Event;

/// What a client asks on `/subscribe`.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    Subscribe(Cow<'a, str>),
    Unsubscribe(Cow<'a, str>),
    UnsubscribeAll,
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
    Ok(match message.action.as_deref() {
        Some("subscribe") => Ask::Subscribe(event),
        Some("unsubscribe") => Ask::Unsubscribe(event),
        Some("unsubscribe:all") => Ask::UnsubscribeAll,
        _ => Ask::Ignored,
    })
}

/// A message to publish, as the client wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub event: Cow<'a, str>,
    pub data: Cow<'a, str>,
    /// The client's own `action`, forwarded as PiCloud does.
    pub action: Option<Cow<'a, str>>,
    /// The client's own time, already known to be RFC 3339.
    pub created_at: Option<Cow<'a, str>>,
}

impl Publish<'_> {
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
pub fn error(out: &mut Vec<u8>, event: &str, message: &str) {
    out.extend_from_slice(b"{\"action\":\"error\",\"event\":");
    string(out, event);
    out.extend_from_slice(b",\"error\":");
    string(out, message);
    out.push(b'}');
}

/// One client in `/info`.
pub struct Client<'a> {
    pub name: &'a str,
    pub address: String,
    pub connected_at: SystemTime,
    pub events: &'a [String],
}

/// Appends the `/info` message: `subscriptions` sorted by name, clients in order of their coming.
pub fn info(out: &mut Vec<u8>, clients: &[Client], now: SystemTime) {
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
        ip_address: &'a str,
        connected_at: String,
    }
    let stamp = |at| {
        let mut text = Vec::new();
        time::write_nanos(&mut text, at);
        String::from_utf8(text).unwrap_or_default()
    };
    let mut subscriptions: std::collections::BTreeMap<&str, Vec<Connection>> = Default::default();
    let mut all_connections = Vec::with_capacity(clients.len());
    for client in clients {
        let connection = Connection {
            client_name: client.name,
            ip_address: &client.address,
            connected_at: stamp(client.connected_at),
        };
        for name in client.events {
            subscriptions.entry(name).or_default().push(connection.clone());
        }
        all_connections.push(connection);
    }
    let subscriptions =
        subscriptions.into_iter().map(|(name, connections)| Subscription { name, connections }).collect();
    // Serialising these types into a Vec cannot fail.
    let _ = serde_json::to_writer(out, &Info { subscriptions, all_connections, created_at: stamp(now) });
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
mod tests {
    use super::*;
    use crate::types::line::{Level, Pin};

    fn asked(text: &str) -> Ask<'_> {
        parse_ask(text.as_bytes()).expect(text)
    }

    #[test]
    fn asks_are_read_as_picloud_reads_them() {
        assert_eq!(asked(r#"{"action":"subscribe","event":"door"}"#), Ask::Subscribe("door".into()));
        assert_eq!(asked(r#"{"Action":"subscribe","EVENT":"d\u00e9"}"#), Ask::Subscribe("dé".into()));
        assert_eq!(asked(r#"{"action":"unsubscribe","event":""}"#), Ask::Unsubscribe("".into()));
        assert_eq!(asked(r#"{"action":"unsubscribe:all"}"#), Ask::UnsubscribeAll);
        assert_eq!(asked(r#"{"action":"publish","event":"x","data":"y"}"#), Ask::Ignored);
        assert_eq!(asked("{}"), Ask::Ignored);
        assert_eq!(asked("null"), Ask::Ignored);
        assert_eq!(asked(r#"{"action":"subscribe","event":"a","more":[1,{"x":2}]}"#), Ask::Subscribe("a".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "EOF"),
            ("[]", "expected a JSON object"),
            ("17", "expected a JSON object"),
            (r#"{"action":1}"#, "'action' must be a string"),
            (r#"{"event":{}}"#, "'event' must be a string"),
            (r#"{"event":"x","data":1}"#, "'data' must be a string"),
            (r#"{"event":"x","created_at":"now"}"#, "'created_at' must be an RFC 3339 timestamp"),
        ] {
            let error = parse_publish(text.as_bytes()).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_publish_keeps_what_the_client_wrote() {
        let publish = parse_publish(
            br#"{"event":"door","data":"open","action":"ring","created_at":"2026-03-02T08:15:30+01:00"} tail"#,
        );
        let publish = publish.expect("valid");
        assert_eq!((&*publish.event, &*publish.data), ("door", "open"));
        assert_eq!(publish.action.as_deref(), Some("ring"));
        assert_eq!(publish.created_at.as_deref(), Some("2026-03-02T08:15:30+01:00"));
        assert_eq!(parse_publish(br#"{"event":"door"}"#).expect("valid").data, "");
    }

    #[test]
    fn messages_have_picloud_s_members_in_order() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1);
        let published = |action: Option<&str>, created_at: Option<&str>| {
            let body = Body::Published {
                event: "do\"or".into(),
                data: "é".into(),
                action: action.map(Into::into),
                created_at: created_at.map(Into::into),
            };
            let mut out = Vec::new();
            event(&mut out, &Event { at, body });
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(
            published(None, None),
            r#"{"action":"publish","event":"do\"or","data":"é","created_at":"1970-01-01T00:00:00.000000001Z"}"#
        );
        assert_eq!(
            published(Some("ring"), Some("2026-03-02T08:15:30Z")),
            r#"{"action":"ring","event":"do\"or","data":"é","created_at":"2026-03-02T08:15:30Z"}"#
        );
        let pin = Pin::new(17).expect("a pin");
        let body = Body::GpioState { resource: "led".into(), pin, level: Level::High, pwm_duty: None, edges: None };
        let mut out = Vec::new();
        event(&mut out, &Event { at, body });
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            r#"{"action":"publish","event":"gpio.state.changed","data":"{\"resource\":\"led\",\"pin\":17,\"state\":\"high\"}","created_at":"1970-01-01T00:00:00.000000001Z"}"#
        );
    }

    #[test]
    fn info_lists_events_with_their_clients() {
        let events = ["door".to_owned(), "alarm".to_owned()];
        let at = SystemTime::UNIX_EPOCH;
        let clients = [
            Client { name: "panel", address: "10.0.0.7:5132".into(), connected_at: at, events: &events },
            Client { name: "idle", address: "10.0.0.8:1".into(), connected_at: at, events: &[] },
        ];
        let mut out = Vec::new();
        info(&mut out, &clients, at);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["subscriptions"][0]["name"], "alarm");
        assert_eq!(value["subscriptions"][1]["connections"][0]["client_name"], "panel");
        assert_eq!(value["all_connections"][1]["ip_address"], "10.0.0.8:1");
        out.clear();
        info(&mut out, &[], at);
        assert!(out.starts_with(br#"{"subscriptions":[],"all_connections":[],"created_at":"#));
    }
}
