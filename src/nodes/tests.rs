//! What facts and wishes come to, and what is told of them.

use std::net::IpAddr;
use std::time::SystemTime;

use super::facts::{self, Sightings};
use super::table::{Changes, Table};
use super::*;
use crate::store::Saved;
use crate::types::event::Body;
use crate::types::fleet::{ClusterStatus, Health, ServerStatus};
use crate::types::mac::Mac;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const PI: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);

fn host(name: &str, ip: [u8; 4], mac: Option<Mac>) -> Host {
    Host { name: name.into(), ip_address: IpAddr::from(ip), mac_address: mac }
}

fn server(id: &str, status: ServerStatus) -> Server {
    Server {
        id: id.into(),
        owner: None,
        name: id.into(),
        host: None,
        port: None,
        metadata: None,
        status,
        health: Health::Healthy,
        last_seen: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn agent(name: &str, cluster: Option<&str>, ip: &str) -> AgentInfo {
    let node = NodeFacts { ip_address: Some(ip.into()), ..NodeFacts::default() };
    let (name, cluster) = (Some(name.to_owned()), cluster.map(str::to_owned));
    AgentInfo { name, cluster, node: Some(node), ..AgentInfo::default() }
}

/// A table with this device in it.
fn table() -> Table {
    let mut table = Table::new(Saved::default());
    let own = facts::new_node(&table, "hub", NodeStatus::Ready, NodeFacts::default(), NOW);
    assert_eq!(own.id, OWN);
    assert!(table.apply(Changes::node(own)).is_empty(), "what this device is, the daemon says");
    table
}

/// Events in short.
fn short(events: Vec<Body>) -> Vec<String> {
    let each = |body| match body {
        Body::NodeDiscovered { node_id, ip_address } => format!("discovered {node_id} {ip_address}"),
        Body::FleetNode { node_id, status, .. } => format!("{node_id} {}", status.as_str()),
        Body::ClusterNode { added, cluster_id, node_id, .. } => {
            format!("{}{cluster_id}/{node_id}", if added { "+" } else { "-" })
        }
        Body::Cluster(state) => {
            format!("{} {} {}/{}", state.name, state.status.as_str(), state.nodes_ready, state.nodes_total)
        }
        other => panic!("{other:?}"),
    };
    events.into_iter().map(each).collect()
}

#[test]
fn a_machine_on_the_network_is_discovered_once_lost_and_found_again() {
    let (mut table, mut seen) = (table(), Sightings::new());
    let pi = host("pi-new", [192, 168, 1, 110], Some(PI));
    let changes = facts::found(&table, &mut seen, &pi, NOW);
    assert_eq!(short(table.apply(changes)), ["discovered pi-new 192.168.1.110"]);
    // The same machine by another name (its login and our own kind have theirs), and again.
    for name in ["pi-new", "porch", "porch"] {
        let changes = facts::found(&table, &mut seen, &Host { name: name.into(), ..pi.clone() }, NOW);
        assert!(table.apply(changes).is_empty());
    }
    let changes = facts::lost(&table, &mut seen, "pi-new");
    assert!(table.apply(changes).is_empty(), "it is still there by its other name");
    let changes = facts::lost(&table, &mut seen, "porch");
    assert_eq!(short(table.apply(changes)), ["pi-new unknown"]);
    let changes = facts::lost(&table, &mut seen, "porch");
    assert!(table.apply(changes).is_empty());
    // With another address from DHCP it is the same machine, and not a new one.
    let moved = host("pi-new", [192, 168, 1, 111], Some(PI));
    let changes = facts::found(&table, &mut seen, &moved, NOW);
    assert!(table.durable(&changes).nodes.len() == 1, "the address is kept");
    assert_eq!(short(table.apply(changes)), ["pi-new discovered"]);
    // Another machine of the same name is another node.
    let other = host("pi-new", [192, 168, 1, 112], Some(Mac([0xdc, 0xa6, 0x32, 0, 0, 2])));
    let changes = facts::found(&table, &mut Sightings::new(), &other, NOW);
    assert_eq!(short(table.apply(changes)), ["discovered pi-new-2 192.168.1.112"]);
}

#[test]
fn what_the_network_shows_is_bounded_and_the_longest_gone_makes_room() {
    let (mut table, mut seen) = (table(), Sightings::new());
    let name = |n: usize| format!("pi-{n}");
    for n in 0..facts::MAX_DISCOVERED {
        let changes = facts::found(&table, &mut seen, &host(&name(n), [10, 1, (n / 256) as u8, n as u8], None), NOW);
        assert_eq!(table.apply(changes).len(), 1);
    }
    let late = host("late", [10, 9, 9, 9], None);
    assert!(facts::found(&table, &mut seen, &late, NOW).is_empty());
    let changes = facts::lost(&table, &mut seen, "pi-7");
    table.apply(changes);
    let changes = facts::found(&table, &mut seen, &late, NOW);
    assert_eq!(short(table.apply(changes)), ["discovered late 10.9.9.9"]);
    assert!(table.node_named("pi-7").is_none());
}

#[test]
fn an_agent_makes_a_node_joins_its_cluster_and_comes_and_goes_in_one_event_each() {
    let (mut table, mut seen) = (table(), Sightings::new());
    let step = |table: &mut Table, seen: &Sightings, server: Option<Server>, agent: Option<AgentInfo>| {
        let changes = facts::server(table, seen, "s1", server.as_ref(), agent.as_ref(), false, NOW);
        short(table.apply(changes))
    };
    assert!(step(&mut table, &seen, Some(server("s1", ServerStatus::Unknown)), None).is_empty());
    let online = || Some(server("s1", ServerStatus::Online));
    let come = || Some(agent("pi1", Some("lab"), "10.0.0.7"));
    assert_eq!(
        step(&mut table, &seen, online(), come()),
        ["pi1 ready", "+lab/pi1", "lab active 1/1"].map(String::from)
    );
    assert!(step(&mut table, &seen, online(), come()).is_empty(), "nothing is new");
    let offline = || Some(server("s1", ServerStatus::Offline));
    assert_eq!(step(&mut table, &seen, offline(), None), ["pi1 offline", "lab degraded 0/1"].map(String::from));
    let critical = Server { health: Health::Critical, ..server("s1", ServerStatus::Online) };
    assert_eq!(step(&mut table, &seen, Some(critical), None), ["pi1 not_ready"].map(String::from));
    // Seen on the network, it is who it is.
    let changes = facts::found(&table, &mut seen, &host("pi1", [10, 0, 0, 7], Some(PI)), NOW);
    assert!(short(table.apply(changes)).is_empty());
    assert_eq!(table.node_named("pi1").and_then(|node| node.facts.mac_address.clone()), Some(PI.to_string()));
    assert_eq!(step(&mut table, &seen, online(), None), ["pi1 ready", "lab active 1/1"].map(String::from));
    // Without its server it is a machine on the network, in its cluster; when that ends as well, it may go.
    assert_eq!(step(&mut table, &seen, None, None), ["pi1 discovered", "lab active 0/1"].map(String::from));
    let changes =
        facts::server(&table, &seen, "s2", Some(&server("s2", ServerStatus::Online)), come().as_ref(), false, NOW);
    assert_eq!(short(table.apply(changes)), ["pi1 ready", "lab active 1/1"], "the machine is known by its address");
    seen.clear();
    let changes = facts::server(&table, &seen, "s2", None, None, false, NOW);
    assert_eq!(short(table.apply(changes)), ["-lab/pi1", "lab active 0/0"]);
    assert!(table.node_named("pi1").is_none());
}

#[test]
fn a_cluster_s_end_releases_its_nodes_and_an_operators_word_stays() {
    let mut table = table();
    let mut lab = facts::new_cluster(&table, "lab", "", NOW);
    assert!(table.apply(Changes::cluster(lab.clone())).is_empty());
    let mut own = table.nodes[&OWN].clone();
    own.cluster_id = Some(lab.id);
    assert_eq!(short(table.apply(Changes::node(own.clone()))), ["+lab/hub", "lab active 1/1"]);
    lab.status = ClusterStatus::Maintenance;
    assert_eq!(short(table.apply(Changes::cluster(lab.clone()))), ["lab maintenance 1/1"]);
    own.cluster_id = None;
    let end = Changes { clusters: [(lab.id, None)].into(), nodes: [(OWN, Some(own))].into() };
    assert_eq!(short(table.apply(end)), ["-lab/hub"]);
    assert_eq!(table.next_cluster(), 2, "numbers are not used twice");
}

#[test]
fn after_a_restart_nobody_has_been_heard_of_and_maintenance_stays() {
    let mut table = table();
    for (name, status, server_id) in
        [("a", NodeStatus::Ready, Some("s")), ("b", NodeStatus::Discovered, None), ("c", NodeStatus::Maintenance, None)]
    {
        let mut node = facts::new_node(&table, name, status, NodeFacts::default(), NOW);
        node.server_id = server_id.map(str::to_owned);
        table.apply(Changes::node(node));
    }
    let saved = Saved { nodes: table.nodes.values().cloned().collect(), ..Saved::default() };
    let again = Table::new(saved);
    let status = |name| again.node_named(name).map(|node| node.status.as_str());
    assert_eq!([status("a"), status("b"), status("c")], [Some("offline"), Some("unknown"), Some("maintenance")]);
    assert_eq!(again.next_node(), 5);
}

#[test]
fn strangers_have_a_budget_of_writes_that_grows_slowly() {
    let now = clock::now();
    let mut budget = Budget { left: WRITES_AT_ONCE, at: now };
    let taken = |budget: &mut Budget, now| (0..1000).filter(|_| budget.take(now)).count();
    assert_eq!(taken(&mut budget, now), 256);
    assert_eq!(taken(&mut budget, now + WRITE_INTERVAL / 2), 0);
    assert_eq!(taken(&mut budget, now + WRITE_INTERVAL * 3), 3);
    assert_eq!(taken(&mut budget, now + WRITE_INTERVAL * 10_000), 256);
}
