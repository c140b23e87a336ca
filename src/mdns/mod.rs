//! Who else is on the network, and telling the network of us: multicast DNS (RFC 6762) and its service discovery
//! (RFC 6763).
//!
//! The protocol is the library's, with a thread of its own: probing, conflicts, answers, caches, goodbyes. The thread
//! here waits for what it finds, looks up hardware addresses, and tells of the machines that count; see `hosts`.
//! Without anything happening on the network both sleep, but for a look at this machine's own addresses once a minute.
//!
//! What strangers can make us keep is bounded: beyond `MAX_INSTANCES` announced services the search ends, and the
//! log says so.

#[cfg_attr(not(feature = "mdns"), path = "none.rs")]
mod responder;

use std::net::{IpAddr, SocketAddr};

use crate::types::mac::Mac;
pub use responder::Mdns;

/// A machine that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it calls itself.
    pub name: String,
    pub ip_address: IpAddr,
    pub mac_address: Option<Mac>,
}

/// What has happened on the network.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A machine is there, or something of it has changed.
    Found(Host),
    /// It said goodbye, or was not heard of for as long as it promised.
    Lost { name: String },
}

/// What is announced of this device.
pub struct Me {
    pub node_id: String,
    /// Where it listens; loopback is left out.
    pub listening: Vec<SocketAddr>,
    pub tls: bool,
}
