//! The daemon on a network with others: announced by multicast DNS as avahi understands it, and finding Raspberry Pis.
//!
//! Each machine is a network namespace of its own, with a real avahi in it. That needs root, `ip`, avahi-daemon,
//! avahi-utils and dbus-daemon; without them the test says so and is skipped.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Daemon, LIMIT, TempDir, Ws};
use serde_json::{Value, json};

const PROGRAMS: [&str; 5] = ["ip", "avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon"];

/// Everything below happens in namespaces that end with the process.
const UNSHARE: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

#[test]
fn the_daemon_is_announced_and_finds_raspberry_pis() {
    let there = |program: &&str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if let Some(missing) = PROGRAMS.iter().find(|program| !there(program)) {
        common::skipped(&format!("'{missing}' is not installed"));
        return;
    }
    let mut try_out = Command::new("unshare");
    try_out.args(UNSHARE).args(["sh", "-c", "mount -t tmpfs none /run && ip netns add x"]);
    if !common::run(&mut try_out).status.success() {
        common::skipped("no network namespaces to be had (needs root)");
        return;
    }
    // Inside, this very test runs again, among the machines it makes.
    let own = std::env::current_exe().expect("this test");
    let inner = "mount -t tmpfs none /run && exec \"$0\" --exact --ignored inside_the_namespaces --nocapture";
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["sh", "-c", inner]).arg(own);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let output = child.wait_with_output().expect("every wait in it has a limit");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by the_daemon_is_announced_and_finds_raspberry_pis"]
fn inside_the_namespaces() {
    let dir = TempDir::new();
    sh("ip link set lo up && mkdir -p /run/avahi-daemon");
    let pi = Machine::new(&dir, "pi", "10.98.1", "b8:27:eb:00:00:01");
    let pc = Machine::new(&dir, "pc", "10.98.2", "02:00:00:00:00:01");

    // The announcement, as another machine sees it.
    let mut hub = hub(Command::new(common::program()), "0.0.0.0:0");
    let mut events = Ws::connect(hub.addr, "/ws?types=node.**", &[]).expect("a socket");
    assert_eq!(
        (events.json()["type"].as_str(), events.json()["data"]["status"].as_str()),
        (Some("pong"), Some("ready"))
    );
    let browse = pi.watch(&["avahi-browse", "-rp", "_pinwire._tcp"]);
    let line = browse.wait_for(|line| line.starts_with("=;v-pi;IPv4;hub;_pinwire._tcp;local;"));
    let (address, port) = (";hub-pinwire.local;10.98.1.1;", format!(";{};", hub.addr.port()));
    for part in [address, &port, "\"node_id=hub\"", "\"path=/ws\"", "\"tls=0\"", "\"version=", "\"txtvers=1\""] {
        assert!(line.contains(part), "{part} in {line}");
    }

    // A login on a Raspberry Pi is a node; on another machine it is none, but one of our own kind is.
    let on_pc = pc.watch(&["avahi-publish", "-s", "pc", "_ssh._tcp", "22"]);
    on_pc.wait_for(|line| line.starts_with("Established"));
    let login = pi.watch(&["avahi-publish", "-s", "pi-login", "_ssh._tcp", "22"]);
    let event = next(&mut events, "node.discovered");
    assert_eq!(event["node_id"], "pi", "the host's name");
    assert_eq!(event["data"], json!({"node_id": "pi", "ip_address": "10.98.1.2"}));
    let shed = pc.watch(&["avahi-publish", "-s", "shed", "_pinwire._tcp", "9000", "node_id=shed"]);
    assert_eq!(next(&mut events, "node.discovered")["data"], json!({"node_id": "shed", "ip_address": "10.98.2.2"}));
    let node = nodes(&hub).into_iter().find(|node| node["name"] == "pi").expect("a node");
    assert_eq!((&node["mac_address"], &node["status"]), (&json!("b8:27:eb:00:00:01"), &json!("discovered")));

    // It says goodbye, and comes back: two changes of one node, and no new one.
    drop(login);
    assert_eq!(next(&mut events, "node.status.changed")["data"], json!({"node_id": "pi", "status": "unknown"}));
    let _login = pi.watch(&["avahi-publish", "-s", "pi-login", "_ssh._tcp", "22"]);
    assert_eq!(next(&mut events, "node.status.changed")["data"], json!({"node_id": "pi", "status": "discovered"}));
    assert_eq!(nodes(&hub).len(), 3, "{:?}", nodes(&hub));

    // Another daemon of the same name gives way, and is found for what it is: the Pi.
    let mut there = Command::new("ip");
    there.args(["netns", "exec", "pi"]).arg(common::program());
    let mut twin = self::hub(there, "10.98.1.2:0");
    twin.wait_for_log("this one is 'hub (2)._pinwire._tcp.local.' now");
    browse.wait_for(|line| line.starts_with("=;v-pi;IPv4;hub\\032\\0402\\041;_pinwire._tcp;local;"));
    assert_eq!(nodes(&hub).len(), 3, "{:?}", nodes(&hub));
    assert!(twin.stop().success());
    browse.wait_for(|line| line.starts_with("-;v-pi;IPv4;hub\\032\\0402\\041;_pinwire._tcp;local"));

    // Whatever a neighbour throws at it, it goes on as before.
    let own = std::env::current_exe().expect("this test").display().to_string();
    let throw = |seed: u32| {
        let (seed, args) = (format!("SEED={seed}"), ["--exact", "--ignored", "throw_nonsense", "--nocapture"]);
        let thrown = pi.watch(&[&["env", &seed, &own][..], &args].concat());
        thrown.wait_for(|line| line.contains("1 passed"));
    };
    (1..=10).for_each(throw);
    // The same without a fault arrives, so the others did.
    throw(0);
    events.until(|event| event["data"] == json!({"node_id": "good", "ip_address": "10.98.1.78"}));
    drop(shed);
    events.until(|event| event["data"] == json!({"node_id": "shed", "status": "unknown"}));
    let _shed = pc.watch(&["avahi-publish", "-s", "shed", "_pinwire._tcp", "9000", "node_id=shed"]);
    events.until(|event| event["data"] == json!({"node_id": "shed", "status": "discovered"}));
    let name = |node: &Value| node["name"].as_str().unwrap_or_default().to_owned();
    assert!(nodes(&hub).len() < 300, "{:?}", nodes(&hub).iter().map(name).collect::<Vec<_>>());
    assert!(!hub.log().contains("panicked"), "{}", hub.log());

    // The end is a goodbye, long before anything announced would have run out.
    assert!(hub.stop().success());
    browse.wait_for(|line| line.starts_with("-;v-pi;IPv4;hub;_pinwire._tcp;local"));
}

