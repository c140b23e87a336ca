//! What was seen of other machines, and what of it is worth telling. Pure: no sockets, no clock.
//!
//! A service that one of ours announces stands for itself. One that anybody may announce (a login, a workstation)
//! counts where the hardware address is a Raspberry Pi's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::mdns::{Host, News};
use crate::types::mac::Mac;

/// The longest name that is taken over from the network, in characters.
const NAME_CHARS: usize = 64;

/// What is looked for on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Pinwire,
    PiController,
    Ssh,
    Workstation,
}

impl Service {
    pub const ALL: [Service; 4] = [Service::Pinwire, Service::PiController, Service::Ssh, Service::Workstation];

    /// As mDNS names it.
    pub fn domain(self) -> &'static str {
        match self {
            Service::Pinwire => "_pinwire._tcp.local.",
            Service::PiController => "_pi-controller._tcp.local.",
            Service::Ssh => "_ssh._tcp.local.",
            Service::Workstation => "_workstation._tcp.local.",
        }
    }

    /// Whether only machines such as ours announce it.
    fn is_ours(self) -> bool {
        matches!(self, Service::Pinwire | Service::PiController)
    }
}

/// An instance of a service, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub service: Service,
    /// As mDNS names it, service and all.
    pub fullname: String,
    /// The host the service runs on, with `.local.`.
    pub hostname: String,
    /// What it calls itself in its TXT record.
    pub node_id: Option<String>,
    /// With the scope an IPv6 link-local address needs.
    pub addresses: Vec<SocketAddr>,
}

impl Instance {
    /// What the machine is to be called.
    fn name(&self) -> String {
        let own = self.node_id.clone().filter(|name| !name.trim().is_empty());
        let name = own.unwrap_or_else(|| match self.service.is_ours() {
            true => unescaped(self.label()),
            false => self.hostname.trim_end_matches('.').trim_end_matches(".local").to_owned(),
        });
        name.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
    }

    /// The instance's part of the full name, as escaped as it came.
    fn label(&self) -> &str {
        self.fullname.strip_suffix(self.service.domain()).unwrap_or(&self.fullname).trim_end_matches('.')
    }

    /// The address to know it by: an IPv4 one where it has any, and one that is good beyond its own link.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses
            .iter()
            .filter(|address| !address.ip().is_loopback())
            .copied()
            .min_by_key(|a| (rank(a.ip()), a.ip()))
    }

    /// The hardware address a workstation has in its name: `pi [b8:27:eb:00:00:01]`.
    fn mac_in_name(&self) -> Option<Mac> {
        let name = unescaped(self.label());
        let inner = name.rsplit_once('[')?.1.strip_suffix(']')?;
        Mac::parse(inner).filter(|_| self.service == Service::Workstation)
    }
}

fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if !ip.is_link_local() => 0,
        IpAddr::V4(_) => 2,
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 3,
    }
}

/// DNS writes `\.` for a dot inside a label, and `\065` for any byte.
fn unescaped(label: &str) -> String {
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let number = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u8>().ok());
        match (number, after.split_first()) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            (None, Some((&next, after))) => {
                bytes.push(next);
                rest = after;
            }
            (None, None) => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What was told of whom; see the module's text.
#[derive(Default)]
pub struct Hosts {
    /// By full name: what was told of it.
    told: HashMap<String, Host>,
    /// How many instances each told name has.
    names: BTreeMap<String, usize>,
}

/// What to do about an instance.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Tell(News),
    /// Nothing new, or nobody of interest.
    Nothing,
}

impl Hosts {
    /// Takes in an instance with what is known of its hardware address.
    pub fn resolved(&mut self, instance: &Instance, mac: Option<Mac>) -> Verdict {
        let Some(address) = instance.address() else { return Verdict::Nothing };
        let mac = mac.or_else(|| instance.mac_in_name());
        if !instance.service.is_ours() && !mac.is_some_and(Mac::is_raspberry_pi) {
            return Verdict::Nothing;
        }
        let name = instance.name();
        if name.is_empty() {
            return Verdict::Nothing;
        }
        let host = Host { name, ip_address: address.ip(), mac_address: mac };
        let before = self.told.insert(instance.fullname.clone(), host.clone());
        if before.as_ref() == Some(&host) {
            return Verdict::Nothing;
        }
        *self.names.entry(host.name.clone()).or_default() += 1;
        if let Some(before) = before {
            // It was told under its name before; a name it has no more is forgotten without a word.
            self.forget(&before.name);
        }
        Verdict::Tell(News::Found(host))
    }

