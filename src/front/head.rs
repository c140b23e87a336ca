//! The request head, read once and strictly, and where it leads.

use crate::auth::{self, Shown};
use crate::types::wants::Wants;
use crate::wire::wants;

/// Headers a request may have.
const MAX_HEADERS: usize = 64;

/// What is wrong with a head, and the status that says so.
#[derive(Debug, PartialEq, Eq)]
pub struct BadHead {
    pub status: u16,
    pub reason: &'static str,
}

/// What the front door needs to know of a request.
#[derive(Debug, Default)]
pub struct Head {
    pub is_post: bool,
    pub path: String,
    /// As written, without the `?`.
    pub query: String,
    pub host: Option<String>,
    pub origin: Option<String>,
    pub shown: Shown,
    pub client_name: Option<String>,
    pub user_agent: Option<String>,
    /// Every `types=` of the query, for `/ws`.
    pub types: Vec<String>,
    /// `since=`, `last=` and `positions=` of the query, for `/ws`.
    pub since: Option<String>,
    pub last: Option<String>,
    pub positions: Option<String>,
    pub body: Body,
    pub expects_continue: bool,
    /// Whether the visitor wants to go on with the connection after the answer (RFC 9112 §9.3).
    pub keep_alive: bool,
    pub upgrade: Option<Upgrade>,
    /// Bytes of the head, the empty line included.
    pub length: usize,
}

/// How the body is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    None,
    Length(usize),
    Chunked,
}

/// The headers of a request for a WebSocket, as they were sent.
#[derive(Debug, Default)]
pub struct Upgrade {
    pub connection: String,
    pub upgrade: String,
    pub version: String,
    pub key: String,
    pub protocols: Vec<String>,
}

/// Reads a head; `None` when more bytes are needed.
///
/// # Errors
/// What is wrong; the connection is of no use then.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(bad(431, "too many headers: at most 64")),
        Err(_) => return Err(bad(400, "not an HTTP/1.1 request")),
    };
    let mut head = Head { length, is_post: request.method == Some("POST"), ..Head::default() };
    read_target(&mut head, request.path.unwrap_or_default())?;
    let mut upgrade = Upgrade::default();
    let (mut lengths, mut chunked) = (Vec::new(), false);
    for header in request.headers.iter() {
        // tiny_http drops a connection without a word over a byte that is not ASCII.
        let value = std::str::from_utf8(header.value).ok().filter(|value| value.is_ascii());
        let value = value.ok_or(bad(400, "a header value that is not ASCII"))?.trim();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            if head.host.replace(value.to_owned()).is_some() {
                return Err(bad(400, "more than one Host header"));
            }
        } else if is("origin") {
            head.origin = Some(value.to_owned());
        } else if is("x-api-key") {
            head.shown.header = Some(value.to_owned());
        } else if is("authorization") {
            head.shown.bearer = auth::bearer(value);
        } else if is("x-api-client-name") {
            head.client_name = Some(value.to_owned()).filter(|name| !name.is_empty()).or(head.client_name);
        } else if is("user-agent") {
            head.user_agent = Some(value.to_owned());
        } else if is("content-length") {
            lengths.push(value.parse::<usize>().map_err(|_| bad(400, "Content-Length is not a number"))?);
        } else if is("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(bad(501, "the only Transfer-Encoding taken is chunked"));
            }
            chunked = true;
        } else if is("expect") {
            head.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if is("connection") {
            append(&mut upgrade.connection, value);
        } else if is("upgrade") {
            append(&mut upgrade.upgrade, value);
        } else if is("sec-websocket-version") {
            value.clone_into(&mut upgrade.version);
        } else if is("sec-websocket-key") {
            value.clone_into(&mut upgrade.key);
        } else if is("sec-websocket-protocol") {
            upgrade.protocols.extend(value.split(',').map(|p| p.trim().to_owned()));
        }
    }
    if head.host.is_none() && request.version == Some(1) {
        return Err(bad(400, "no Host header"));
    }
    head.body = match (lengths.as_slice(), chunked) {
        ([], false) => Body::None,
        ([], true) => Body::Chunked,
        ([length, rest @ ..], false) if rest.iter().all(|other| other == length) => Body::Length(*length),
        // Two ways to read the same bytes are a way to smuggle a second request.
        _ => return Err(bad(400, "contradicting Content-Length and Transfer-Encoding")),
    };
    head.keep_alive = match request.version {
        Some(1) => !has_token(&upgrade.connection, "close"),
        _ => has_token(&upgrade.connection, "keep-alive") && !has_token(&upgrade.connection, "close"),
    };
    let get = request.method == Some("GET");
    if get && has_token(&upgrade.upgrade, "websocket") && has_token(&upgrade.connection, "upgrade") {
        if let [scheme, key, ..] = upgrade.protocols.as_slice()
            && scheme.eq_ignore_ascii_case("bearer")
        {
            head.shown.subprotocol = Some(key.clone());
        }
        head.upgrade = Some(upgrade);
    }
    Ok(Some(head))
}

impl Head {
    /// What `/ws` is asked for beside the types.
    ///
    /// # Errors
    /// Names the parameter and what it may be.
    pub fn wants(&self) -> Result<Wants, String> {
        Ok(Wants {
            since: self.since.as_deref().map(wants::since_text).transpose()?,
            last: wants::query_flag("last", self.last.as_deref())?,
            position: wants::query_flag("positions", self.positions.as_deref())?,
        })
    }
}

