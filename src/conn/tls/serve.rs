//! TLS towards visitors: 1.2 and 1.3, certificate and key from PEM files, read again on SIGHUP.

use std::io::{self, Read, Write};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::config::TlsFiles;

/// What is wrong with the files, naming them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the certificate '{file}': {reason}")]
    Certificate { file: String, reason: String },
    #[error("cannot read the private key '{file}': {reason}")]
    Key { file: String, reason: String },
    #[error("certificate '{cert}' and key '{key}' cannot be used: {reason}")]
    Pair { cert: String, key: String, reason: String },
}

/// The certificate in use.
pub struct Tls {
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// # Errors
    /// A file cannot be read, or the two do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
        Ok(Tls { current: RwLock::new(read(files)?) })
    }

    /// The server's own certificate of these files, which is the first: DER.
    pub fn certificate(files: &TlsFiles) -> Option<Vec<u8>> {
        let first = CertificateDer::pem_file_iter(&files.cert).ok()?.next()?.ok()?;
        Some(first.to_vec())
    }

    /// Takes what another one has read; connections that are in keep what they have.
    pub fn replace(&self, fresh: Tls) {
        let fresh = fresh.current.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// State for one new connection.
    ///
    /// # Errors
    /// rustls's, which for a loaded configuration there is none of.
    pub fn session(&self) -> Result<Session, rustls::Error> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        ServerConnection::new(config).map(|connection| Session(Box::new(connection)))
    }
}

/// One visitor's connection, without its socket: ciphertext in and out, plaintext out and in.
pub struct Session(Box<ServerConnection>);

impl Session {
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Takes ciphertext from the network.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub fn receive(&mut self, mut ciphertext: &[u8]) -> io::Result<()> {
        while !ciphertext.is_empty() {
            // rustls's receive buffer is bounded, so it may take less than it is offered: process, then go on.
            if self.0.read_tls(&mut ciphertext)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.0.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(())
    }

    /// Reads decrypted bytes: `WouldBlock` when more ciphertext is needed, `UnexpectedEof` when the peer left without
    /// a goodbye.
    ///
    /// # Errors
    /// As said.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.reader().read(buf)
    }

    /// Takes plaintext that is to be sent.
    ///
    /// # Errors
    /// None that rustls has today.
    pub fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.0.writer().write(plaintext)
    }

    /// Whether there is ciphertext to send.
    pub fn wants_send(&self) -> bool {
        self.0.wants_write()
    }

    /// Sends some of it.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        self.0.write_tls(socket)
    }

    /// TLS's own end-of-stream (`close_notify`) becomes something to send.
    pub fn goodbye(&mut self) {
        self.0.send_close_notify();
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let (cert_file, key_file) = (files.cert.display().to_string(), files.key.display().to_string());
    let certificate = |reason: String| TlsError::Certificate { file: cert_file.clone(), reason };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| certificate(reason(&error)))?;
    if chain.is_empty() {
        return Err(certificate("no PEM certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Key { file: key_file.clone(), reason: reason(&error) })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |error: rustls::Error| TlsError::Pair {
        cert: cert_file.clone(),
        key: key_file.clone(),
        reason: error.to_string(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    // WebSocket over HTTP/2 is another protocol; say that only HTTP/1.1 is spoken here.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn reason(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "nothing of that kind in it (PEM expected)".into(),
        other => format!("not valid PEM ({other:?})"),
    }
}
