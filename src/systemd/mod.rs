//! The daemon's side of a service manager: what it is given by one, and what it tells it. Without one all of this is
//! silent, and costs nothing.
//!
//! Spoken is systemd's protocol, by environment variables and datagrams: `NOTIFY_SOCKET` ([`Notify`]), `WATCHDOG_USEC`
//! (`watchdog`), `LISTEN_FDS` ([`Socket`]). `JOURNAL_STREAM` is [`crate::rt::stderr`]'s.

mod handed;
mod notify;
mod sockets;
mod status;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

pub use notify::{Notify, Reloading};
pub use sockets::Socket;
pub use status::Fact;

/// What a service manager gave to this process.
#[derive(Default)]
pub struct Given {
    pub notify: Arc<Notify>,
    /// The longest time without a word before we are taken for dead.
    pub watchdog: Option<Duration>,
    pub sockets: Vec<Socket>,
    /// What made no sense, for the log once there is one.
    pub complaints: Vec<String>,
}

/// Takes it out of the environment, so that nothing we start believes it is meant. To be called first of all: where there
/// are other threads already, nothing is taken.
///
/// # Errors
/// A socket that is not one to listen on with TCP.
pub fn take() -> Result<Given, String> {
    let handed::Handed { notify, watchdog, descriptors, mut complaints } = handed::take();
    let notify = Notify::new(notify.as_deref()).unwrap_or_else(|why| {
        complaints.push(why);
        Notify::default()
    });
    let sockets = descriptors.into_iter().map(|(name, descriptor)| Socket::new(&name, descriptor));
    let sockets = sockets.collect::<Result<_, _>>()?;
    Ok(Given { notify: Arc::new(notify), watchdog, sockets, complaints })
}