/// An answer that announces a daemon, as it stands on the wire, and what becomes of it when bytes are lost, changed and
/// added.
#[test]
#[ignore = "run by inside_the_namespaces, on the machine 'pi'"]
fn throw_nonsense() {
    fn name(labels: &[&str]) -> Vec<u8> {
        let each = labels.iter().flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
        each.chain([0]).collect()
    }
    fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let fixed = [&kind.to_be_bytes()[..], &[0x80, 1, 0, 0, 0, 120], &(data.len() as u16).to_be_bytes()].concat();
        [name, &fixed, data].concat()
    }
    let seed: u64 = std::env::var("SEED").expect("a seed").parse().expect("a number");
    let (label, address) = if seed == 0 { ("good", [10, 98, 1, 78]) } else { ("evil", [10, 98, 1, 77]) };
    let service = name(&["_pinwire", "_tcp", "local"]);
    let (instance, host) = (name(&[label, "_pinwire", "_tcp", "local"]), name(&[label, "local"]));
    let head = [0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let answer = [
        &head[..],
        &record(&service, 12, &instance),
        &record(&instance, 33, &[&[0, 0, 0, 0, 0x23, 0x28][..], &host].concat()),
        &record(&instance, 16, format!("\x0cnode_id={label}").as_bytes()),
        &record(&host, 1, &address),
    ]
    .concat();
    // From the port of multicast DNS, which it shares with the avahi there: anything else would not be listened to.
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("shared");
    sockopt::set_socket_reuseport(&socket, true).expect("shared");
    bind(&socket, &std::net::SocketAddr::from(([10, 98, 1, 2], 5353))).expect("the port");
    let socket = std::net::UdpSocket::from(socket);
    // The same throws for each seed: xorshift.
    if seed == 0 {
        socket.send_to(&answer, "224.0.0.251:5353").expect("sent");
        return;
    }
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // No more than a socket holds until it is read.
    for _ in 0..100 {
        let mut packet = answer.clone();
        for _ in 0..=random(4) {
            let at = random(packet.len());
            match random(5) {
                0 => packet.truncate(at.max(1)),
                1 => packet.insert(at, random(256) as u8),
                // A pointer, perhaps to itself.
                2 => packet[at] = 0xc0 | random(4) as u8,
                3 => packet[at] = 0xff,
                _ => packet[at] = random(256) as u8,
            }
        }
        // A full buffer on the way is as good as arriving.
        let _ = socket.send_to(&packet, "224.0.0.251:5353");
    }
}

