//! The description of the sockets as a test's yardstick.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The description, as the daemon hands it out.
pub struct Document(Value);

impl Document {
    pub fn parse(text: &str) -> Document {
        let documents = YamlLoader::load_from_str(text).expect("YAML");
        assert_eq!(documents.len(), 1, "one document");
        Document(json(&documents[0]))
    }

    /// Follows references within the document.
    pub fn resolved<'a>(&'a self, mut thing: &'a Value) -> &'a Value {
        while let Some(place) = thing["$ref"].as_str() {
            let pointer = place.strip_prefix('#').expect("a reference within the document");
            thing = self.0.pointer(pointer).unwrap_or_else(|| panic!("{place} leads nowhere"));
        }
        thing
    }

    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"))
    }

    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.at("/channels").as_object().expect("channels").keys().map(String::as_str)
    }

    pub fn message(&self, channel: &str, name: &str) -> &Value {
        let found = self.resolved(&self.at(&format!("/channels/{channel}/messages"))[name]);
        assert!(found.is_object(), "the channel {channel} has no message {name}");
        found
    }

    /// The example of a message, or its only one.
    pub fn example(&self, channel: &str, name: &str, example: &str) -> Value {
        let examples = self.message(channel, name)["examples"].as_array().expect("examples");
        let found = examples.iter().find(|found| found["name"] == example);
        found.unwrap_or_else(|| panic!("{channel}: {name} has no example {example}"))["payload"].clone()
    }

    /// Everything a channel's messages show: `message/example`.
    pub fn examples(&self, channel: &str) -> BTreeSet<String> {
        let messages = self.at(&format!("/channels/{channel}/messages")).as_object().expect("messages");
        let names = messages.iter().flat_map(|(name, message)| {
            let examples = self.resolved(message)["examples"].as_array().unwrap_or_else(|| panic!("{name}: examples"));
            examples.iter().map(move |example| format!("{name}/{}", example["name"].as_str().expect("a name")))
        });
        names.collect()
    }

    /// The messages that one side sends on a channel, by way of operations and their replies: `receive` what the daemon
    /// takes, `send` what it says.
    pub fn said(&self, channel: &str, action: &str) -> BTreeSet<String> {
        let operations = self.at("/operations").as_object().expect("operations");
        let prefix = format!("#/channels/{channel}/messages/");
        let mut names = BTreeSet::new();
        for operation in operations.values() {
            let side = if operation["action"] == action { operation } else { &operation["reply"] };
            let messages = side["messages"].as_array().into_iter().flatten();
            names.extend(messages.filter_map(|m| m["$ref"].as_str()?.strip_prefix(&prefix).map(str::to_owned)));
        }
        names
    }

    /// Whether a message is one of this name.
    pub fn is(&self, channel: &str, name: &str, value: &Value) -> Result<(), String> {
        self.fits(value, &self.message(channel, name)["payload"])
    }

    /// Whether a value fits a schema, in the part of JSON schema that the document uses. A keyword that is not known
    /// here is a fault as well: nothing may stand in the document that nobody checks.
    pub fn fits(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        if schema == &Value::Bool(true) {
            return Ok(());
        }
        let rules = schema.as_object().ok_or("a schema that is no object")?;
        for (keyword, rule) in rules {
            let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
            let bound = || rule.as_u64().map(|bound| bound as usize);
            let ok = match keyword.as_str() {
                "description" | "format" => true,
                "type" => match rule.as_array() {
                    Some(kinds) => kinds.iter().any(|kind| is_of(value, kind)),
                    None => is_of(value, rule),
                },
                "const" => value == rule,
                "enum" => rule.as_array().is_some_and(|allowed| {
                    allowed.iter().any(|one| one == value || (one.is_number() && number(one) == number(value)))
                }),
                // The only two patterns there are: an epoch, and a position.
                "pattern" => value.as_str().is_none_or(|text| {
                    let (epoch, rest) = text.split_at_checked(16).unwrap_or((text, ""));
                    let hex =
                        epoch.len() == 16 && epoch.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                    let offset = rest.strip_prefix(':').is_some_and(|offset| offset.parse::<u64>().is_ok());
                    hex && if rule == "^[0-9a-f]{16}$" { rest.is_empty() } else { offset }
                }),
                "minimum" => value.as_f64().is_none_or(|it| it >= number(rule)),
                "maximum" => value.as_f64().is_none_or(|it| it <= number(rule)),
                "maxLength" => value.as_str().map(str::len) <= bound(),
                "minItems" => value.as_array().map(Vec::len) >= bound(),
                "maxItems" => value.as_array().map(Vec::len) <= bound(),
                "required" => rule.as_array().is_some_and(|names| {
                    names.iter().all(|name| name.as_str().is_some_and(|name| value.get(name).is_some()))
                }),
                "anyOf" => rule.as_array().into_iter().flatten().any(|schema| self.fits(value, schema).is_ok()),
                "properties" | "additionalProperties" | "items" => true, // below
                _ => return Err(format!("the keyword '{keyword}', unknown to the test")),
            };
            if !ok {
                return Err(format!("{keyword} {rule} does not hold for {value}"));
            }
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let known = rules.get("properties").and_then(|known| known.get(name));
            let schema = match (known, rules.get("additionalProperties")) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => schema,
                (None, Some(Value::Bool(false))) => return Err(format!("the undocumented member '{name}'")),
                (None, _) => continue,
            };
            self.fits(member, schema).map_err(|fault| format!("{name}: {fault}"))?;
        }
        for (index, element) in value.as_array().into_iter().flatten().enumerate() {
            let Some(schema) = rules.get("items") else { continue };
            self.fits(element, schema).map_err(|fault| format!("[{index}]: {fault}"))?;
        }
        Ok(())
    }
}

