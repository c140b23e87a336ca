//! TLS: rustls with ring, TLS 1.2 and 1.3, certificate and key from PEM files, read again on SIGHUP.

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

    /// Takes what another one has read; connections that are in keep what they have.
    pub fn replace(&self, fresh: Tls) {
        let fresh = fresh.current.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// State for one new connection.
    ///
    /// # Errors
    /// rustls's, which for a loaded configuration there is none of.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        ServerConnection::new(config)
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
