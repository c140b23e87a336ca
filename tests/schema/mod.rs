//! Whether a value fits a schema, in the part of JSON schema that the descriptions of the API and of the sockets use. A
//! keyword that is not known here, or that is not the document's to use, is a fault as well: nothing may stand in a
//! document that nobody checks.

use serde_json::Value;

/// A document, and which schemas it holds.
#[derive(Clone, Copy)]
pub struct Schemas<'a> {
    pub document: &'a Value,
    pub kind: Kind,
}

/// What its schemas may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenAPI 3.0: a subset of JSON schema, with words of its own.
    OpenApi,
    /// AsyncAPI 3: JSON schema.
    AsyncApi,
}

impl<'a> Schemas<'a> {
    /// Follows references within the document.
    pub fn resolved(self, mut thing: &'a Value) -> &'a Value {
        while let Some(place) = thing["$ref"].as_str() {
            let pointer = place.strip_prefix('#').expect("a reference within the document");
            thing = self.document.pointer(pointer).unwrap_or_else(|| panic!("{place} leads nowhere"));
        }
        thing
    }

    /// See the file's text.
    pub fn fits(self, value: &Value, schema: &'a Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        if schema == &Value::Bool(true) && self.kind == Kind::AsyncApi {
            return Ok(());
        }
        let rules = schema.as_object().ok_or("a schema that is no object")?;
        if value.is_null() && self.kind == Kind::OpenApi && rules.get("nullable") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        for (keyword, rule) in rules {
            if !self.holds(keyword, rule, value)? {
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

    /// Whether a rule that is about the value as a whole holds.
    fn holds(self, keyword: &str, rule: &'a Value, value: &Value) -> Result<bool, String> {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let bound = rule.as_u64().unwrap_or_default() as usize;
        Ok(match (keyword, self.kind) {
            ("description" | "format", _) | ("example" | "nullable", Kind::OpenApi) => true,
            // Above.
            ("properties" | "additionalProperties" | "items", _) => true,
            ("type", Kind::AsyncApi) if rule.is_array() => {
                rule.as_array().into_iter().flatten().any(|kind| is_of(value, kind))
            }
            ("type", _) => is_of(value, rule),
            ("const", Kind::AsyncApi) => value == rule,
            ("enum", _) => rule.as_array().is_some_and(|allowed| {
                allowed.iter().any(|one| one == value || (one.is_number() && number(one) == number(value)))
            }),
            ("pattern", Kind::AsyncApi) => value.as_str().is_none_or(|text| is_like(text, rule)),
            ("minimum", _) => value.as_f64().is_none_or(|it| it >= number(rule)),
            ("maximum", _) => value.as_f64().is_none_or(|it| it <= number(rule)),
            ("minLength", Kind::OpenApi) => value.as_str().is_none_or(|text| text.len() >= bound),
            ("maxLength", _) => value.as_str().is_none_or(|text| text.len() <= bound),
            ("minItems", _) => value.as_array().is_none_or(|list| list.len() >= bound),
            ("maxItems", _) => value.as_array().is_none_or(|list| list.len() <= bound),
            ("required", _) => rule.as_array().is_some_and(|names| {
                names.iter().all(|name| name.as_str().is_some_and(|name| value.get(name).is_some()))
            }),
            ("anyOf", _) => rule.as_array().into_iter().flatten().any(|schema| self.fits(value, schema).is_ok()),
            _ => return Err(format!("the keyword '{keyword}', which is not known to the test of {:?}", self.kind)),
        })
    }
}

/// The only two patterns there are: an epoch, and a position.
fn is_like(text: &str, pattern: &Value) -> bool {
    let (epoch, rest) = text.split_at_checked(16).unwrap_or((text, ""));
    let is_hex = epoch.len() == 16 && epoch.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_offset = || rest.strip_prefix(':').is_some_and(|offset| offset.parse::<u64>().is_ok());
    match pattern.as_str() {
        Some("^[0-9a-f]{16}$") => is_hex && rest.is_empty(),
        Some("^[0-9a-f]{16}:[0-9]+$") => is_hex && is_offset(),
        other => panic!("{other:?}: a pattern that is unknown to the test"),
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
