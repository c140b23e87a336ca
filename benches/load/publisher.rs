//! Whoever publishes: on a socket, without an answer, or over HTTP on a connection that is kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::Result;
use crate::client::{Client, EVENT, Role, STALL_LIMIT};
use crate::fan_out::{event_frame, event_text};
use crate::server::Server;

/// How events get to the server.
#[derive(Clone, Copy)]
pub enum Via {
    Socket,
    Http,
}

pub enum Publisher {
    Socket { client: Client, event: Vec<u8> },
    Http { stream: BufReader<TcpStream>, request: Vec<u8>, unanswered: bool },
}

impl Publisher {
    pub fn open(server: &Server, via: Via, number: usize) -> Result<Self> {
        match via {
            Via::Socket => {
                let client = Client::open(server, Role::Publisher(number))?;
                Ok(Self::Socket { client, event: event_frame(server.kind, EVENT) })
            }
            Via::Http => {
                let stream = TcpStream::connect_timeout(&server.address, STALL_LIMIT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(STALL_LIMIT))?;
                let body = event_text(EVENT);
                let head = format!(
                    "POST /publish?clientName=h{number} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n",
                    server.address,
                    body.len()
                );
                let request = [head.as_bytes(), body.as_bytes()].concat();
                Ok(Self::Http { stream: BufReader::new(stream), request, unanswered: false })
            }
        }
    }

    /// Publishes the event, once the answer to the last one has come.
    pub fn publish(&mut self) -> Result<()> {
        match self {
            Self::Socket { client, event } => client.send(event),
            Self::Http { stream, request, unanswered } => {
                if *unanswered {
                    read_answer(stream)?;
                }
                *unanswered = true;
                Ok(stream.get_mut().write_all(request)?)
            }
        }
    }
}

/// Reads a whole answer, which has to be 201.
fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut first, mut length) = (String::new(), true, 0);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if first && !line.starts_with("HTTP/1.1 201 ") {
            return Err(format!("a publish was answered {line:?}").into());
        }
        first = false;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    Ok(stream.read_exact(&mut body)?)
}