fn hub(mut command: Command, listen: &str) -> Daemon {
    let dir = TempDir::new();
    let file = dir.file("pinwire.toml", "node_id = \"hub\"\n[auth]\nmode = \"none\"\n");
    command.args(["serve", "--gpio", "sim", "--listen", listen, "--config"]).arg(file);
    let mut daemon = Daemon::launch(dir, command);
    if daemon.addr.ip().is_unspecified() {
        daemon.addr.set_ip([127, 0, 0, 1].into());
    }
    daemon
}

fn nodes(hub: &Daemon) -> Vec<Value> {
    hub.get("/api/v1/nodes").json()["nodes"].as_array().expect("a list").clone()
}

/// The next event, which has to be of this type.
#[track_caller]
fn next(events: &mut Ws, kind: &str) -> Value {
    let event = events.json();
    assert_eq!(event["type"], kind, "{event}");
    event
}

fn sh(script: &str) {
    let output = common::run(Command::new("sh").args(["-ec", script]));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A machine on a cable of its own: a namespace with an avahi in it.
struct Machine {
    name: &'static str,
    bus: String,
    _avahi: Watched,
}

impl Machine {
    fn new(dir: &TempDir, name: &'static str, net: &str, mac: &str) -> Machine {
        sh(&format!(
            "ip netns add {name} && ip link add c-{name} type veth peer name v-{name} netns {name} address {mac}
             ip addr add {net}.1/24 dev c-{name} && ip link set c-{name} up
             ip -n {name} addr add {net}.2/24 dev v-{name} && ip -n {name} link set v-{name} up
             ip -n {name} link set lo up"
        ));
        let socket = dir.path().join(format!("{name}.bus"));
        let bus = format!("unix:path={}", socket.display());
        let policy = "<policy context='default'><allow user='*'/><allow own='*'/><allow send_type='method_call'/>\
                      <allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/></policy>";
        let config = dir.file(
            &format!("{name}.xml"),
            &format!(
                "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN' \
                 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'><busconfig><type>system</type>\
                 <listen>{bus}</listen><auth>EXTERNAL</auth>{policy}</busconfig>"
            ),
        );
        sh(&format!("dbus-daemon --config-file={} --fork --nopidfile >/dev/null 2>&1 </dev/null", config.display()));
        let avahi = dir.file(
            &format!("{name}.conf"),
            &format!("[server]\nhost-name={name}\nuse-ipv6=no\nallow-interfaces=v-{name}\n[publish]\npublish-workstation=no\n"),
        );
        // Each has a directory of its own for its process id.
        let run =
            "mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f";
        let avahi = Watched::start(name, &bus, &["sh", "-c", &format!("{run} {}", avahi.display())]);
        avahi.wait_for(|line| line.contains("Server startup complete"));
        Machine { name, bus, _avahi: avahi }
    }

    /// Runs a program there and hears what it says.
    fn watch(&self, command: &[&str]) -> Watched {
        Watched::start(self.name, &self.bus, command)
    }
}

/// A program whose lines are read; it ends with the value.
struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    fn start(machine: &str, bus: &str, command: &[&str]) -> Watched {
        let mut command_there = Command::new("ip");
        command_there.args(["netns", "exec", machine]).args(command).env("DBUS_SYSTEM_BUS_ADDRESS", bus);
        command_there.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command_there.spawn().expect("starts");
        let (sender, lines) = channel();
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for pipe in pipes {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
            });
        }
        Watched { child, lines }
    }

    /// Reads to the line that fits.
    #[track_caller]
    fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.max(Duration::from_millis(1))) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}; it said {seen:#?}"),
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
