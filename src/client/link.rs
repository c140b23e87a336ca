//! A client's way to the daemon: plain or TLS, WebSocket or one HTTP request.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderValue, Uri};

use super::ClientError;
use crate::cli::ClientArgs;

/// Where Debian, and so Raspberry Pi OS, keeps the certificate authorities the machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is known of the daemon before connecting.
pub struct Link {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    key: Option<String>,
    timeout: Duration,
}

/// A connection, plain or TLS.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// # Errors
    /// A URL, key file or certificate file that cannot be used.
    pub fn new(args: &ClientArgs) -> Result<Link, ClientError> {
        let bad = || ClientError(format!("'{}' is not a URL such as ws://127.0.0.1:9000", args.url));
        let uri: Uri = args.url.parse().map_err(|_| bad())?;
        let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?.to_owned();
        let port = match uri.port_u16() {
            Some(port) => port,
            // A port that is none must not silently become another daemon's.
            None if !uri.authority().is_some_and(|authority| authority.as_str().ends_with(&host)) => return Err(bad()),
            None if secure => 443,
            None => 80,
        };
        let tls = secure.then(|| tls_config(args.ca.as_deref())).transpose()?;
        Ok(Link { host, port, tls, key: key(args)?, timeout: args.timeout })
    }

    /// Opens a WebSocket on `path`.
    ///
    /// # Errors
    /// No daemon there, or it refuses.
    pub fn websocket(&self, path: &str) -> Result<WebSocket<Stream>, ClientError> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}:{}{path}", self.host, self.port);
        let mut request = url.into_client_request().map_err(lost)?;
        if let Some(key) = &self.key {
            let value = HeaderValue::from_str(key).map_err(|_| ClientError::new("the API key is not visible ASCII"))?;
            request.headers_mut().insert("X-API-Key", value);
        }
        let stream = self.connect()?;
        match tungstenite::client::client_with_config(request, stream, None) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(body);
                Err(ClientError(format!("the daemon refused the connection: {} {}", response.status(), text.trim())))
            }
            Err(tungstenite::HandshakeError::Failure(error)) => Err(lost(error)),
            Err(tungstenite::HandshakeError::Interrupted(_)) => Err(self.late()),
        }
    }

    /// Sends one POST and returns the status and the body.
    ///
    /// # Errors
    /// No daemon there, or no HTTP answer from it.
    pub fn post(&self, path: &str, name: &str, body: &str) -> Result<(u16, String), ClientError> {
        let mut stream = self.connect()?;
        let key = self.key.as_ref().map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("clientName", name).finish();
        let head = format!(
            "POST {path}?{query} HTTP/1.1\r\nHost: {}:{}\r\n{key}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.host,
            self.port,
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
            _ => Err(ClientError(format!(
                "no HTTP answer from {}:{}; if it serves TLS, use wss://",
                self.host, self.port
            ))),
        }
    }

    /// Changes how long a read may wait.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn set_read_timeout(&self, socket: &WebSocket<Stream>, limit: Duration) -> Result<(), ClientError> {
        socket.get_ref().tcp().set_read_timeout(Some(limit)).map_err(|error| self.io(&error))
    }

    fn connect(&self) -> Result<Stream, ClientError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let unknown = |reason: String| ClientError(format!("cannot find '{host}': {reason}"));
        let addresses = (host, self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let mut last = unknown("it has no address".into());
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => return self.secure(stream),
                Err(error) => {
                    last = ClientError(format!("cannot connect to {address}: {error}; is the daemon running?"))
                }
            }
        }
        Err(last)
    }

    fn secure(&self, stream: TcpStream) -> Result<Stream, ClientError> {
        let io = |error: io::Error| self.io(&error);
        stream.set_nodelay(true).map_err(io)?;
        stream.set_read_timeout(Some(self.timeout)).map_err(io)?;
        stream.set_write_timeout(Some(self.timeout)).map_err(io)?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(self.host.trim_start_matches('[').trim_end_matches(']').to_owned())
            .map_err(|_| ClientError(format!("'{}' is no name a certificate could have", self.host)))?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(|e| ClientError(e.to_string()))?;
        let mut stream = StreamOwned::new(connection, stream);
        // Done here so that a certificate's fault is told as one, not as a broken handshake of what comes next.
        while stream.conn.is_handshaking() {
            let step = stream.conn.complete_io(&mut stream.sock);
            step.map_err(|error| {
                let text = error.to_string();
                // The second is what a self-signed certificate is called that is marked as an authority.
                let unknown = ["UnknownIssuer", "CaUsedAsEndEntity"].iter().any(|name| text.contains(name));
                let hint = match () {
                    () if unknown => "; trust its certificate with --ca FILE",
                    () if text.contains("InvalidContentType") => "; if it does not serve TLS, use ws://",
                    () => "",
                };
                ClientError(format!("TLS with {}:{}: {text}{hint}", self.host, self.port))
            })?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn io(&self, error: &io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.late(),
            _ => ClientError(format!("connection to {}:{} lost: {error}", self.host, self.port)),
        }
    }

    fn late(&self) -> ClientError {
        ClientError(format!(
            "no answer from {}:{} within {}",
            self.host,
            self.port,
            humantime::format_duration(self.timeout)
        ))
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

fn tls_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let file = ca.unwrap_or(Path::new(SYSTEM_ROOTS));
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let trusted = match read {
        Ok(trusted) if trusted.is_empty() && ca.is_some() => {
            return Err(ClientError(format!("no PEM certificate in '{}'", file.display())));
        }
        Ok(trusted) => trusted,
        Err(error) if ca.is_some() => {
            return Err(ClientError(format!("cannot read certificates from '{}': {error}", file.display())));
        }
        // Without system certificates nothing is trusted, and the handshake will say so.
        Err(_) => Vec::new(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let verifier = if roots.is_empty() {
        None
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        Some(verifier.map_err(|error| ClientError(error.to_string()))?)
    };
    // A certificate named with --ca is trusted by itself too: most self-signed ones are marked as an authority,
    // which the usual check refuses for a server.
    let pinned = if ca.is_some() { trusted } else { Vec::new() };
    let verifier = Arc::new(Pinned { pinned, verifier, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts a server that shows exactly one of the pinned certificates; all others are checked as usual.
#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.verifier {
            Some(usual) => usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buf),
            Stream::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(buf),
            Stream::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
