//! The API's description as a test's yardstick.

use serde_json::Value;

use crate::common::{Answer, Daemon};

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

    /// Follows a `$ref` within the document.
    pub fn resolved<'a>(&'a self, thing: &'a Value) -> &'a Value {
        match thing["$ref"].as_str() {
            Some(place) => {
                let pointer = place.strip_prefix('#').expect("a reference within the document");
                self.0.pointer(pointer).unwrap_or_else(|| panic!("{place} leads nowhere"))
            }
            None => thing,
        }
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

    /// Whether a value fits a schema, in the part of JSON schema that the document uses. A keyword that is not
    /// known here is a fault as well: nothing may stand in the document that nobody checks.
    pub fn fits(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        let rules = schema.as_object().ok_or("a schema that is no object")?;
        if value.is_null() && rules.get("nullable") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        for (keyword, rule) in rules {
            let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
            let ok = match keyword.as_str() {
                "description" | "example" | "format" | "nullable" => true,
                "type" => match rule.as_str() {
                    Some("object") => value.is_object(),
                    Some("string") => value.is_string(),
                    Some("boolean") => value.is_boolean(),
                    Some("number") => value.is_number(),
                    Some("integer") => value.is_u64() || value.is_i64(),
                    Some("array") => value.is_array(),
                    _ => false,
                },
                "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
                "minimum" => number(value) >= number(rule),
                "maximum" => number(value) <= number(rule),
                "minLength" => value.as_str().map(str::len) >= rule.as_u64().map(|least| least as usize),
                "required" => rule.as_array().is_some_and(|names| {
                    names.iter().all(|name| name.as_str().is_some_and(|name| value.get(name).is_some()))
                }),
                "maxLength" => value.as_str().map(str::len) <= rule.as_u64().map(|most| most as usize),
                "minItems" => value.as_array().map(Vec::len) >= rule.as_u64().map(|least| least as usize),
                "maxItems" => value.as_array().map(Vec::len) <= rule.as_u64().map(|most| most as usize),
                "anyOf" => rule.as_array().into_iter().flatten().any(|schema| self.fits(value, schema).is_ok()),
                "properties" | "additionalProperties" | "items" => true, // below
                _ => return Err(format!("the keyword '{keyword}', unknown to the test")),
            };
            if !ok {
                return Err(format!("{keyword} {rule} does not hold for {value}"));
            }
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let schema =
                match (rules.get("properties").and_then(|known| known.get(name)), rules.get("additionalProperties")) {
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
