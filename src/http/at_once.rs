//! Publishing without the way through the private server: it is what programs do over HTTP all day, and the connection,
//! the thread and the copies of that way cost more than sending an event to a hundred subscribers.
//!
//! Everything else about it is the same: the front door has checked the request, the same handler answers it, and the
//! same library writes the answer.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tiny_http::{HTTPVersion, Header, Method};

use super::{Asked, Private, Reply, picloud};
use crate::auth::Shown;
use crate::rt::worker;

/// A whole request to publish, as the front door has read it.
pub struct Publish<'a> {
    pub peer: SocketAddr,
    pub query: &'a str,
    pub shown: Shown,
    pub client_name: Option<String>,
    pub body: &'a [u8],
    /// Nothing more comes on this connection.
    pub is_last: bool,
}

impl Private {
    /// Publishes, and returns the whole answer. The caller combines when it is sent.
    pub fn publish(&self, request: Publish<'_>) -> Vec<u8> {
        let is_last = request.is_last;
        let asked = Asked {
            peer: request.peer,
            method: Method::Post,
            path: "/publish".to_owned(),
            query: request.query.to_owned(),
            shown: request.shown,
            client_name: request.client_name,
            accepts_html: false,
            json: false,
            body: request.body.to_vec(),
            rights: None,
            // The thread that calls this is the visitor's own.
            may_wait: true,
        };
        let answered = catch_unwind(AssertUnwindSafe(|| picloud::answer(&self.rooms, &asked)));
        let mut reply = answered.unwrap_or_else(|_| {
            log::error!("the handler of POST /publish crashed");
            worker::crashed();
            Reply::text(500, "Internal Server Error")
        });
        if is_last {
            reply = reply.with("Connection", "close");
        }
        let mut out = Vec::with_capacity(256);
        // Writing to memory cannot fail.
        let _ = reply.response().raw_print(&mut out, HTTPVersion(1, 1), &[] as &[Header], false, None);
        out
    }

    /// Sends what was published.
    pub fn combine(&self) {
        self.rooms.hub.combine();
    }
}
