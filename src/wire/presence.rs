//! Who is connected, and to what it is subscribed: the same in every dialect that tells it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

use super::chatops::write::list;
use super::time;
use crate::types::event::Dialect;

/// One client.
pub struct Present<'a> {
    /// As a client of PiCloud calls itself; empty elsewhere.
    pub name: &'a str,
    pub address: SocketAddr,
    pub since: SystemTime,
    pub dialect: Dialect,
    /// As they were written.
    pub subscriptions: &'a [String],
    /// Bytes that wait for it.
    pub backlog: usize,
    /// Events that were dropped for it so far.
    pub lagged: u64,
}

/// A dialect's name.
pub fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Picloud => "picloud",
        Dialect::Events => "events",
        Dialect::Code => "code",
        Dialect::Endrpi => "endrpi",
        Dialect::Page => "page",
    }
}

/// Appends all of them as an array, with the dialect's way to write a string.
pub fn clients(out: &mut Vec<u8>, clients: &[Present], string: fn(&mut Vec<u8>, &str)) {
    list(out, clients, |out, client| {
        who(out, client.name, client.address, client.dialect, client.since, string);
        out.extend_from_slice(b",\"subscriptions\":");
        list(out, client.subscriptions, |out, name| string(out, name));
        let _ = write!(out, ",\"backlog\":{},\"lagged\":{}}}", client.backlog, client.lagged);
    });
}

/// Appends the beginning of an object: who it is. The object stays open.
pub fn who(
    out: &mut Vec<u8>,
    name: &str,
    address: SocketAddr,
    spoken: Dialect,
    since: SystemTime,
    string: fn(&mut Vec<u8>, &str),
) {
    out.extend_from_slice(b"{\"name\":");
    string(out, name);
    let _ = write!(out, ",\"address\":\"{address}\",\"dialect\":\"{}\",\"since\":\"", dialect(spoken));
    time::write_millis(out, since);
    out.push(b'"');
}
