//! The way out: connections to other machines' ports, plain or TLS, for the client commands, an agent and webhooks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError};
use rustls::{RootCertStore, SignatureScheme, StreamOwned};
use sha2::{Digest, Sha256};
use tungstenite::http::Uri;

use crate::rt::clock;
use crate::types::fingerprint::Fingerprint;

/// Where Debian, and so Raspberry Pi OS, keeps the certificate authorities the machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to believe.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The authorities this machine trusts.
    System,
    /// The certificates in this PEM file: as authorities, and each by itself.
    Ca(PathBuf),
    /// Exactly the server whose certificate or public key has this fingerprint, whatever name it has and whoever
    /// signed it.
    Pin(Fingerprint),
}

/// Why there is no connection, in one line.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("'{0}' is not a URL such as ws://127.0.0.1:9000")]
    Url(String),
    /// The file with certificates cannot be used.
    #[error("{0}")]
    Trust(String),
    #[error("cannot find '{host}': {reason}")]
    Unknown { host: String, reason: String },
    #[error("cannot connect to {address}: {reason}")]
    Refused { address: String, reason: String },
    #[error("TLS with {peer}: {fault}")]
    Tls { peer: String, fault: TlsFault },
    #[error("no answer from {peer} within {}", humantime::format_duration(*.limit))]
    Late { peer: String, limit: Duration },
    #[error("connection to {peer} lost: {reason}")]
    Lost { peer: String, reason: String },
    /// Whoever wanted it does not want it any more.
    #[error("cancelled")]
    Cancelled,
}

/// What is wrong with the other side's TLS, or with our trust in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate may be good, but none of the authorities we trust says so.
    #[error("{}", untrusted(.ca.as_deref()))]
    Untrusted {
        /// The file whose certificates were trusted instead of the machine's.
        ca: Option<PathBuf>,
    },
    /// It is not the one that is pinned.
    #[error("the certificate is another one, with SHA-256 {shown}")]
    Pin { shown: Fingerprint },
    #[error("the certificate is for another name than '{asked}'{}", names(.good_for))]
    Name { asked: String, good_for: Vec<String> },
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYet,
    /// The other side speaks something else than TLS.
    #[error("it does not speak TLS")]
    Plain,
    #[error("{0}")]
    Other(String),
}

fn untrusted(ca: Option<&Path>) -> String {
    match ca {
        Some(file) => format!(
            "the certificate was signed by none of those in '{}', so that file is another authority's",
            file.display()
        ),
        None => "nobody this machine trusts has signed the certificate (UnknownIssuer)".to_owned(),
    }
}

fn names(good_for: &[String]) -> String {
    if good_for.is_empty() { String::new() } else { format!(" (it is for {})", good_for.join(", ")) }
}

/// What ends an attempt before its time.
#[derive(Clone, Copy)]
pub struct Cancel<'a> {
    /// Becomes readable.
    pub bell: BorrowedFd<'a>,
    /// Whether it was rung for the end; if not, this has silenced it.
    pub is_due: &'a dyn Fn() -> bool,
}

/// Somebody's port, and how to reach it.
#[derive(Clone)]
pub struct Dial {
    host: String,
    port: u16,
    /// What the URL says behind the port; without a `/` at its end.
    prefix: String,
    tls: Option<Arc<ClientConfig>>,
    /// For an error: the file with the certificates that are trusted.
    ca: Option<PathBuf>,
    timeout: Duration,
}

