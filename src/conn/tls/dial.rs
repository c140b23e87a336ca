//! TLS towards other machines: whom to believe, and the handshake.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError};
use rustls::{RootCertStore, SignatureScheme, StreamOwned};
use sha2::{Digest, Sha256};

use crate::conn::client::{DialError, TlsFault, Trust};
use crate::types::fingerprint::Fingerprint;

/// Where Debian, and so Raspberry Pi OS, keeps the certificate authorities the machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Who is trusted, ready for any number of connections.
#[derive(Clone)]
pub struct Trusted {
    config: Arc<ClientConfig>,
    /// For an error: the file with the certificates that are trusted.
    ca: Option<PathBuf>,
}

impl Trusted {
    /// # Errors
    /// The file with certificates cannot be used.
    pub fn new(trust: &Trust) -> Result<Trusted, DialError> {
        let ca = if let Trust::Ca(file) = trust { Some(file.clone()) } else { None };
        Ok(Trusted { config: config(trust)?, ca })
    }

    /// The first step of a handshake with `host`, a name or an address without brackets. Nothing is sent yet.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn begin(&self, host: &str, stream: TcpStream) -> Result<Secured, TlsFault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsFault::Other(format!("'{host}' is no name a certificate could have")))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| TlsFault::Other(error.to_string()))?;
        Ok(Secured { stream: StreamOwned::new(connection, stream), host: host.to_owned(), ca: self.ca.clone() })
    }
}

/// A connection under TLS.
pub struct Secured {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What the other side was asked for as.
    host: String,
    ca: Option<PathBuf>,
}

impl Secured {
    pub fn tcp(&self) -> &TcpStream {
        &self.stream.sock
    }

    pub fn is_handshaking(&self) -> bool {
        self.stream.conn.is_handshaking()
    }

    pub fn wants_write(&self) -> bool {
        self.stream.conn.wants_write()
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` among them, and what is wrong with the other side.
    pub fn shake_hands(&mut self) -> io::Result<()> {
        self.stream.conn.complete_io(&mut self.stream.sock).map(|_| ())
    }

    /// What an error of the handshake means: the library's in our words, where it is one that people make.
    pub fn fault(&self, error: &io::Error) -> TlsFault {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return TlsFault::Other(error.to_string());
        };
        use rustls::InvalidMessage;
        let rustls::Error::InvalidCertificate(certificate) = error else {
            return match error {
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFault::Plain,
                other => TlsFault::Other(other.to_string()),
            };
        };
        let asked = || self.host.clone();
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
}

impl Read for Secured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for Secured {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// rustls writes a certificate's names as `DnsName("pi")` and `IpAddress(10.0.0.1)`.
fn plain_name(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(shown);
    inner.trim_matches('"').to_owned()
}

fn config(trust: &Trust) -> Result<Arc<ClientConfig>, DialError> {
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
