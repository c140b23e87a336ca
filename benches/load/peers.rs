//! Peers: other brokers and servers that do the same work, where they are installed. `benches/peers/run` finds them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::frames::{self, Speech};

/// Which peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    Bun,
    Ws,
    Mosquitto,
    Nats,
}

/// A peer and its program.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: Name,
    pub program: PathBuf,
}

impl Name {
    const ALL: [Name; 4] = [Name::Bun, Name::Ws, Name::Mosquitto, Name::Nats];

    pub fn as_str(self) -> &'static str {
        match self {
            Name::Bun => "bun",
            Name::Ws => "ws",
            Name::Mosquitto => "mosquitto",
            Name::Nats => "nats",
        }
    }

    pub fn speech(self) -> Speech {
        match self {
            Name::Bun | Name::Ws => Speech::WebSocket,
            Name::Mosquitto => Speech::Mqtt,
            Name::Nats => Speech::Nats,
        }
    }

    /// What a publisher sends to have `payload` delivered.
    pub fn publish(self, topic: &str, payload: &str) -> Vec<u8> {
        match self.speech() {
            Speech::WebSocket => frames::client_text(payload),
            Speech::Mqtt => frames::mqtt_publish(topic, payload),
            Speech::Nats => format!("PUB {topic} {}\r\n{payload}\r\n", payload.len()).into_bytes(),
        }
    }
}

impl Peer {
    /// Reads `NAME=PROGRAM`.
    pub fn parse(text: &str) -> std::result::Result<Peer, String> {
        let (name, program) = text.split_once('=').ok_or("expected NAME=PROGRAM")?;
        let name = Name::ALL.into_iter().find(|known| known.as_str() == name);
        let name = name.ok_or("the peers are bun, ws (a program node), mosquitto and nats")?;
        Ok(Peer { name, program: program.into() })
    }

    /// What to start it with. Those that print where they listen have no address here.
    pub fn arguments(&self) -> Result<(Vec<String>, Option<SocketAddr>)> {
        let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name);
        Ok(match self.name {
            Name::Bun => (vec![script("bun.js").display().to_string()], None),
            Name::Ws => (vec![script("ws.js").display().to_string()], None),
            Name::Mosquitto => {
                let address = free_address()?;
                let file = std::env::temp_dir().join(format!("pinwire-bench-mosquitto-{}.conf", std::process::id()));
                let text = format!(
                    "listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type error\n\
                     max_inflight_messages 0\nmax_queued_messages 0\nsys_interval 0\n",
                    address.port()
                );
                fs::write(&file, text)?;
                (vec!["-c".to_owned(), file.display().to_string()], Some(address))
            }
            Name::Nats => {
                let address = free_address()?;
                let (host, port) = (address.ip().to_string(), address.port().to_string());
                (["-a", &host, "-p", &port].map(str::to_owned).into(), Some(address))
            }
        })
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