/// The path, and what of the query the front door uses.
fn read_target(head: &mut Head, target: &str) -> Result<(), BadHead> {
    // Proxies send the absolute form; the authority in it is not what decides here.
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    if !target.starts_with('/') && target != "*" {
        return Err(bad(400, "the request target must be a path"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    path.clone_into(&mut head.path);
    query.clone_into(&mut head.query);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        auth::take_query(&mut head.shown, &mut head.client_name, &name, &value);
        if name == "types" {
            head.types.extend(value.split(',').filter(|t| !t.is_empty()).map(str::to_owned));
        }
        let wish = match &*name {
            "since" => &mut head.since,
            "last" => &mut head.last,
            // As messages call it, too.
            "positions" | "position" => &mut head.positions,
            _ => continue,
        };
        *wish = Some(value.into_owned());
    }
    Ok(())
}

/// How many bytes of `bytes` the body takes, or `None` when more are needed. The chunks of a chunked body are
/// counted, not decoded.
///
/// # Errors
/// 413 beyond `limit`, 400 for chunks that are none.
pub fn body_length(body: Body, bytes: &[u8], limit: usize) -> Result<Option<usize>, BadHead> {
    const TOO_LARGE: BadHead = bad(413, "the body is larger than front.body_bytes allows");
    match body {
        Body::None => Ok(Some(0)),
        Body::Length(length) if length > limit => Err(TOO_LARGE),
        Body::Length(length) => Ok((bytes.len() >= length).then_some(length)),
        Body::Chunked => {
            let mut at = 0;
            loop {
                let rest = &bytes[at..];
                if at > limit {
                    return Err(TOO_LARGE);
                }
                let (line, size) = match httparse::parse_chunk_size(rest) {
                    Ok(httparse::Status::Complete(found)) => found,
                    Ok(httparse::Status::Partial) => return Ok(None),
                    Err(_) => return Err(bad(400, "a chunk size that is none")),
                };
                let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or(TOO_LARGE)?;
                if size == 0 {
                    // Trailers are not taken: nobody here would read them.
                    return match rest.get(line..line + 2) {
                        Some(b"\r\n") => Ok(Some(at + line + 2)),
                        Some(_) => Err(bad(400, "trailers are not taken")),
                        None => Ok(None),
                    };
                }
                match rest.get(line + size..line + size + 2) {
                    Some(b"\r\n") => at += line + size + 2,
                    Some(_) => return Err(bad(400, "a chunk longer than its size")),
                    None => return Ok(None),
                }
            }
        }
    }
}

const fn bad(status: u16, reason: &'static str) -> BadHead {
    BadHead { status, reason }
}

fn append(list: &mut String, value: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(value);
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).expect("valid").expect("whole")
    }

    fn refused(text: &str) -> u16 {
        parse(text.as_bytes()).expect_err(text).status
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = "GET /ws?types=gpio.**,system.**&token=k HTTP/1.1\r\nHost: pi:9000\r\nOrigin: http://pi:9000\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: bearer, other\r\n\r\nrest";
        for end in 0..text.len() - 4 {
            assert!(parse(&text.as_bytes()[..end]).expect("so far").is_none(), "{end}");
        }
        let head = head(text);
        assert_eq!(head.length, text.len() - 4);
        assert_eq!(head.path, "/ws");
        assert_eq!(head.types, ["gpio.**", "system.**"]);
        assert_eq!(head.shown.query.as_deref(), Some("k"));
        assert_eq!(head.shown.subprotocol.as_deref(), Some("other"));
        assert!(head.upgrade.is_some());
    }

    #[test]
    fn keys_and_names_are_found_where_they_may_stand() {
        let head = head(
            "POST /publish?apiKey=a%2Bb&clientName=the%20name HTTP/1.1\r\nhost: x\r\nAuthorization: bearer  t\r\nX-API-Client-Name: header\r\ncontent-length: 5\r\n\r\n",
        );
        assert_eq!(head.shown.query.as_deref(), Some("a+b"));
        assert_eq!(head.shown.bearer.as_deref(), Some("t"));
        assert_eq!(head.client_name.as_deref(), Some("header"));
        assert_eq!(head.body, Body::Length(5));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n"), 400);
        assert_eq!(
            refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501);
        assert_eq!(refused("GET x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(refused("\x16\x03\x01 hello\r\n\r\n"), 400);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65))), 431);
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let ends = |body, bytes: &[u8]| body_length(body, bytes, 100).expect("valid");
        assert_eq!(ends(Body::None, b"more"), Some(0));
        assert_eq!(ends(Body::Length(3), b"ab"), None);
        assert_eq!(ends(Body::Length(3), b"abcd"), Some(3));
        let chunked = b"4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\nGET";
        for end in 0..chunked.len() - 3 {
            assert_eq!(ends(Body::Chunked, &chunked[..end]), None, "{end}");
        }
        assert_eq!(ends(Body::Chunked, chunked), Some(chunked.len() - 3));
        let refused = |body, bytes: &[u8]| body_length(body, bytes, 100).expect_err("refused").status;
        assert_eq!(refused(Body::Length(101), b""), 413);
        assert_eq!(refused(Body::Chunked, b"65\r\n"), 413);
        assert_eq!(refused(Body::Chunked, b"ffffffffffffffff\r\n"), 413);
        assert_eq!(refused(Body::Chunked, b"1\r\nabc"), 400);
        assert_eq!(refused(Body::Chunked, b"zz\r\n"), 400);
        assert_eq!(refused(Body::Chunked, b"0\r\nTrailer: x\r\n\r\n"), 400);
    }
}
