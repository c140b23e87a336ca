//! Sockets that listen before we do: a service manager has opened them, and they meet what is configured.

use std::net::SocketAddr;

use super::source::ConfigError;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub address: SocketAddr,
    /// It is one of IPv6 that lets in IPv4 too.
    pub both_families: bool,
}

/// Where to listen in all. A configured address that a socket serves is that one, and others are opened beside them. A
/// socket that nobody has configured is used as well: somebody has written its unit.
///
/// # Errors
/// An address that cannot be opened because a socket has it in part.
pub(super) fn merge(addresses: &[SocketAddr], place: &str, passed: &[Passed]) -> Result<Vec<SocketAddr>, ConfigError> {
    let mut all = Vec::with_capacity(addresses.len() + passed.len());
    for address in addresses {
        match passed.iter().find(|passed| passed.serves(*address)) {
            Some(passed) => all.push(passed.address),
            None => all.push(*address),
        }
        if let Some(other) = passed.iter().find(|passed| passed.stands_in_the_way(*address)) {
            let message = format!(
                "{address} cannot be opened beside {}, which the service manager has opened: give one of them another \
                 port, or leave {address} out",
                other.address
            );
            return Err(ConfigError::new(place, message));
        }
    }
    all.extend(passed.iter().map(|passed| passed.address));
    Ok(all)
}

impl Passed {
    /// Whether it lets in who would come by this address and, at most, everybody of the other family too where this is
    /// everybody of one.
    fn serves(self, address: SocketAddr) -> bool {
        let everybody = self.address.ip().is_unspecified() && address.ip().is_unspecified();
        let by_both = self.address.port() == address.port() && everybody && self.both_families;
        self.address == address || by_both && address.is_ipv4()
    }

    /// Whether the kernel would refuse to open the other one.
    fn stands_in_the_way(self, address: SocketAddr) -> bool {
        let everybody = self.address.ip().is_unspecified() || address.ip().is_unspecified();
        // One that we open for everybody of IPv6 lets in IPv4 too.
        let of_both = self.both_families || address.is_ipv6() && address.ip().is_unspecified();
        let overlap = everybody && (self.address.is_ipv4() == address.is_ipv4() || of_both);
        self.address.port() == address.port() && overlap && !self.serves(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn merged(configured: &str, passed: (&str, bool)) -> Option<Vec<SocketAddr>> {
        let passed = Passed { address: addr(passed.0), both_families: passed.1 };
        let all = merge(&[addr(configured)], "listen", &[passed]).ok()?;
        let mut unique = all.clone();
        unique.dedup();
        Some(unique)
    }

    #[test]
    fn an_address_is_the_socket_that_serves_it_or_stands_beside_it_or_is_refused() {
        let both = |first: &str, second: &str| Some(vec![addr(first), addr(second)]);
        let one = |only: &str| Some(vec![addr(only)]);
        let table = [
            ("127.0.0.1:9000", ("127.0.0.1:9000", false), one("127.0.0.1:9000")),
            ("0.0.0.0:9000", ("[::]:9000", true), one("[::]:9000")),
            ("[::]:9000", ("[::]:9000", true), one("[::]:9000")),
            // What it does not let in is opened beside it.
            ("0.0.0.0:9000", ("[::]:9000", false), both("0.0.0.0:9000", "[::]:9000")),
            ("0.0.0.0:9000", ("[::]:80", true), both("0.0.0.0:9000", "[::]:80")),
            ("127.0.0.1:9000", ("10.0.0.1:9000", false), both("127.0.0.1:9000", "10.0.0.1:9000")),
            ("127.0.0.1:9000", ("[::1]:9000", false), both("127.0.0.1:9000", "[::1]:9000")),
            ("127.0.0.1:0", ("[::]:9000", true), both("127.0.0.1:0", "[::]:9000")),
            // Neither served nor to be had: it would open more than is configured, or less.
            ("127.0.0.1:9000", ("[::]:9000", true), None),
            ("127.0.0.1:9000", ("0.0.0.0:9000", false), None),
            ("0.0.0.0:9000", ("127.0.0.1:9000", false), None),
            ("[::]:9000", ("0.0.0.0:9000", false), None),
        ];
        for (configured, passed, expected) in table {
            assert_eq!(merged(configured, passed), expected, "{configured} with {passed:?}");
        }
    }
}