/// A connection, plain or TLS.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Dial {
    /// `url` begins with `ws://`, `wss://`, `http://` or `https://`; `timeout` holds for connecting to each address of the
    /// name, TLS handshake included, and then for each read and write.
    ///
    /// # Errors
    /// A URL or certificate file that cannot be used.
    pub fn new(url: &str, trust: &Trust, timeout: Duration) -> Result<Dial, DialError> {
        let bad = || DialError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let secure = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(bad()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?.to_owned();
        let port = match uri.port_u16() {
            Some(port) => port,
            // A port that is none must not silently become another server's.
            None if !uri.authority().is_some_and(|authority| authority.as_str().ends_with(&host)) => return Err(bad()),
            None if secure => 443,
            None => 80,
        };
        let tls = secure.then(|| tls_config(trust)).transpose()?;
        let prefix = uri.path_and_query().map_or("", |path| path.as_str()).trim_end_matches('/').to_owned();
        let ca = if let Trust::Ca(file) = trust { Some(file.clone()) } else { None };
        Ok(Dial { host, port, prefix, tls, ca, timeout })
    }

    /// Host and port, as for a `Host` header.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The URL's own path, without a `/` at its end: empty, or as `/prefix`; for a webhook, with its query.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, and shakes hands where it is TLS.
    ///
    /// # Errors
    /// Nobody there, or nobody who is trusted.
    pub fn connect(&self) -> Result<Stream, DialError> {
        self.connect_unless(None)
    }

    /// The same, until it is cancelled. Only the look-up of the name cannot be.
    ///
    /// # Errors
    /// As [`Dial::connect`].
    pub fn connect_unless(&self, cancel: Option<Cancel>) -> Result<Stream, DialError> {
        let host = self.bare_host();
        let unknown = |reason: String| DialError::Unknown { host: host.to_owned(), reason };
        let addresses = (host, self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let mut last = unknown("it has no address".into());
        for address in addresses {
            let until = clock::now() + self.timeout;
            match open(address, until, cancel) {
                Ok(stream) => return self.secure(stream, until, cancel),
                Err(Wait::Cancelled) => return Err(DialError::Cancelled),
                Err(Wait::Failed(error)) => {
                    last = DialError::Refused { address: address.to_string(), reason: error.to_string() };
                }
            }
        }
        Err(last)
    }

    /// What an error on a connection of this way means.
    pub fn lost(&self, error: &io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                DialError::Late { peer: self.peer(), limit: self.timeout }
            }
            _ => DialError::Lost { peer: self.peer(), reason: error.to_string() },
        }
    }

    /// The library's error in our words, where it is one that people make.
    fn tls_fault(&self, error: &rustls::Error) -> TlsFault {
        use rustls::InvalidMessage;
        let rustls::Error::InvalidCertificate(certificate) = error else {
            return match error {
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFault::Plain,
                other => TlsFault::Other(other.to_string()),
            };
        };
        let asked = || self.bare_host().to_owned();
        match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYet,
            CertificateError::NotValidForName => TlsFault::Name { asked: asked(), good_for: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsFault::Name { asked: asked(), good_for: presented.iter().map(|name| plain_name(name)).collect() }
            }
            // A signature that is none is an authority's of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::Untrusted { ca: self.ca.clone() }
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<TlsFault>() {
                Some(fault) => fault.clone(),
                // What a self-signed certificate is called that is marked as an authority.
                None if other.to_string().contains("CaUsedAsEndEntity") => TlsFault::Untrusted { ca: self.ca.clone() },
                None => TlsFault::Other(error.to_string()),
            },
            _ => TlsFault::Other(error.to_string()),
        }
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn secure(&self, stream: TcpStream, until: Instant, cancel: Option<Cancel>) -> Result<Stream, DialError> {
        let io = |error: io::Error| self.lost(&error);
        stream.set_nodelay(true).map_err(io)?;
        stream.set_read_timeout(Some(self.timeout)).map_err(io)?;
        stream.set_write_timeout(Some(self.timeout)).map_err(io)?;
        let Some(config) = &self.tls else {
            stream.set_nonblocking(false).map_err(io)?;
            return Ok(Stream::Plain(stream));
        };
        let tls = |fault: TlsFault| DialError::Tls { peer: self.peer(), fault };
        let name = ServerName::try_from(self.bare_host().to_owned())
            .map_err(|_| tls(TlsFault::Other(format!("'{}' is no name a certificate could have", self.host))))?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| tls(self.tls_fault(&error)))?;
        let mut stream = StreamOwned::new(connection, stream);
        // Done here so that a certificate's fault is told as one, not as a broken handshake of what comes next.
        while stream.conn.is_handshaking() {
            let wanted = if stream.conn.wants_write() { PollFlags::OUT } else { PollFlags::IN };
            match stream.conn.complete_io(&mut stream.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&stream.sock, wanted, until, cancel).map_err(|end| match end {
                        Wait::Cancelled => DialError::Cancelled,
                        Wait::Failed(error) => self.lost(&error),
                    })?;
                }
                Err(error) => {
                    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                    return Err(tls(match fault {
                        Some(fault) => self.tls_fault(fault),
                        None => TlsFault::Other(error.to_string()),
                    }));
                }
            }
        }
        stream.sock.set_nonblocking(false).map_err(io)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// rustls writes a certificate's names as `DnsName("pi")` and `IpAddress(10.0.0.1)`.
fn plain_name(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(shown);
    inner.trim_matches('"').to_owned()
}

/// Why waiting has ended without what was waited for.
enum Wait {
    Cancelled,
    Failed(io::Error),
}

