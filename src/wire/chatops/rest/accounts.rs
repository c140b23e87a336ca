//! What clients send of users: registration, login, passwords.

use std::borrow::Cow;

use super::super::limit;
use super::invalid::{Body, Invalid, Item};
use crate::types::fleet::Secret;

const NAME: usize = limit::NAME_BYTES;
const PASSWORD_MIN: usize = 8;
/// More costs a hash its time and nobody any safety.
const PASSWORD_MAX: usize = 1024;
const TOKEN_MAX: usize = 8 << 10;

/// `POST /auth/register`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub email: String,
    pub username: String,
    pub password: Secret,
    pub full_name: Option<String>,
}

/// # Errors
/// The 422.
pub fn register(body: &[u8]) -> Result<Register, Invalid> {
    let mut body = Body::object(body)?;
    let email = body.text("email", 0, NAME);
    if let Some(email) = email.as_deref().filter(|email| !is_email(email)) {
        let msg = "value is not a valid email address: An email address has a name, one @-sign and a domain.";
        let item = Item::new("body", "email", "value_error", msg);
        body.fault(item.input(&serde_json::Value::from(email).to_string()));
    }
    let email = body.required("email", email);
    let username = body.text("username", 1, NAME);
    let username = body.required("username", username);
    let full_name = body.text("full_name", 0, NAME);
    let password = new_password(&mut body, "password", "password_confirm");
    let register = (|| Some(Register { email: email?, username: username?, password: password?, full_name }))();
    body.finish(register)
}

/// A password, twice.
fn new_password(body: &mut Body, name: &'static str, again: &'static str) -> Option<Secret> {
    let password = body.secret(name, PASSWORD_MIN, PASSWORD_MAX);
    let password = body.required(name, password);
    let confirm = body.secret(again, 0, PASSWORD_MAX);
    let confirm = body.required(again, confirm)?;
    if password.as_ref().is_some_and(|password| *password != confirm) {
        body.fault(Item::new("body", again, "value_error", "Value error, Passwords do not match"));
    }
    password.map(Secret)
}

fn is_email(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.split_once('@').is_some_and(|(name, domain)| {
        plain(name)
            && plain(domain)
            && !domain.contains('@')
            && domain.split('.').count() > 1
            && domain.split('.').all(|label| !label.is_empty())
    })
}

/// `POST /auth/login`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// E-mail address or user name.
    pub name: String,
    pub password: Secret,
}

/// Reads a login as JSON: `username` or `email`, and `password`.
///
/// # Errors
/// The 422.
pub fn login_json(body: &[u8]) -> Result<Login, Invalid> {
    let mut body = Body::object(body)?;
    let name = body.text("username", 0, NAME).or_else(|| body.text("email", 0, NAME));
    let name = body.required("username", name);
    let password = body.secret("password", 0, PASSWORD_MAX);
    let password = body.required("password", password).map(Secret);
    body.finish(name.zip(password).map(|(name, password)| Login { name, password }))
}

/// Reads a login as a web page's form sends it, URL-encoded or in parts.
///
/// # Errors
/// The 422.
pub fn login_form(body: &[u8]) -> Result<Login, Invalid> {
    // No form has a member whose name begins so; each part has a line that does before it.
    let parts = if body.starts_with(b"--") { Some(parts(body)) } else { None };
    let member = |name: &str, max: usize| {
        let value = match &parts {
            Some(parts) => parts.iter().find(|(key, _)| *key == name).map(|(_, value)| Cow::Borrowed(*value)),
            None => form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value),
        };
        value.filter(|value| !value.is_empty() && value.chars().count() <= max).map(Cow::into_owned)
    };
    match (member("username", NAME), member("password", PASSWORD_MAX)) {
        (Some(name), Some(password)) => Ok(Login { name, password: Secret(password) }),
        (name, password) => Err(Invalid::missing(
            [("username", name.is_none()), ("password", password.is_none())]
                .into_iter()
                .filter_map(|(member, is_missing)| is_missing.then_some(member)),
        )),
    }
}

/// The names and values of a `multipart/form-data` body, whose first line is the one between its parts.
fn parts(body: &[u8]) -> Vec<(&str, &str)> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Some((between, _)) = text.split_once("\r\n") else { return Vec::new() };
    text.split(between).filter_map(one_part).collect()
}

/// `\r\n`, headers, an empty line, the value, `\r\n`.
fn one_part(part: &str) -> Option<(&str, &str)> {
    let (headers, value) = part.split_once("\r\n\r\n")?;
    let (_, after) = headers.split_once("; name=\"")?;
    Some((after.split_once('"')?.0, value.strip_suffix("\r\n")?))
}

/// Reads `POST /auth/refresh`: the refresh token.
///
/// # Errors
/// The 422.
pub fn refresh(body: &[u8]) -> Result<Secret, Invalid> {
    let mut body = Body::object(body)?;
    let token = body.secret("refresh_token", 0, TOKEN_MAX);
    let token = body.required("refresh_token", token);
    body.finish(token.map(Secret))
}

/// Reads `PUT /auth/me`: the full name, where it is to change; `Some(None)` takes it away.
///
/// # Errors
/// The 422.
pub fn profile(body: &[u8]) -> Result<Option<Option<String>>, Invalid> {
    let mut body = Body::object(body)?;
    let full_name = body.text("full_name", 0, NAME);
    let change = body.has("full_name").then_some(full_name);
    body.finish(Some(change))
}

/// `POST /auth/change-password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordChange {
    pub current: Secret,
    pub new: Secret,
}

/// # Errors
/// The 422.
pub fn password_change(body: &[u8]) -> Result<PasswordChange, Invalid> {
    let mut body = Body::object(body)?;
    let current = body.secret("current_password", 0, PASSWORD_MAX);
    let current = body.required("current_password", current).map(Secret);
    let new = new_password(&mut body, "new_password", "new_password_confirm");
    body.finish(current.zip(new).map(|(current, new)| PasswordChange { current, new }))
}
