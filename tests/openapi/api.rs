//! The API's description as a test's yardstick.

use serde_json::Value;

use crate::common::{Answer, Daemon};
use crate::schema::{Kind, Schemas};

/// The description, as the daemon hands it out.
pub struct Api(pub Value);

/// A documented operation: method, path and what is said of it.
pub type Operation<'a> = (String, &'a str, &'a Value);

impl Api {
    pub fn of(daemon: &Daemon) -> Api {
        Api(daemon.get("/openapi.json").json())
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").iter().filter(|(name, _)| *name != "parameters");
            methods.map(move |(method, what)| (method.to_uppercase(), path.as_str(), what))
        });
        operations.collect()
    }

    pub fn operation(&self, method: &str, path: &str) -> &Value {
        let found = &self.0["paths"][path][method.to_lowercase()];
        assert!(found.is_object(), "{method} {path} is documented");
        found
    }

    /// Follows references within the document.
    pub fn resolved<'a>(&'a self, thing: &'a Value) -> &'a Value {
        self.schemas().resolved(thing)
    }

    /// Holds an answer against the documentation of its operation.
    pub fn check(&self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path} -> {}", answer.status);
        let responses = &self.operation(method, path)["responses"];
        let response = self.resolved(&responses[answer.status.to_string()]);
        assert!(response.is_object(), "{place}: not a documented status; it said {}", answer.body);
        let Some(content) = response["content"].as_object() else {
            return assert_eq!(answer.body, "", "{place}: no body is documented");
        };
        let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{place}: '{kind}' is not documented"))["schema"];
        let body = if kind == "application/json" { answer.json() } else { Value::from(answer.body.as_str()) };
        self.fits(&body, schema).unwrap_or_else(|fault| panic!("{place}: {fault} in {body}"));
    }

    pub fn fits(&self, value: &Value, schema: &Value) -> Result<(), String> {
        self.schemas().fits(value, schema)
    }

    fn schemas(&self) -> Schemas<'_> {
        Schemas { document: &self.0, kind: Kind::OpenApi }
    }
}
