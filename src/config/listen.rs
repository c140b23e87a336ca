//! Where to listen, and whether that is allowed without a key.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::access::Access;
use super::defaults;
use super::load::Written;
use super::passed;
use super::source::ConfigError;
use crate::types::features;

/// The addresses of flags, else environment and file, else the default; and the sockets that are open already, beside
/// which the default is not opened.
///
/// `PORT` alone means all interfaces as in PiCloud, unless nobody decided who may come in. Where the file names
/// addresses, `PORT` (which beats the file) changes only their port: it must not open an interface that the file
/// left closed.
pub(super) fn addresses(written: &Written<'_>, access: &Access) -> Result<Vec<SocketAddr>, ConfigError> {
    let (addresses, place) = if !written.flags.listen.is_empty() {
        (parse_all(&written.flags.listen, "--listen")?, "--listen".to_owned())
    } else {
        let port = written.env("PORT").map(|text| env_port(&text)).transpose()?;
        match (&written.file.listen, port) {
            (Some(listen), port) => {
                let place = written.source.at("listen");
                let addresses = parse_all(&listen.0, &place)?;
                (with_port(addresses, port), place)
            }
            // An agent is asked nothing, unless somebody says so.
            (None, _) if written.flags.agent.is_some() => (Vec::new(), String::new()),
            (None, Some(port)) => {
                let ip = if matches!(access, Access::Undecided) { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
                (vec![SocketAddr::from((ip, port))], "PORT".to_owned())
            }
            (None, None) if !written.flags.passed.is_empty() => (Vec::new(), String::new()),
            (None, None) => (vec![SocketAddr::from((Ipv4Addr::LOCALHOST, defaults::PORT))], "listen".to_owned()),
        }
    };
    if matches!(access, Access::Undecided) {
        refuse_strangers(&addresses, &place)?;
        let passed: Vec<_> = written.flags.passed.iter().map(|passed| passed.address).collect();
        refuse_strangers(&passed, "the service manager's socket")?;
    }
    Ok(without_repeats(passed::merge(&addresses, &place, &written.flags.passed)?))
}

fn parse_all(texts: &[String], place: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    if texts.is_empty() {
        return Err(ConfigError::new(place, "is empty, write at least one address such as \"127.0.0.1:9000\""));
    }
    texts.iter().map(|text| parse(text, place)).collect()
}

fn parse(text: &str, place: impl Display) -> Result<SocketAddr, ConfigError> {
    let local = text.rsplit_once(':').and_then(|(host, port)| {
        let ip = match host {
            "" => Ipv4Addr::UNSPECIFIED,
            host if host.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::from((ip, parse_port(port)?)))
    });
    local.or_else(|| text.parse().ok()).ok_or_else(|| {
        let message = format!(
            "{text:?} is not an address to listen on, write for example \"127.0.0.1:9000\", \"[::1]:9000\", \
             \"localhost:9000\" or \":9000\" for all interfaces"
        );
        ConfigError::new(place, message)
    })
}

fn env_port(text: &str) -> Result<u16, ConfigError> {
    parse_port(text).ok_or_else(|| {
        ConfigError::new("PORT", format_args!("{text:?} is not a port, write a number from 0 to 65535 such as 9000"))
    })
}

/// Digits only: `u16::from_str` would take a sign as well.
fn parse_port(text: &str) -> Option<u16> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn with_port(mut addresses: Vec<SocketAddr>, port: Option<u16>) -> Vec<SocketAddr> {
    if let Some(port) = port {
        addresses.iter_mut().for_each(|address| address.set_port(port));
    }
    addresses
}

/// An address written twice is one listener; port 0 twice is two of them.
fn without_repeats(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if address.port() == 0 || !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

/// Secure before convenient: an address that others can reach needs a key, or the word that it needs none.
fn refuse_strangers(addresses: &[SocketAddr], place: &str) -> Result<(), ConfigError> {
    match addresses.iter().find(|address| !is_loopback(address.ip())) {
        None => Ok(()),
        Some(address) => {
            let stored = match features::HUB.built_in {
                true => " say --auth key to rely on those of `pinwire key add`,",
                false => "",
            };
            let message = format!(
                "{address} can be reached from other machines, but there is no API key: give --api-key-file FILE or \
                 API_KEY,{stored} or --auth none to let everybody in"
            );
            Err(ConfigError::new(place, message))
        }
    }
}

/// Whether other machines can reach any of these.
pub(super) fn is_reachable(addresses: &[SocketAddr]) -> bool {
    addresses.iter().any(|address| !is_loopback(address.ip()))
}

/// Also for an IPv4 address in IPv6 clothes (`::ffff:127.0.0.1`).
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
