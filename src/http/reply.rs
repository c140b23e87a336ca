//! An answer before it is handed to tiny_http.

use std::io::Cursor;

use tiny_http::{Header, Response};

/// See the module's text.
pub struct Reply {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn text(status: u16, body: &str) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
    }

    pub fn json(status: u16, body: Vec<u8>) -> Reply {
        Reply::new(status, "application/json", body)
    }

    /// A static file; browsers ask again whether it has changed.
    pub fn file(kind: &'static str, body: &str) -> Reply {
        Reply::new(200, kind, body.as_bytes().to_vec()).with("Cache-Control", "no-cache")
    }

    pub fn new(status: u16, kind: &'static str, body: Vec<u8>) -> Reply {
        Reply { status, kind, body, headers: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
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
        let mut response = Response::from_data(self.body).with_status_code(self.status);
        for (name, value) in fixed.into_iter().chain(self.headers) {
            // A value that is not ASCII came from the visitor (an id in a path); it is left out.
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        }
        response
    }
}
