//! The generator: agents that are sockets, all in one thread.

use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use pinwire::types::fleet::{Protocol, Sample};
use pinwire::wire::chatops::client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::{Message, WebSocket};

use crate::hub::{Hub, LIMIT};
use crate::{INTERVAL, Result, sample};

pub struct Agents {
    all: Vec<Agent>,
    sample: Sample,
    rounds: u32,
}

pub struct Agent {
    socket: WebSocket<TcpStream>,
    server_id: String,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// How far the hub says it has written.
    pub stored: u64,
}

impl Agent {
    pub fn connect(hub: &Hub, name: &str) -> Result<Agent> {
        let (server_id, key) = hub.server(name)?;
        let stream = TcpStream::connect_timeout(&hub.address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let url = format!("ws://{}/api/v1/agents/ws", hub.address);
        let (mut socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
        let mut auth = Vec::new();
        client::auth(&mut auth, &key, Some(Protocol::Code));
        socket.send(Message::text(String::from_utf8(auth)?))?;
        let welcome = socket.read()?.into_text()?;
        if !welcome.contains("auth_success") {
            return Err(format!("{name}: {welcome}").into());
        }
        socket.get_ref().set_nonblocking(true)?;
        Ok(Agent { socket, server_id, acknowledged: 0, stored: 0 })
    }

    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    pub fn send(&mut self, text: String) -> Result<()> {
        match self.socket.send(Message::text(text)) {
            // What the socket does not take now goes with the next message.
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Takes in what has come.
    pub fn take(&mut self) -> Result<()> {
        loop {
            match self.socket.read() {
                Ok(message) => {
                    let text = message.into_text()?;
                    self.acknowledged += u64::from(text.contains("metrics_received"));
                    if text.contains(r#""type":"stored""#) {
                        let message: serde_json::Value = serde_json::from_str(&text)?;
                        self.stored = message["seq"].as_u64().unwrap_or(self.stored);
                    }
                }
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for something to take in.
    pub fn wait(&self, until: Instant) -> Result<()> {
        wait(&[self], until)
    }
}

impl Agents {
    pub fn connect(hub: &Hub, count: usize) -> Result<Agents> {
        let all: Result<Vec<Agent>> = (0..count).map(|n| Agent::connect(hub, &format!("agent-{n}"))).collect();
        Ok(Agents { all: all?, sample: sample::of_this_machine(), rounds: 0 })
    }

    /// Each agent sends at its own time of the interval. Returns how many samples were sent, all acknowledged.
    pub fn send(&mut self, window: Duration) -> Result<u64> {
        let begun = Instant::now();
        let before: u64 = self.all.iter().map(|agent| agent.acknowledged).sum();
        let step = INTERVAL / u32::try_from(self.all.len())?;
        let mut sent = 0u64;
        let mut due = begun;
        while due < begun + window {
            while Instant::now() < due {
                self.take(due)?;
            }
            let turn = sent as usize % self.all.len();
            if turn == 0 {
                self.rounds += 1;
            }
            let text = self.text(turn)?;
            self.all[turn].send(text)?;
            sent += 1;
            due += step;
        }
        let until = Instant::now() + LIMIT;
        while self.all.iter().map(|agent| agent.acknowledged).sum::<u64>() - before < sent {
            if Instant::now() > until {
                return Err(format!("not every one of {sent} samples was acknowledged within {LIMIT:?}").into());
            }
            self.take(until)?;
        }
        Ok(sent)
    }

    /// The length of a sample on the wire.
    pub fn sample_bytes(&self) -> usize {
        self.text(0).map_or(0, |text| text.len())
    }

    fn text(&self, turn: usize) -> Result<String> {
        let mut sample = self.sample.clone();
        sample.at = Some(SystemTime::now());
        sample.cpu.percent = Some(f64::from((self.rounds * 7 + turn as u32) % 100));
        let mut out = Vec::new();
        client::metrics(&mut out, Protocol::Code, self.all[turn].server_id(), &sample);
        Ok(String::from_utf8(out)?)
    }

    fn take(&mut self, until: Instant) -> Result<()> {
        wait(&self.all.iter().collect::<Vec<_>>(), until)?;
        self.all.iter_mut().try_for_each(Agent::take)
    }
}

/// Until one of them has something to say, or until then.
fn wait(agents: &[&Agent], until: Instant) -> Result<()> {
    let sockets: Vec<&TcpStream> = agents.iter().map(|agent| agent.socket.get_ref()).collect();
    let mut fds: Vec<PollFd> = sockets.iter().map(|socket| PollFd::new(*socket, PollFlags::IN)).collect();
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now()))?;
    poll(&mut fds, Some(&left))?;
    Ok(())
}
