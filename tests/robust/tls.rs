//! TLS for tests: certificates made by openssl, and a client that trusts exactly one of them.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use rustls::{SupportedProtocolVersion, version};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;

use crate::common::{Daemon, TempDir, skipped, tcp};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Whether there is an openssl; says so when there is none.
pub fn has_openssl() -> bool {
    let runs = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = runs.is_ok_and(|status| status.success());
    if !found {
        skipped("there is no openssl to make a certificate with");
    }
    found
}

/// A self-signed certificate for 127.0.0.1 and its key, as `<name>.pem` and `<name>.key` in the directory.
pub fn certificate(dir: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=pinwire test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:TRUE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (cert, key)
}

pub fn der(cert: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(cert).expect("a certificate")
}

/// A daemon with a certificate of its own, and more of `config`.
pub fn daemon(config: &str, flags: &[&str]) -> (Daemon, CertificateDer<'static>) {
    let dir = TempDir::new();
    let (cert, key) = certificate(&dir, "server");
    let shown = der(&cert);
    let file = dir.file("pinwire.toml", config);
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file).arg("--tls-cert").arg(cert).arg("--tls-key").arg(key).args(flags);
    });
    assert_eq!(daemon.scheme, "https");
    (daemon, shown)
}

pub const TLS12: &SupportedProtocolVersion = &version::TLS12;
pub const TLS13: &SupportedProtocolVersion = &version::TLS13;

/// Opens TLS to the daemon, which must show exactly `cert`.
pub fn connect(addr: SocketAddr, cert: &CertificateDer<'static>) -> TlsStream {
    over(tcp(addr), cert, &[TLS13, TLS12]).expect("a TLS connection")
}

/// TLS over an open connection, in one of `versions`.
pub fn over(
    socket: TcpStream,
    cert: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream> {
    let mut stream = StreamOwned::new(client(cert, versions), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A client's side, before its first byte.
pub fn client(cert: &CertificateDer<'static>, versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Exactly { cert: cert.clone(), provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// A WebSocket over TLS.
pub fn ws(addr: SocketAddr, cert: &CertificateDer<'static>, path: &str) -> WebSocket<TlsStream> {
    let request = format!("wss://{addr}{path}").into_client_request().expect("a request");
    match tungstenite::client::client(request, connect(addr, cert)) {
        Ok((socket, _)) => socket,
        Err(error) => panic!("wss {path}: {error}"),
    }
}

/// Trusts one certificate and no other; signatures are checked as always.
#[derive(Debug)]
struct Exactly {
    cert: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.cert {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
