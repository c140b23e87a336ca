//! The kernel's table of neighbours: which hardware address an IP address of the network has (rtnetlink).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with, sockopt};

use crate::types::mac::Mac;

/// How long the kernel may take for its answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Parts of the answer that are read at most; each holds up to a hundred neighbours, and the kernel keeps 1,024.
const PARTS: usize = 64;

// From <linux/netlink.h>, <linux/rtnetlink.h> and <linux/neighbour.h>.
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const DESTINATION: u16 = 1;
const HARDWARE_ADDRESS: u16 = 2;
const HEADER: usize = 16;
const NEIGHBOUR: usize = 12;

/// Asks the kernel. `None` where it does not know the address (yet; see [`wake`]).
///
/// # Errors
/// The system's: no socket of this kind to be had.
pub fn mac_of(ip: IpAddr) -> io::Result<Option<Mac>> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LIMIT))?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut part = [0; 32 * 1024];
    for _ in 0..PARTS {
        let (length, _) = recv(&socket, part.as_mut_slice(), RecvFlags::empty())?;
        match search(&part[..length.min(part.len())], ip) {
            Search::Found(mac) => return Ok(Some(mac)),
            Search::GoOn => {}
            Search::End => return Ok(None),
        }
    }
    Ok(None)
}

/// Makes the kernel ask the network for the hardware address behind this one: it does before it can send anything
/// there. What is sent is empty, to the port that discards it.
pub fn wake(host: SocketAddr) {
    const DISCARD: u16 = 9;
    let any: SocketAddr = match host {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let mut to = host;
    to.set_port(DISCARD);
    // A host that cannot be reached has no hardware address either.
    let _ = UdpSocket::bind(any).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(&[], to)
    });
}

fn request() -> [u8; HEADER + NEIGHBOUR] {
    let mut bytes = [0; HEADER + NEIGHBOUR];
    bytes[..4].copy_from_slice(&((HEADER + NEIGHBOUR) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&GET_NEIGHBOUR.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes
}

#[derive(Debug, PartialEq, Eq)]
enum Search {
    Found(Mac),
    GoOn,
    End,
}

/// Looks through one part of the answer.
fn search(mut part: &[u8], ip: IpAddr) -> Search {
    while let Some(length) = u32_at(part, 0).and_then(|n| usize::try_from(n).ok()) {
        let Some(message) = part.get(..length).filter(|message| message.len() >= HEADER) else { return Search::End };
        match u16_at(message, 4) {
            Some(DONE | ERROR) => return Search::End,
            Some(NEW_NEIGHBOUR) => {
                if let Some(mac) = neighbour(message.get(HEADER + NEIGHBOUR..).unwrap_or_default(), ip) {
                    return Search::Found(mac);
                }
            }
            _ => {}
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Search::GoOn
}

/// The hardware address in a neighbour's attributes, if it is this neighbour's and has one.
fn neighbour(mut attributes: &[u8], ip: IpAddr) -> Option<Mac> {
    let (mut is_his, mut mac) = (false, None);
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        match kind {
            DESTINATION => {
                is_his = match ip {
                    IpAddr::V4(ip) => value == ip.octets(),
                    IpAddr::V6(ip) => value == ip.octets(),
                };
            }
            HARDWARE_ADDRESS => mac = value.try_into().ok().map(Mac),
            _ => {}
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    mac.filter(|mac| is_his && mac.is_somebodys())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_neighbour_is_found_among_others_and_nothing_malformed_is_believed() {
        let (ip, mac) = (IpAddr::from([10, 0, 0, 2]), [0xb8, 0x27, 0xeb, 0, 0, 1]);
        let entry = |ip: &[u8], mac: &[u8]| {
            let attributes = [attribute(DESTINATION, ip), attribute(HARDWARE_ADDRESS, mac)].concat();
            message(NEW_NEIGHBOUR, &[vec![0; NEIGHBOUR], attributes].concat())
        };
        let others = [entry(&[10, 0, 0, 1], &[2; 6]), entry(&[0xfe; 16], &[4; 6])].concat();
        let all = [others.clone(), entry(&[10, 0, 0, 2], &mac)].concat();
        assert_eq!(search(&all, ip), Search::Found(Mac(mac)));
        assert_eq!(search(&others, ip), Search::GoOn);
        assert_eq!(search(&[others, message(DONE, &[0; 4])].concat(), ip), Search::End);
        // A neighbour that has not answered has no address, or nobody's.
        assert_eq!(search(&entry(&[10, 0, 0, 2], &[0; 6]), ip), Search::GoOn);
        assert_eq!(search(&entry(&[10, 0, 0, 2], &[]), ip), Search::GoOn);
        // Whatever is cut or changed: no panic, no endless loop.
        for cut in 0..all.len() {
            let _ = search(&all[..cut], ip);
        }
        for at in 0..all.len() {
            for byte in [0, 1, 3, 0x7f, 0xff] {
                let mut broken = all.clone();
                broken[at] = byte;
                let _ = search(&broken, ip);
            }
        }
    }

    #[test]
    fn the_kernel_answers() {
        // No network has this address (RFC 5737), and a kernel without the table says so as well.
        assert!(matches!(mac_of([192, 0, 2, 77].into()), Ok(None) | Err(_)));
    }
}