/// Whether a value is like an example: with all of its members, each of the same kind. More members are the schema's
/// business, and empty lists like any.
pub fn like(value: &Value, example: &Value) -> Result<(), String> {
    match (value, example) {
        (Value::Object(value), Value::Object(example)) => example.iter().try_for_each(|(name, expected)| {
            let member = value.get(name).ok_or_else(|| format!("no member '{name}'"))?;
            like(member, expected).map_err(|fault| format!("{name}: {fault}"))
        }),
        (Value::Array(value), Value::Array(example)) => match (value.first(), example.first()) {
            (Some(value), Some(example)) => like(value, example),
            _ => Ok(()),
        },
        _ if std::mem::discriminant(value) == std::mem::discriminant(example) => Ok(()),
        _ => Err(format!("{value} where the example has {example}")),
    }
}

/// What a daemon chose itself, by what stands in its place in the examples: ids, epochs, offsets.
#[derive(Default)]
pub struct Chosen(BTreeMap<String, Value>);

impl Chosen {
    const NAMES: [&str; 9] =
        ["lease", "sequence", "epoch", "offset", "server_id", "command_id", "request_id", "api_key", "token"];

    pub fn note(&mut self, example: &str, chosen: &str) {
        self.0.insert(Value::from(example).to_string(), chosen.into());
    }

    /// The text that stands for this one.
    pub fn text(&self, example: &str) -> Option<String> {
        self.0.get(&Value::from(example).to_string())?.as_str().map(str::to_owned)
    }

    /// Notes what a message has in the places where its example has the documented ids.
    pub fn learn(&mut self, example: &Value, value: &Value) {
        for (name, example) in example.as_object().into_iter().flatten() {
            if Self::NAMES.contains(&name.as_str()) && (example.is_string() || example.is_number()) {
                self.0.insert(example.to_string(), value[name].clone());
            }
            self.learn(example, &value[name]);
        }
    }

    /// An example as it has to be said to this daemon.
    pub fn put_in(&self, example: &mut Value) {
        for (name, member) in example.as_object_mut().into_iter().flatten() {
            let chosen = self.0.get(&member.to_string()).filter(|_| Self::NAMES.contains(&name.as_str()));
            match chosen {
                Some(chosen) => *member = chosen.clone(),
                None => self.put_in(member),
            }
        }
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        _ => false,
    }
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) => Value::from(text.parse::<f64>().expect("a number")),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Boolean(value) => Value::from(*value),
        Yaml::Array(elements) => elements.iter().map(json).collect(),
        Yaml::Hash(members) => {
            let named = |(name, value): (&Yaml, &Yaml)| {
                let name = name.as_str().unwrap_or_else(|| panic!("a member named {name:?}: quote it"));
                (name.to_owned(), json(value))
            };
            Value::Object(members.iter().map(named).collect::<Map<String, Value>>())
        }
        Yaml::Null => Value::Null,
        Yaml::Alias(_) | Yaml::BadValue => panic!("no value: {yaml:?}"),
    }
}
