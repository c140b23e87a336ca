//! How many events a second are published with an answer: with none, once they are delivered, and once they are on the
//! disk; by the program itself, over PiCloud's socket.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

use super::{LIMIT, Result};

const PUBLISHERS: usize = 8;

/// How long each rate is measured.
const PERIOD: Duration = Duration::from_secs(3);

const BYTES: usize = 128;

/// A daemon that does not outlive the bench.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn measure(dir: &Path) -> Result<()> {
    let server = start(dir)?;
    println!("{PUBLISHERS} publishers, {BYTES}-byte events, one subscriber of nothing; {}", dir.display());
    for (what, topic, ack, under_way) in [
        ("no answer, one asked for at the end", "plain", false, 1000),
        ("accepted, 1 under way each", "plain", true, 1),
        ("accepted, 32 under way each", "plain", true, 32),
        ("durable, 1 under way each", "durable", true, 1),
        ("durable, 32 under way each", "durable", true, 32),
    ] {
        let begun = Instant::now();
        let address = &server.address;
        let done = std::thread::scope(|scope| {
            let publish = || publish(address, topic, ack, under_way).map_err(|error| error.to_string());
            let all: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publish)).collect();
            let done = all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("a publisher panicked".into())));
            done.sum::<std::result::Result<u64, String>>()
        })?;
        println!("{what:36} {:9.0}/s", done as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn start(dir: &Path) -> Result<Server> {
    let config = dir.join("acks.toml");
    std::fs::write(&config, "[hub]\nown_server = false\n[topics.durable]\ndurable = true\n")?;
    let program = std::env::var_os("PINWIRE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_pinwire").into(), PathBuf::from);
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--config"]).arg(config);
    command.arg("--state-dir").arg(dir.join("acks")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let mut server = Server { child, address: String::new() };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    server.address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
    Ok(server)
}

/// Publishes for the time, with so many events under way; how many were answered, or followed by one that was.
fn publish(address: &str, topic: &str, ack: bool, under_way: u64) -> Result<u64> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/publish?clientName=bench&apiKey=none");
    let (mut socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
    let data = "x".repeat(BYTES);
    let message = |ack: bool| format!(r#"{{"event":"{topic}","data":"{data}","ack":{ack}}}"#);
    let (mut sent, mut answered) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < PERIOD {
        socket.write(Message::text(message(ack)))?;
        sent += 1;
        if sent - answered < under_way {
            continue;
        }
        socket.flush()?;
        if ack {
            answered += answer(&mut socket)?;
        } else {
            answered = sent;
        }
    }
    socket.flush()?;
    if ack {
        while answered < sent {
            answered += answer(&mut socket)?;
        }
        return Ok(sent);
    }
    socket.send(Message::text(message(true)))?;
    answer(&mut socket)?;
    Ok(sent + 1)
}

fn answer(socket: &mut WebSocket<TcpStream>) -> Result<u64> {
    loop {
        match socket.read()? {
            Message::Text(text) if text.contains(r#""action":"ack""#) => return Ok(1),
            Message::Text(text) => return Err(text.to_string().into()),
            Message::Close(_) => return Err("closed".into()),
            _ => {}
        }
    }
}
