//! TLS: rustls with ring. `serve` is this machine's side, `dial` the way out. Where it is not built in, `no_tls.rs` stands
//! in for this folder.

mod dial;
mod serve;

pub use dial::{Secured, Trusted};
pub use serve::{Session, Tls, TlsError};
