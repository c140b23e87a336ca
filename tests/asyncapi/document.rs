//! The description of the sockets as a test's yardstick.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

use crate::schema::{Kind, Schemas};

/// The description, as the daemon hands it out.
pub struct Document(Value);

impl Document {
    pub fn parse(text: &str) -> Document {
        let documents = YamlLoader::load_from_str(text).expect("YAML");
        assert_eq!(documents.len(), 1, "one document");
        Document(json(&documents[0]))
    }

    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"))
    }

    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.at("/channels").as_object().expect("channels").keys().map(String::as_str)
    }

    pub fn message(&self, channel: &str, name: &str) -> &Value {
        let found = self.schemas().resolved(&self.at(&format!("/channels/{channel}/messages"))[name]);
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
            let examples =
                self.schemas().resolved(message)["examples"].as_array().unwrap_or_else(|| panic!("{name}: examples"));
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
        self.schemas().fits(value, &self.message(channel, name)["payload"])
    }

    fn schemas(&self) -> Schemas<'_> {
        Schemas { document: &self.0, kind: Kind::AsyncApi }
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