impl From<Errno> for Wait {
    fn from(error: Errno) -> Wait {
        Wait::Failed(error.into())
    }
}

/// A connection that does not block yet.
fn open(address: SocketAddr, until: Instant, cancel: Option<Cancel>) -> Result<TcpStream, Wait> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait(&socket, PollFlags::OUT, until, cancel)?;
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(TcpStream::from(socket))
}

/// Waits until the socket is ready, the time is over or the attempt is cancelled.
fn wait(socket: &impl AsFd, wanted: PollFlags, until: Instant, cancel: Option<Cancel>) -> Result<(), Wait> {
    loop {
        let left = until.saturating_duration_since(clock::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(socket, wanted)];
        fds.extend(cancel.iter().map(|cancel| PollFd::new(&cancel.bell, PollFlags::IN)));
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (ready, rung) = (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        if rung && cancel.is_some_and(|cancel| (cancel.is_due)()) {
            return Err(Wait::Cancelled);
        }
        if ready {
            return Ok(());
        }
        if left.is_zero() {
            return Err(Wait::Failed(io::ErrorKind::TimedOut.into()));
        }
    }
}

fn tls_config(trust: &Trust) -> Result<Arc<ClientConfig>, DialError> {
    let bad = |error: rustls::Error| DialError::Trust(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new(trust, &provider)?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts a server that shows exactly what is pinned; all others are checked as usual, unless only a pin counts.
#[derive(Debug)]
struct Verifier {
    certificates: Vec<CertificateDer<'static>>,
    fingerprint: Option<Fingerprint>,
    usual: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Verifier, DialError> {
        let provider = Arc::clone(provider);
        let trusted = match trust {
            Trust::Pin(fingerprint) => {
                let fingerprint = Some(*fingerprint);
                return Ok(Verifier { certificates: Vec::new(), fingerprint, usual: None, provider });
            }
            Trust::Ca(file) => match certificates(file) {
                Ok(trusted) if trusted.is_empty() => {
                    return Err(DialError::Trust(format!("no PEM certificate in '{}'", file.display())));
                }
                Ok(trusted) => trusted,
                Err(error) => {
                    let file = file.display();
                    return Err(DialError::Trust(format!("cannot read certificates from '{file}': {error}")));
                }
            },
            // Without system certificates nothing is trusted, and the handshake will say so.
            Trust::System => certificates(SYSTEM_ROOTS.as_ref()).unwrap_or_default(),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let usual = if roots.is_empty() {
            None
        } else {
            let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            Some(usual.map_err(|error| DialError::Trust(error.to_string()))?)
        };
        // A certificate in one's own file is trusted by itself too: most self-signed ones are marked as an authority,
        // which the usual check refuses for a server.
        let certificates = if matches!(trust, Trust::Ca(_)) { trusted } else { Vec::new() };
        Ok(Verifier { certificates, fingerprint: None, usual, provider })
    }

    fn has_fingerprint(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(wanted) = &self.fingerprint else { return false };
        let is = |der: &[u8]| Sha256::digest(der)[..] == wanted.0;
        is(certificate)
            || ParsedCertificate::try_from(certificate).is_ok_and(|parsed| is(&parsed.subject_public_key_info()))
    }
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|pinned| pinned == end_entity) || self.has_fingerprint(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.usual {
            Some(usual) => usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None if self.fingerprint.is_some() => {
                let shown = Fingerprint(Sha256::digest(end_entity).into());
                Err(CertificateError::Other(OtherError(Arc::new(TlsFault::Pin { shown }))).into())
            }
            None => Err(CertificateError::UnknownIssuer.into()),
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
    /// The socket below, for its limits and for waiting.
    pub fn tcp(&self) -> &TcpStream {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_with_its_prefix() {
        let dial = |url: &str| Dial::new(url, &Trust::System, Duration::from_secs(1));
        for (url, peer, prefix, secure) in [
            ("ws://pi:1", "pi:1", "", false),
            ("wss://hub.example/", "hub.example:443", "", true),
            ("https://hub.example/pinwire/", "hub.example:443", "/pinwire", true),
            ("http://[::1]:8080/a/b?c=d", "[::1]:8080", "/a/b?c=d", false),
        ] {
            let dial = dial(url).expect(url);
            assert_eq!((dial.peer().as_str(), dial.prefix(), dial.is_secure()), (peer, prefix, secure), "{url}");
        }
        for url in ["", "pi:9000", "ftp://pi", "ws://", "ws://pi:99999", "ws://pi:x"] {
            assert!(dial(url).is_err(), "{url}");
        }
    }
}
