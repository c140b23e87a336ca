//! The addresses: whether they can be listened on, and who has those that cannot.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use serde_json::Value;

use super::Patient;
use super::procs::{Holder, holders};
use super::report::Finding;
use super::who::user_name;
use crate::config::TlsFiles;
use crate::conn::client::{Dial, Trust};

/// For each step of asking whoever has the port.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer of ours is shorter.
const MOST_BYTES: u64 = 64 * 1024;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let listen = &patient.config.listen;
    if listen.is_empty() {
        return vec![Finding::ok("port", "listens nowhere, as an agent does")];
    }
    listen.iter().map(|address| port(patient, *address)).collect()
}

fn port(patient: &Patient, address: SocketAddr) -> Finding {
    match try_bind(address) {
        Ok(()) if address.port() == 0 => Finding::ok("port", format!("{address}: any free port")),
        Ok(()) => low(patient, address).unwrap_or_else(|| Finding::ok("port", format!("{address} is free"))),
        Err(Errno::ADDRINUSE) => taken(patient, address),
        Err(Errno::ACCESS | Errno::PERM) => not_permitted(&patient.subject.name, address),
        Err(Errno::ADDRNOTAVAIL) => Finding::problem(
            "port",
            format!("{address}: no interface of this machine has this address"),
            "`ip -brief address` shows those there are; \":PORT\" listens on all of them, and does not wait for DHCP",
        ),
        Err(Errno::AFNOSUPPORT) => Finding::problem(
            "port",
            format!("{address}: this kernel has no IPv6"),
            "listen on an IPv4 address, or take ipv6.disable=1 out of cmdline.txt",
        ),
        Err(error) => Finding::problem(
            "port",
            format!("{address} cannot be listened on: {}", std::io::Error::from(error)),
            "listen on another address",
        ),
    }
}

/// Without listening, so that nobody is kept waiting; a port on which somebody listens is refused all the same.
fn try_bind(address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

/// Root may listen where the service's user may not.
fn low(patient: &Patient, address: SocketAddr) -> Option<Finding> {
    let service = patient.service.as_ref()?;
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let first = text.trim().parse::<u16>().unwrap_or(1024);
    let given = || service.values("AmbientCapabilities").any(|names| names.contains("CAP_NET_BIND_SERVICE"));
    let refused = patient.subject.is_other() && !patient.subject.is_root() && address.port() < first && !given();
    refused.then(|| not_permitted(&patient.subject.name, address))
}

fn not_permitted(user: &str, address: SocketAddr) -> Finding {
    Finding::problem(
        "port",
        format!("{address}: '{user}' may not listen on ports below 1024"),
        "take a higher port, or give the unit `AmbientCapabilities=CAP_NET_BIND_SERVICE` and \
         `CapabilityBoundingSet=CAP_NET_BIND_SERVICE`",
    )
}

fn taken(patient: &Patient, address: SocketAddr) -> Finding {
    let listeners = listeners(address);
    let who = holders(|link| listeners.iter().any(|listener| link == format!("socket:[{}]", listener.inode)));
    let answer = ask(address, patient.config.tls.as_ref());
    if let Some(answer) = &answer {
        let node = answer["node_id"].as_str().unwrap_or("?");
        let version = answer["version"].as_str().unwrap_or("?");
        let pid = who.first().map(|holder| format!(" (pid {})", holder.pid)).unwrap_or_default();
        let what = format!("{address} is served by a running pinwire{pid}: node '{node}', version {version}");
        return match node == patient.config.node_id {
            true => Finding::ok("port", what),
            false => {
                Finding::note("port", what, "if that is another daemon than this one is to be, give it another port")
            }
        };
    }
    let named = |name: &str| who.iter().find(|holder| holder.name == name);
    if let (Some(Holder { pid, .. }), Some(_)) = (named("systemd"), patient.service.as_ref()) {
        return Finding::ok("port", format!("{address} is held by systemd (pid {pid}), which hands it to the service"));
    }
    match (who.first(), listeners.first()) {
        (Some(Holder { pid, name, .. }), _) => {
            let what = format!("{address} is in use by {name} (pid {pid})");
            let fix = format!("stop that (`sudo systemctl status {pid}` shows its unit), or listen on another port");
            Finding::problem("port", what, &fix)
        }
        (None, Some(Listener { uid, .. })) => {
            let owner = user_name(std::path::Path::new("/"), *uid).unwrap_or_else(|| uid.to_string());
            let what = format!("{address} is in use by a process of user '{owner}', whose name this user may not see");
            let fix =
                format!("`sudo ss -ltnp 'sport = :{}'` names it; stop it, or listen on another port", address.port());
            Finding::problem("port", what, &fix)
        }
        (None, None) => {
            let what = format!("{address} is in use, by whom cannot be seen (perhaps from another network name space)");
            Finding::problem("port", what, "listen on another port")
        }
    }
}

/// Whether this process listens there; of others' processes a daemon's answer has to do.
pub fn is_held_by(patient: &Patient, address: SocketAddr, pid: u32) -> bool {
    let listeners = listeners(address);
    if listeners.is_empty() {
        return false;
    }
    let who = holders(|link| listeners.iter().any(|listener| link == format!("socket:[{}]", listener.inode)));
    if !who.is_empty() {
        return who.iter().any(|holder| holder.pid == pid);
    }
    let answer = ask(address, patient.config.tls.as_ref());
    answer.is_some_and(|answer| answer["node_id"] == patient.config.node_id.as_str())
}

struct Listener {
    uid: u32,
    inode: u64,
}

/// Who listens where this address would: there, or on all addresses, or this one is all addresses.
fn listeners(wanted: SocketAddr) -> Vec<Listener> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| listener(line, wanted)));
    }
    found
}