    /// An instance has said goodbye, or was not heard of for as long as it promised.
    pub fn removed(&mut self, fullname: &str) -> Verdict {
        match self.told.remove(fullname) {
            Some(host) if self.forget(&host.name) => Verdict::Tell(News::Lost { name: host.name }),
            _ => Verdict::Nothing,
        }
    }

    /// Whether that was the name's last instance.
    fn forget(&mut self, name: &str) -> bool {
        let Some(count) = self.names.get_mut(name) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.names.remove(name);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn instance(service: Service, label: &str, address: &str) -> Instance {
        Instance {
            service,
            fullname: format!("{label}.{}", service.domain()),
            hostname: "pi-new.local.".into(),
            node_id: None,
            addresses: vec![address.parse().expect("an address")],
        }
    }

    fn found(name: &str, ip: &str, mac: Option<Mac>) -> Verdict {
        let ip_address = ip.parse().expect("an address");
        Verdict::Tell(News::Found(Host { name: name.into(), ip_address, mac_address: mac }))
    }

    #[test]
    fn a_login_counts_on_a_raspberry_pi_and_our_own_kind_always() {
        let mut hosts = Hosts::default();
        let ssh = instance(Service::Ssh, "pi-new", "192.168.1.110:22");
        assert_eq!(hosts.resolved(&ssh, None), Verdict::Nothing);
        assert_eq!(hosts.resolved(&ssh, Some(OTHER)), Verdict::Nothing);
        assert_eq!(hosts.removed(&ssh.fullname), Verdict::Nothing, "nobody was told of it");
        assert_eq!(hosts.resolved(&ssh, Some(PI)), found("pi-new", "192.168.1.110", Some(PI)));
        assert_eq!(hosts.resolved(&ssh, Some(PI)), Verdict::Nothing, "once");

        let workstation = instance(Service::Workstation, "pi-new [b8:27:eb:00:00:01]", "192.168.1.110:9");
        assert_eq!(hosts.resolved(&workstation, None), found("pi-new", "192.168.1.110", Some(PI)));
        assert_eq!(hosts.removed(&ssh.fullname), Verdict::Nothing, "the workstation is still there");
        assert_eq!(hosts.removed(&workstation.fullname), Verdict::Tell(News::Lost { name: "pi-new".into() }));

        let mut ours = instance(Service::Pinwire, "porch\\.west\\032(2)", "[fe80::1]:9000");
        assert_eq!(hosts.resolved(&ours, None), found("porch.west (2)", "fe80::1", None));
        ours.addresses.push(([10, 0, 0, 1], 9000).into());
        ours.node_id = Some("porch".into());
        assert_eq!(hosts.resolved(&ours, Some(OTHER)), found("porch", "10.0.0.1", Some(OTHER)));
        assert_eq!(hosts.removed(&ours.fullname), Verdict::Tell(News::Lost { name: "porch".into() }));
        assert!(hosts.told.is_empty() && hosts.names.is_empty());
    }

    #[test]
    fn names_from_the_network_are_bounded_and_without_control_characters() {
        let mut long = instance(Service::Pinwire, "x", "10.0.0.1:1");
        long.node_id = Some(format!("a\n\u{7f}b{}", "c".repeat(500)));
        assert_eq!(long.name().len(), NAME_CHARS);
        assert!(long.name().starts_with("abccc"));
        for label in ["\\", "\\9", "\\999", "a\\\\b", "\\.", ""] {
            let _ = unescaped(label);
        }
        assert_eq!(unescaped("a\\\\b\\.c\\065"), "a\\b.cA");
    }
}
