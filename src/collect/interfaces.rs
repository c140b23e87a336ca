//! Network interfaces.
//!
//! | what | source | unit | without a value |
//! |---|---|---|---|
//! | counters | `proc/net/dev`, every interface, `lo` too | bytes and packets since the interface was made | a column is missing |
//! | rates | two readings | bytes/s | the first reading, a counter went backwards (the interface was made anew) |

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use super::{hundredths, read};
use crate::types::fleet::{Interface, Traffic};

/// Of a host with more (each container may have one), the first.
pub const MAX_INTERFACES: usize = 512;

/// Remembers the last reading.
#[derive(Default)]
pub struct Meter {
    last: Option<(Instant, HashMap<String, Traffic>)>,
}

impl Meter {
    /// All interfaces in the kernel's order, with their rates since the last reading.
    pub fn measure(&mut self, root: &Path, now: Instant) -> Option<Vec<Interface>> {
        let text = read(root, "proc/net/dev");
        let mut interfaces: Vec<Interface> =
            text.as_deref()?.lines().skip(2).filter_map(parse).take(MAX_INTERFACES).collect();
        if let Some((then, before)) = &self.last {
            let seconds = now.saturating_duration_since(*then).as_secs_f64();
            for interface in &mut interfaces {
                let Some(before) = before.get(&interface.name) else { continue };
                let rate = |now: Option<u64>, before: Option<u64>| {
                    let bytes = now?.checked_sub(before?)?;
                    (seconds > 0.0).then(|| hundredths(bytes as f64 / seconds))
                };
                interface.sent_rate = rate(interface.traffic.bytes_sent, before.bytes_sent);
                interface.received_rate = rate(interface.traffic.bytes_received, before.bytes_received);
            }
        }
        let counters = interfaces.iter().map(|interface| (interface.name.clone(), interface.traffic)).collect();
        self.last = Some((now, counters));
        Some(interfaces)
    }
}

/// `  eth0: 1 2 0 0 0 0 0 0 3 4 …`: received bytes and packets first, sent ones in the ninth and tenth column.
fn parse(line: &str) -> Option<Interface> {
    let (name, columns) = line.rsplit_once(':')?;
    let columns: Vec<Option<u64>> = columns.split_ascii_whitespace().map(|column| column.parse().ok()).collect();
    let column = |index: usize| columns.get(index).copied().flatten();
    let traffic = Traffic {
        bytes_received: column(0),
        packets_received: column(1),
        bytes_sent: column(8),
        packets_sent: column(9),
    };
    Some(Interface { name: name.trim().to_owned(), traffic, sent_rate: None, received_rate: None })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collect::tests::Tree;
    use crate::rt::clock;

    const HEAD: &str = "Inter-|   Receive                            |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    #[test]
    fn counters_and_rates_of_every_interface() {
        let tree = Tree::new();
        let (mut meter, start) = (Meter::default(), clock::now());
        let mut at = |seconds: u64, lines: &str| {
            tree.write("proc/net/dev", &format!("{HEAD}{lines}"));
            meter.measure(tree.path(), start + Duration::from_secs(seconds)).expect("interfaces")
        };
        let first =
            at(0, "    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  eth0:5000 50 0 0 0 0 0 0 7000 70 0 0 0 0 0 0\n");
        let names: Vec<&str> = first.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth0"]);
        assert_eq!((first[1].sent_rate, first[1].received_rate), (None, None));
        let traffic = first[1].traffic;
        assert_eq!((traffic.bytes_received, traffic.packets_received), (Some(5000), Some(50)));
        assert_eq!((traffic.bytes_sent, traffic.packets_sent), (Some(7000), Some(70)));
        let second = at(4, "  eth0: 9000 50 0 0 0 0 0 0 7001 70 0\n eth0:1: 5 1 0 0 0 0 0 0 5 1\n  wlan0: 1 2 3\n");
        assert_eq!((second[0].received_rate, second[0].sent_rate), (Some(1000.0), Some(0.25)));
        assert_eq!((second[1].name.as_str(), second[1].sent_rate), ("eth0:1", None));
        assert_eq!((second[2].traffic.bytes_received, second[2].traffic.bytes_sent), (Some(1), None));
        let third = at(8, "  eth0: 10 1 0 0 0 0 0 0 7001 70\n");
        assert_eq!((third[0].received_rate, third[0].sent_rate), (None, Some(0.0)));
        let fourth = at(8, "  eth0: 20 1 0 0 0 0 0 0 7001 70\n");
        assert_eq!(fourth[0].received_rate, None, "no time has passed");
    }

    #[test]
    fn no_file_is_no_list() {
        assert_eq!(Meter::default().measure(Tree::new().path(), clock::now()), None);
    }
}
