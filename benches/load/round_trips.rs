//! Round trips: C clients, each of which sends the next request as soon as it has the answer to the last.
//!
//! With one client on two CPUs either side sleeps while the other works, so a run measures how fast a halted CPU
//! wakes up as much as it measures the server; in a virtual machine that is most of it, and it varies. The same
//! work is therefore done once more with both sides on one CPU, where the time is what both spend computing.

use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{BUFFER_BYTES, Client, Role};
use crate::frames::client_text;
use crate::options::Options;
use crate::pairs::{Goal, Load, Pairs};
use crate::ready::Ready;
use crate::server::Server;
use crate::table::Row;

const REQUEST: &str = r#"{"action":"READ_MEMORY"}"#;

/// All that is to be measured, named, with the conditions for each.
pub fn plan(options: &Options) -> Vec<(String, Options, usize)> {
    let mut plan = Vec::new();
    for &clients in &options.clients {
        let name = format!("round trips, {clients} client{}", if clients == 1 { "" } else { "s" });
        let again = options.on_one_cpu();
        plan.push((name.clone(), options.clone(), clients));
        plan.extend(again.map(|options| (format!("{name}, one CPU"), options, clients)));
    }
    plan
}

/// Measures the daemon against the reference with `clients` connections.
pub fn measure(options: &Options, name: &str, clients: usize) -> Result<Vec<Row>> {
    let daemon = Server::daemon(options)?;
    let request = client_text(REQUEST);
    let reference = Server::reference(options, request.len(), answer_bytes(&daemon, &request)?)?;
    let servers = [&daemon, &reference];
    let pairs = match clients {
        1 => Pairs::measure(options, name, &servers, |_, server| One::connect(server, &request))?,
        _ => Pairs::measure(options, name, &servers, |_, server| Many::connect(server, &request, clients))?,
    };
    let goal = match clients {
        1 => Goal::Rate(0.95),
        16 => Goal::Rate(0.7),
        _ => Goal::None,
    };
    Ok(vec![pairs.row(name.to_owned(), goal)])
}

/// Asks the daemon once: the answer must be a real one, and its length is what the reference will send.
fn answer_bytes(daemon: &Server, request: &[u8]) -> Result<usize> {
    let mut client = Client::open(daemon, Role::Caller)?;
    client.send(request)?;
    let (bytes, text) = client.receive_text()?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    match answer["success"].as_bool() {
        Some(true) => Ok(bytes),
        _ => Err(format!("{REQUEST} was answered with {text}").into()),
    }
}

/// A single client needs no epoll: it blocks in `recv`.
struct One<'a> {
    client: Client,
    request: &'a [u8],
    buffer: Vec<u8>,
}

impl<'a> One<'a> {
    fn connect(server: &Server, request: &'a [u8]) -> Result<Self> {
        Ok(Self { client: Client::open(server, Role::Caller)?, request, buffer: vec![0; BUFFER_BYTES] })
    }
}

impl Load for One<'_> {
    fn run(&mut self, time: Duration) -> Result<u64> {
        let until = Instant::now() + time;
        let mut answers = 0;
        while Instant::now() < until {
            self.client.send(self.request)?;
            while self.client.receive(&mut self.buffer)? == 0 {}
            answers += 1;
        }
        Ok(answers)
    }
}

/// Several clients served by one thread: whoever has its answer asks again.
struct Many<'a> {
    clients: Vec<Client>,
    ready: Ready,
    request: &'a [u8],
    buffer: Vec<u8>,
}

impl<'a> Many<'a> {
    fn connect(server: &Server, request: &'a [u8], count: usize) -> Result<Self> {
        let clients = Client::open_many(server, count, |_| Role::Caller)?;
        Ok(Self { ready: Ready::watch(&clients)?, clients, request, buffer: vec![0; BUFFER_BYTES] })
    }
}

impl Load for Many<'_> {
    fn run(&mut self, time: Duration) -> Result<u64> {
        let until = Instant::now() + time;
        for client in &mut self.clients {
            client.send(self.request)?;
        }
        let mut outstanding = self.clients.len();
        let mut answers = 0;
        while outstanding > 0 {
            let ready = self.ready.wait()?;
            let more = Instant::now() < until;
            for &number in ready {
                let client = &mut self.clients[number];
                if client.receive_ready(&mut self.buffer)? == 0 {
                    continue;
                }
                answers += 1;
                if more {
                    client.send(self.request)?;
                } else {
                    outstanding -= 1;
                }
            }
        }
        Ok(answers)
    }
}