/// The state of a socket that listens.
const LISTEN: &str = "0A";

/// `0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 …`
fn listener(line: &str, wanted: SocketAddr) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let ip = address(ip)?;
    let meets = ip.is_unspecified() || wanted.ip().is_unspecified() || ip.to_canonical() == wanted.ip().to_canonical();
    let fits = state == LISTEN && u16::from_str_radix(port, 16).ok()? == wanted.port() && meets;
    fits.then_some(Listener { uid, inode })
}

/// Words of 32 bits, each in the machine's order.
fn address(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// What `/health` says there, if that is a daemon of this program.
fn ask(address: SocketAddr, tls: Option<&TlsFiles>) -> Option<Value> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let there = SocketAddr::new(ip, address.port());
    let plain = || ask_at(&format!("http://{there}"), &Trust::System);
    // Our own certificate is the one a running daemon shows.
    let secure = || ask_at(&format!("https://{there}"), &Trust::Ca(tls?.cert.clone()));
    secure().or_else(plain)
}

fn ask_at(url: &str, trust: &Trust) -> Option<Value> {
    let dial = Dial::new(url, trust, PATIENCE).ok()?;
    let mut stream = dial.connect().ok()?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", dial.peer());
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).ok()?;
    let mut answer = Vec::new();
    let until = crate::rt::clock::now() + PATIENCE;
    let mut part = [0; 4096];
    while (answer.len() as u64) < MOST_BYTES && crate::rt::clock::now() < until {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(part.get(..length)?),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (_, body) = text.split_once("\r\n\r\n")?;
    let object: Value = serde_json::from_str(body.trim()).ok()?;
    (object["node_id"].is_string() && object["gpio"]["backend"].is_string()).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_is_read_with_all_addresses_that_meet() {
        let line = |address: &str, state: &str| {
            format!(
                "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 x"
            )
        };
        let little = cfg!(target_endian = "little");
        let loopback = if little { "0100007F:2328" } else { "7F000001:2328" };
        let wanted = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let found = listener(&line(loopback, "0A"), wanted("127.0.0.1:9000")).expect("it listens");
        assert_eq!((found.uid, found.inode), (1000, 4711));
        assert!(listener(&line(loopback, "0A"), wanted("0.0.0.0:9000")).is_some());
        assert!(listener(&line(loopback, "01"), wanted("127.0.0.1:9000")).is_none());
        assert!(listener(&line(loopback, "0A"), wanted("127.0.0.1:9001")).is_none());
        assert!(listener(&line(loopback, "0A"), wanted("10.0.0.1:9000")).is_none());
        let all = format!("{}:2328", "0".repeat(32));
        assert!(listener(&line(&all, "0A"), wanted("127.0.0.1:9000")).is_some());
        for garbage in
            ["", "0:", "  sl  local_address rem_address   st", "0: zz:zz 0 0A", "0: 010:2328 0 0A 0 0 0 1 0 1"]
        {
            assert!(listener(garbage, wanted("127.0.0.1:9000")).is_none(), "{garbage}");
        }
    }
}
