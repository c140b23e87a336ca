//! An answer before it is handed to tiny_http.

// Some of it only a hub needs.
#![cfg_attr(not(feature = "hub"), allow(dead_code))]

use std::io::Cursor;

use tiny_http::{Header, Response};

use super::later::Answerer;

/// What our pages may do. No script but our own files, so that text from an event stays text even if a page
/// had a bug; no frames, so that nobody can lay our switches under their own buttons; no forms that leave, so
/// that a key cannot end up in an address. Icons are inlined, and older browsers do not count a socket to the
/// page's own host as `'self'`.
const PAGE_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// See the module's text.
pub struct Reply {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    /// Who gives another answer instead, later.
    later: Option<Start>,
}

/// Takes the request over from its handler; must not wait.
pub type Start = Box<dyn FnOnce(Answerer) + Send>;

impl Reply {
    pub fn text(status: u16, body: &str) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
    }

    pub fn json(status: u16, body: Vec<u8>) -> Reply {
        Reply::new(status, "application/json", body)
    }

    /// A static file; browsers ask again whether it has changed, and are told what its page may do.
    pub fn file(kind: &'static str, body: &str) -> Reply {
        Reply::new(200, kind, body.as_bytes().to_vec())
            .with("Cache-Control", "no-cache")
            .with("Content-Security-Policy", PAGE_POLICY)
            .with("X-Frame-Options", "DENY")
            .with("Referrer-Policy", "no-referrer")
    }

    pub fn new(status: u16, kind: &'static str, body: Vec<u8>) -> Reply {
        Reply { status, kind, body, headers: Vec::new(), later: None }
    }

    /// No answer yet: `start` sees to it that somebody gives one.
    pub fn later(start: impl FnOnce(Answerer) + Send + 'static) -> Reply {
        Reply { later: Some(Box::new(start)), ..Reply::text(500, "") }
    }

    pub(super) fn take_later(&mut self) -> Option<Start> {
        self.later.take()
    }

    /// Bytes of the body.
    pub fn length(&self) -> usize {
        self.body.len()
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// A browser asks, on behalf of a page of a listed origin, what the page may send (CORS). It shows no key
    /// in this question.
    pub fn preflight() -> Reply {
        Reply::new(204, "text/plain; charset=utf-8", Vec::new())
            .with("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
            .with("Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key, X-API-Client-Name")
            .with("Access-Control-Max-Age", "600")
    }

    /// Lets pages of a listed origin read the answer (CORS).
    pub fn for_origin(self, origin: Option<String>) -> Reply {
        match origin {
            Some(origin) => self.with("Access-Control-Allow-Origin", origin).with("Vary", "Origin"),
            None => self,
        }
    }

    pub fn response(self) -> Response<Cursor<Vec<u8>>> {
        let fixed = [("Content-Type", self.kind.to_owned()), ("X-Content-Type-Options", "nosniff".to_owned())];
        // Every body is whole, so its length is told: tiny_http would send the longer ones in chunks.
        let mut response =
            Response::from_data(self.body).with_status_code(self.status).with_chunked_threshold(usize::MAX);
        for (name, value) in fixed.into_iter().chain(self.headers) {
            // A value that is not ASCII came from the visitor (an id in a path); it is left out.
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        }
        response
    }
}
