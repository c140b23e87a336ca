//! A client's way to the daemon: WebSocket or one HTTP request.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderValue, StatusCode};

use super::{ClientError, Ended};
use crate::cli::ClientArgs;
pub use crate::conn::client::Stream;
use crate::conn::client::{Dial, DialError, TlsFault, Trust};

/// What is known of the daemon before connecting.
pub struct Link {
    dial: Dial,
    key: Option<String>,
}

impl From<DialError> for ClientError {
    fn from(error: DialError) -> ClientError {
        let hint = match &error {
            DialError::Tls { fault: TlsFault::Untrusted { ca: None }, .. } => "; trust its certificate with --ca FILE",
            DialError::Tls { fault: TlsFault::Untrusted { ca: Some(_) }, .. } => {
                "; give --ca the certificate of this daemon, or of the authority that signed it"
            }
            DialError::Tls { fault: TlsFault::Plain, .. } => "; use ws://",
            DialError::Refused { .. } => "; is the daemon running?",
            _ => "",
        };
        ClientError(format!("{error}{hint}"))
    }
}

impl Link {
    /// # Errors
    /// A URL, key file or certificate file that cannot be used.
    pub fn new(args: &ClientArgs) -> Result<Link, ClientError> {
        let trust = args.ca.clone().map_or(Trust::System, Trust::Ca);
        let dial = Dial::new(&args.url, &trust, args.timeout)?;
        Ok(Link { dial, key: key(args)? })
    }

    /// Opens a WebSocket on `path`.
    ///
    /// # Errors
    /// No daemon there, or it refuses.
    pub fn websocket(&self, path: &str) -> Result<WebSocket<Stream>, ClientError> {
        self.open(path).map_err(|ended| ended.error)
    }

    /// The same for who may try again.
    pub fn open(&self, path: &str) -> Result<WebSocket<Stream>, Ended> {
        let never = |error: ClientError| Ended { error, may_return: false };
        let later = |error: ClientError| Ended { error, may_return: true };
        let scheme = if self.dial.is_secure() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{path}", self.dial.peer());
        let mut request = url.into_client_request().map_err(lost).map_err(never)?;
        if let Some(key) = &self.key {
            let value = HeaderValue::from_str(key);
            let value = value.map_err(|_| never(ClientError::new("the API key is not visible ASCII")))?;
            request.headers_mut().insert("X-API-Key", value);
        }
        let stream = self.dial.connect().map_err(|error| later(error.into()))?;
        match tungstenite::client::client_with_config(request, stream, None) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(body);
                let text = format!("the daemon refused the connection: {} {}", response.status(), text.trim());
                // Of what the client did wrong nothing changes by itself; 429 and 503 pass.
                let may_return =
                    response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS;
                Err(Ended { error: ClientError(text), may_return })
            }
            Err(tungstenite::HandshakeError::Failure(error)) => Err(later(lost(error))),
            Err(tungstenite::HandshakeError::Interrupted(_)) => Err(later(self.io(&io::ErrorKind::TimedOut.into()))),
        }
    }

    /// Sends one POST and returns the status and the body.
    ///
    /// # Errors
    /// No daemon there, or no HTTP answer from it.
    pub fn post(&self, path: &str, name: &str, body: &str) -> Result<(u16, String), ClientError> {
        let mut stream = self.dial.connect()?;
        let key = self.key.as_ref().map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("clientName", name).finish();
        let peer = self.dial.peer();
        let head = format!(
            "POST {path}?{query} HTTP/1.1\r\nHost: {peer}\r\n{key}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let io = |error: io::Error| self.io(&error);
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).map_err(io)?;
        stream.flush().map_err(io)?;
        let mut answer = Vec::new();
        if let Err(error) = BufReader::new(stream).read_to_end(&mut answer)
            && answer.is_empty()
        {
            return Err(self.io(&error));
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&answer) {
            Ok(httparse::Status::Complete(length)) => {
                Ok((response.code.unwrap_or_default(), String::from_utf8_lossy(&answer[length..]).into_owned()))
            }
            _ => Err(ClientError(format!("no HTTP answer from {peer}; if it serves TLS, use wss://"))),
        }
    }

    /// Changes how long a read may wait.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn set_read_timeout(&self, socket: &WebSocket<Stream>, limit: Duration) -> Result<(), ClientError> {
        socket.get_ref().tcp().set_read_timeout(Some(limit)).map_err(|error| self.io(&error))
    }

    fn io(&self, error: &io::Error) -> ClientError {
        self.dial.lost(error).into()
    }
}

/// A WebSocket error for people.
pub fn lost(error: tungstenite::Error) -> ClientError {
    match error {
        tungstenite::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            ClientError::new("the daemon has been silent for too long")
        }
        error => ClientError(format!("connection lost: {error}")),
    }
}

fn key(args: &ClientArgs) -> Result<Option<String>, ClientError> {
    let key = match &args.api_key_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| ClientError(format!("cannot read the API key file '{}': {error}", file.display())))?,
        None => std::env::var("PINWIRE_API_KEY").unwrap_or_default(),
    };
    let key = key.trim();
    if key.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
        return Err(ClientError::new("the API key is not visible ASCII on one line"));
    }
    Ok(Some(key.to_owned()).filter(|key| !key.is_empty()))
}
