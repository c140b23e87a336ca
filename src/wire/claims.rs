//! The JSON inside a JSON Web Token: its header and its claims (RFC 7515, RFC 7519).
//!
//! Reading is strict. No member may stand twice (RFC 7519 §4 leaves that to the reader, and two readers who choose
//! differently are an attack), and a claim that means something to us and has the wrong type is no claim.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::picloud::string;
use crate::types::token::{Claims, TokenKind};

/// The header of every token this daemon issues.
pub const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;

/// Why a header or a claims set is not taken. Quotes nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not a JSON object whose members stand once each")]
    NotAnObject,
    #[error("'{0}' is missing")]
    Missing(&'static str),
    #[error("'{name}' is not {wanted}")]
    Wrong { name: &'static str, wanted: &'static str },
    #[error("'{0}' asks for something this daemon does not do")]
    Unwanted(&'static str),
}

/// Takes a header that says HS256 and nothing that would change what the rest means.
///
/// # Errors
/// What else it says.
pub fn check_header(json: &[u8]) -> Result<(), Fault> {
    let members = members(json)?;
    match members.get("alg") {
        None => return Err(Fault::Missing("alg")),
        Some(alg) if alg == "HS256" => {}
        Some(_) => return Err(Fault::Wrong { name: "alg", wanted: "HS256" }),
    }
    if members.get("typ").is_some_and(|typ| typ != "JWT") {
        return Err(Fault::Wrong { name: "typ", wanted: "JWT" });
    }
    // RFC 7515 §4.1.11: who does not know what is critical refuses, and there is nothing critical that we know.
    if members.contains_key("crit") {
        return Err(Fault::Unwanted("crit"));
    }
    Ok(())
}

/// Appends a claims set. Fractions of a second are cut off, and `not_before` is not written.
pub fn write(out: &mut Vec<u8>, claims: &Claims) {
    out.extend_from_slice(b"{\"sub\":");
    string(out, &claims.subject);
    out.extend_from_slice(b",\"email\":");
    string(out, &claims.email);
    let _ = write!(out, ",\"exp\":{},\"type\":\"{}\"", seconds(claims.expires), claims.kind.as_str());
    let _ = write!(out, ",\"iat\":{},\"jti\":", seconds(claims.issued));
    string(out, &claims.id);
    out.push(b'}');
}

/// Reads a claims set with every claim that [`write()`] writes, and `nbf` where there is one. Claims nobody here knows
/// are allowed and ignored, except for an audience.
///
/// # Errors
/// The first claim that is missing or wrong.
pub fn read(json: &[u8]) -> Result<Claims, Fault> {
    let members = members(json)?;
    // RFC 7519 §4.1.3: a token for somebody else is refused, and we are nobody by name.
    if members.contains_key("aud") {
        return Err(Fault::Unwanted("aud"));
    }
    let kind = TokenKind::parse(text(&members, "type")?);
    Ok(Claims {
        subject: name(&members, "sub")?,
        email: text(&members, "email")?.to_owned(),
        kind: kind.ok_or(Fault::Wrong { name: "type", wanted: "'access' or 'refresh'" })?,
        expires: time(&members, "exp")?.ok_or(Fault::Missing("exp"))?,
        issued: time(&members, "iat")?.ok_or(Fault::Missing("iat"))?,
        not_before: time(&members, "nbf")?,
        id: name(&members, "jti")?,
    })
}

fn text<'a>(members: &'a BTreeMap<String, Value>, name: &'static str) -> Result<&'a str, Fault> {
    let value = members.get(name).ok_or(Fault::Missing(name))?;
    value.as_str().ok_or(Fault::Wrong { name, wanted: "a string" })
}

fn name(members: &BTreeMap<String, Value>, name: &'static str) -> Result<String, Fault> {
    match text(members, name)? {
        "" => Err(Fault::Wrong { name, wanted: "a name" }),
        text => Ok(text.to_owned()),
    }
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, with or without a fraction.
fn time(members: &BTreeMap<String, Value>, name: &'static str) -> Result<Option<SystemTime>, Fault> {
    const WANTED: &str = "a number of seconds since 1970";
    let Some(value) = members.get(name) else { return Ok(None) };
    let since = match value {
        Value::Number(number) => match number.as_u64() {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            // Refuses what is negative or too large; JSON has no NaN.
            None => number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        },
        _ => None,
    };
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    time.map(Some).ok_or(Fault::Wrong { name, wanted: WANTED })
}

/// A time before 1970 counts as 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn members(json: &[u8]) -> Result<BTreeMap<String, Value>, Fault> {
    serde_json::from_slice::<Members>(json).map(|members| members.0).map_err(|_| Fault::NotAnObject)
}

/// An object's members; serde_json's own maps take the last of two by one name.
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member stands twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn claims() -> Claims {
        Claims {
            subject: "5f1c".into(),
            email: "a\"b@example.org".into(),
            kind: TokenKind::Access,
            expires: at(1_800_001_800),
            issued: at(1_800_000_000),
            not_before: None,
            id: "j1".into(),
        }
    }

    const GOOD: &str =
        r#"{"sub":"5f1c","email":"a\"b@example.org","exp":1800001800,"type":"access","iat":1800000000,"jti":"j1"}"#;

    #[test]
    fn claims_are_read_as_they_were_written() {
        let mut out = Vec::new();
        write(&mut out, &claims());
        assert_eq!(String::from_utf8(out).expect("JSON"), GOOD);
        assert_eq!(read(GOOD.as_bytes()), Ok(claims()));
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        let read_exp = |exp: &str| read(GOOD.replace("1800001800", exp).as_bytes()).map(|claims| claims.expires);
        assert_eq!(read_exp("1800001800"), Ok(at(1_800_001_800)));
        assert_eq!(read_exp("1.8e9"), Ok(at(1_800_000_000)));
        assert_eq!(read_exp("1800001800.5"), Ok(at(1_800_001_800) + Duration::from_millis(500)));
        assert_eq!(read_exp("0"), Ok(at(0)));
        let wrong = Fault::Wrong { name: "exp", wanted: "a number of seconds since 1970" };
        for bad in
            ["\"1800001800\"", "null", "true", "[1800001800]", "{}", "-1", "-0.5", "1e30", "18446744073709551615"]
        {
            assert_eq!(read_exp(bad), Err(wrong), "{bad}");
        }
        for no_json in ["NaN", "Infinity", "1e999", "0x10", "+1", "01", ".5", ""] {
            assert_eq!(read_exp(no_json), Err(Fault::NotAnObject), "{no_json}");
        }
    }

    #[test]
    fn every_claim_is_asked_for() {
        for (name, member) in [
            ("sub", r#""sub":"5f1c","#),
            ("email", r#""email":"a\"b@example.org","#),
            ("exp", r#""exp":1800001800,"#),
            ("type", r#""type":"access","#),
            ("iat", r#""iat":1800000000,"#),
        ] {
            assert_eq!(read(GOOD.replace(member, "").as_bytes()), Err(Fault::Missing(name)));
        }
        assert_eq!(read(GOOD.replace(r#","jti":"j1""#, "").as_bytes()), Err(Fault::Missing("jti")));
        for (good, bad) in [
            (r#""5f1c""#, r#""""#),
            (r#""5f1c""#, "7"),
            (r#""j1""#, r#""""#),
            (r#""j1""#, "null"),
            (r#""access""#, r#""Access""#),
            (r#""access""#, r#"["access"]"#),
            ("1800000000", r#""1800000000""#),
        ] {
            assert!(matches!(read(GOOD.replace(good, bad).as_bytes()), Err(Fault::Wrong { .. })), "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_is_ignored_unless_it_must_be_known() {
        let with = |member: &str| read(GOOD.replace('{', &format!("{{{member},")).as_bytes());
        assert_eq!(with(r#""iss":"joe","x":{"exp":1,"exp":2}"#), Ok(claims()));
        assert_eq!(with(r#""nbf":1800000000"#).map(|claims| claims.not_before), Ok(Some(at(1_800_000_000))));
        assert!(matches!(with(r#""nbf":"1800000000""#), Err(Fault::Wrong { name: "nbf", .. })));
        assert!(matches!(with(r#""nbf":null"#), Err(Fault::Wrong { name: "nbf", .. })));
        assert_eq!(with(r#""aud":"somebody""#), Err(Fault::Unwanted("aud")));
    }

    #[test]
    fn nothing_stands_twice() {
        for twice in [
            GOOD.replace('{', r#"{"exp":9999999999,"#),
            GOOD.replace('}', r#","exp":9999999999}"#),
            GOOD.replace('{', r#"{"\u0065xp":9999999999,"#),
            GOOD.replace('{', r#"{"x":1,"x":1,"#),
            format!("{GOOD}{GOOD}"),
            format!("[{GOOD}]"),
            String::new(),
            "null".into(),
        ] {
            assert_eq!(read(twice.as_bytes()), Err(Fault::NotAnObject), "{twice}");
        }
        assert_eq!(read(b"{\"sub\":\"\xff\"}"), Err(Fault::NotAnObject));
        assert_eq!(check_header(br#"{"alg":"none","alg":"HS256"}"#), Err(Fault::NotAnObject));
    }

    #[test]
    fn only_one_algorithm_is_known() {
        assert_eq!(check_header(HEADER), Ok(()));
        for good in [r#"{"alg":"HS256"}"#, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", r#"{"alg":"HS256","kid":"1"}"#] {
            assert_eq!(check_header(good.as_bytes()), Ok(()), "{good}");
        }
        let wrong = Err(Fault::Wrong { name: "alg", wanted: "HS256" });
        for alg in ["\"none\"", "\"None\"", "\"\"", "\"HS384\"", "\"RS256\"", "\"hs256\"", "\"HS256 \"", "[\"HS256\"]"]
        {
            assert_eq!(check_header(format!(r#"{{"typ":"JWT","alg":{alg}}}"#).as_bytes()), wrong, "{alg}");
        }
        assert_eq!(check_header(br#"{"typ":"JWT"}"#), Err(Fault::Missing("alg")));
        assert_eq!(check_header(br#"{"alg":"HS256","crit":[]}"#), Err(Fault::Unwanted("crit")));
        assert_eq!(check_header(br#"{"alg":"HS256","crit":["b64"],"b64":false}"#), Err(Fault::Unwanted("crit")));
        for typ in ["\"jwt\"", "\"JWE\"", "null", "1"] {
            let header = format!(r#"{{"typ":{typ},"alg":"HS256"}}"#);
            assert_eq!(check_header(header.as_bytes()), Err(Fault::Wrong { name: "typ", wanted: "JWT" }), "{typ}");
        }
    }
}
