//! Requests to the daemon, one at a time or several on their way, with next to no work of the client's own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Result;
use crate::common::Ws;
use crate::frames::{Counter, Speech, client_text};

/// Requests that are sent in turn for as long as it takes.
pub struct Pipeline {
    stream: TcpStream,
    answers: Counter,
    requests: [Vec<u8>; 2],
    sent: usize,
    buffer: Vec<u8>,
}

impl Pipeline {
    /// Over the connection of a client that has read all its answers.
    pub fn over(ws: Ws, requests: [&str; 2]) -> Result<Pipeline> {
        let stream = ws.0.get_ref().try_clone()?;
        // The client's end closes nothing: the connection goes on in this one.
        Ok(Pipeline {
            stream,
            answers: Counter::new(Speech::WebSocket),
            requests: requests.map(client_text),
            sent: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Keeps `depth` requests on their way for `time`; answers per second.
    pub fn run(&mut self, depth: usize, time: Duration) -> Result<f64> {
        let begun = Instant::now();
        let (mut answered, mut outstanding, mut frames) = (0, 0, Vec::new());
        loop {
            if begun.elapsed() < time {
                frames.clear();
                while outstanding < depth {
                    frames.extend(&self.requests[self.sent % 2]);
                    self.sent += 1;
                    outstanding += 1;
                }
                self.stream.write_all(&frames)?;
            } else if outstanding == 0 {
                return Ok(answered as f64 / begun.elapsed().as_secs_f64());
            }
            let count = match self.stream.read(&mut self.buffer)? {
                0 => return Err("the daemon closed the connection".into()),
                bytes => self.answers.feed(&self.buffer[..bytes]),
            };
            answered += count;
            outstanding -= count;
        }
    }
}
