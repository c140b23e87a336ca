//! Listening sockets that a service manager opened for us: `LISTEN_FDS`, a unit of type socket.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// One of them.
#[derive(Debug)]
pub struct Socket {
    pub address: SocketAddr,
    /// It lets in IPv4 as well as IPv6.
    pub both_families: bool,
    pub listener: TcpListener,
}

impl Socket {
    /// Takes the descriptor, if it is what can be served.
    ///
    /// # Errors
    /// What it is instead, and what to write into the unit.
    pub fn new(name: &str, descriptor: OwnedFd) -> Result<Socket, String> {
        let wrong = |what: &str| {
            let name = if name.is_empty() { String::new() } else { format!(" '{name}'") };
            format!(
                "the socket{name} that the service manager handed over is {what}; its unit needs ListenStream= with a \
                 port or ADDRESS:PORT, and Accept=no"
            )
        };
        let fd = descriptor.as_fd();
        match sockopt::socket_type(fd) {
            Ok(SocketType::STREAM) => {}
            Ok(_) => return Err(wrong("not one for streams")),
            Err(_) => return Err(wrong("no socket")),
        }
        let domain = sockopt::socket_domain(fd).map_err(|error| wrong(&error.to_string()))?;
        if domain != AddressFamily::INET && domain != AddressFamily::INET6 {
            return Err(wrong("not one for TCP"));
        }
        if !matches!(sockopt::socket_acceptconn(fd), Ok(true)) {
            return Err(wrong("a connection, or does not listen"));
        }
        let both_families = domain == AddressFamily::INET6 && matches!(sockopt::ipv6_v6only(fd), Ok(false));
        let listener = TcpListener::from(descriptor);
        // A connection that is gone before it is accepted must not hold up the others.
        listener.set_nonblocking(true).map_err(|error| wrong(&error.to_string()))?;
        let address = listener.local_addr().map_err(|error| wrong(&error.to_string()))?;
        Ok(Socket { address, both_families, listener })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listening_tcp_socket_is_taken_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let client = std::net::TcpStream::connect(address).expect("connects");
        let socket = Socket::new("web", listener.into()).expect("taken");
        assert_eq!((socket.address, socket.both_families), (address, false));
        let refused = |descriptor: OwnedFd| Socket::new("web", descriptor).expect_err("refused");
        assert!(refused(client.into()).starts_with("the socket 'web' that the service manager handed over is a conn"));
        assert!(refused(std::fs::File::open("/dev/null").expect("opened").into()).contains(" is no socket; "));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        assert!(refused(datagrams.into()).contains(" is not one for streams; "));
        let name = std::env::temp_dir().join(format!("pinwire-sockets-{}", std::process::id()));
        let local = UnixListener::bind(&name).expect("a socket");
        std::fs::remove_file(&name).expect("removed");
        assert!(refused(local.into()).contains(" is not one for TCP; "));
        if let Ok(both) = TcpListener::bind("[::]:0") {
            assert!(Socket::new("", both.into()).expect("taken").both_families);
        }
    }
}
