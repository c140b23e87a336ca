//! The Docker Engine's JSON, as far as it is asked for anything. Members that are not known are ignored.

use serde::Deserialize;

use crate::types::fleet::{Container, Port};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    image: Option<String>,
    state: Option<String>,
    status: Option<String>,
    /// Seconds since 1970; Podman wrote a text for a while.
    created: Option<serde_json::Value>,
    #[serde(default)]
    ports: Option<Vec<ListedPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPort {
    private_port: u16,
    public_port: Option<u16>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct Fault {
    message: Option<String>,
    cause: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    config: Option<InspectedConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    tty: Option<bool>,
}

/// The answer to `GET /containers/json`.
///
/// # Errors
/// It is something else.
pub fn containers(body: &[u8]) -> Result<Vec<Container>, String> {
    // An engine without containers may say null.
    let listed: Option<Vec<Listed>> = serde_json::from_slice(body).map_err(|why| why.to_string())?;
    Ok(listed.unwrap_or_default().into_iter().map(container).collect())
}

fn container(listed: Listed) -> Container {
    let names = listed.names.unwrap_or_default();
    // A name with a slash inside is a link of another container's.
    let own = |name: &&str| !name.is_empty() && !name.contains('/');
    let name = names.iter().map(|name| name.trim_start_matches('/')).find(own);
    let port = |port: ListedPort| Port {
        private: port.private_port,
        public: port.public_port.filter(|port| *port != 0),
        kind: port.r#type,
    };
    Container {
        name: name.unwrap_or_default().to_owned(),
        image: listed.image,
        status: listed.status,
        state: listed.state,
        created: match listed.created {
            Some(serde_json::Value::String(text)) => Some(text),
            Some(serde_json::Value::Number(number)) => Some(number.to_string()),
            _ => None,
        },
        ports: listed.ports.unwrap_or_default().into_iter().map(port).collect(),
        id: listed.id,
    }
}

/// Whether `GET /containers/…/json` speaks of a container with a terminal, whose log has no frames.
pub fn has_terminal(body: &[u8]) -> bool {
    let inspected = serde_json::from_slice::<Inspected>(body).ok();
    inspected.and_then(|inspected| inspected.config?.tty).unwrap_or(false)
}

/// The engine's reason for a refusal, in one line.
pub fn fault(body: &[u8]) -> Option<String> {
    let fault: Fault = serde_json::from_slice(body).ok()?;
    let text = fault.message.or(fault.cause)?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whatever_is_missing() {
        let body = br#"[{"Id":"abc","Names":["/other/link","/web"],"Image":"nginx","State":"running","Status":"Up 2 hours",
            "Created":1700000000,"Ports":[{"PrivatePort":80,"PublicPort":8080,"Type":"tcp","IP":"0.0.0.0"},{"PrivatePort":443}],
            "Labels":{"a":"b"}},{"Id":"def","Names":null,"Ports":null,"Created":"2026-01-01"}]"#;
        let all = containers(body).expect("reads");
        assert_eq!(
            (all[0].id.as_str(), all[0].name.as_str(), all[0].created.as_deref()),
            ("abc", "web", Some("1700000000"))
        );
        assert_eq!(all[0].ports[0], Port { private: 80, public: Some(8080), kind: Some("tcp".into()) });
        assert_eq!(all[0].ports[1].public, None);
        assert_eq!((all[1].name.as_str(), all[1].created.as_deref()), ("", Some("2026-01-01")));
        assert_eq!(containers(b"null"), Ok(Vec::new()));
        assert!(containers(b"{}").is_err());
    }

    #[test]
    fn faults_are_one_line() {
        assert_eq!(fault(br#"{"message":"no such\n container"}"#).as_deref(), Some("no such container"));
        assert_eq!(fault(b"<html>"), None);
        assert!(has_terminal(br#"{"Config":{"Tty":true}}"#) && !has_terminal(b"{}"));
    }
}
