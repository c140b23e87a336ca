//! The least that could stand in the daemon's place: a program that reads an edge and writes as many bytes as an event
//! has to a TCP connection. What it takes is what the kernel takes.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use gpiocdev::Request;
use gpiocdev::line::EdgeDetection;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::Result;
use crate::common::LIMIT;
use crate::rig::{Sim, wait_until};

/// First argument of a process that is to be it: `--bare ADDRESS CHIP LINE`.
pub const FLAG: &str = "--bare";

/// An event of `/ws` on the wire.
pub const EVENT_BYTES: usize = 213;

/// The process, and the end of its connection; killed when dropped.
pub struct Bare {
    pub stream: TcpStream,
    child: Child,
}

impl Bare {
    pub fn start(sim: &Sim, line: u32) -> Result<Bare> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(FLAG).arg(listener.local_addr()?.to_string()).arg(&sim.chip).arg(line.to_string());
        let child = command.stdin(Stdio::null()).spawn()?;
        // It holds its line before it connects, and connects before anybody waits for that.
        wait_until("the bare reader holds its line", || sim.consumer(line).as_deref() == Some("bare"));
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Bare { stream, child })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is it; returns only if that failed.
pub fn run(args: &[String]) -> Result<()> {
    let [address, chip, line] = args else { return Err("expected ADDRESS CHIP LINE".into()) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut request = Request::builder();
    request.on_chip(chip).with_consumer("bare").with_line(line.parse()?).with_edge_detection(EdgeDetection::BothEdges);
    let request = request.request()?;
    loop {
        let event = request.read_edge_event()?;
        let mut answer = [b' '; EVENT_BYTES];
        answer[..8].copy_from_slice(&event.timestamp_ns.to_le_bytes());
        match stream.write_all(&answer) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
}
