//! Plain or TLS. The files are only named here; the front door reads them, at start and again on SIGHUP.

use std::path::PathBuf;

use super::TlsFiles;
use super::load::{Written, given};
use super::source::ConfigError;

/// The certificate and key by flag, environment, file. As in PiCloud the environment's files count only with `USE_TLS`.
pub(super) fn files(written: &Written<'_>, warnings: &mut Vec<String>) -> Result<Option<TlsFiles>, ConfigError> {
    let use_tls = written.env("USE_TLS").is_some();
    let env = |name| if use_tls { written.env(name).map(PathBuf::from) } else { None };
    let flags = written.flags;
    let cert = flags.tls_cert.clone().or_else(|| env("CERT_FILE")).or_else(|| given(&written.file.tls.cert));
    let key = flags.tls_key.clone().or_else(|| env("KEY_FILE")).or_else(|| given(&written.file.tls.key));

    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) if !use_tls => {
            // Somebody who names a certificate expects TLS; plain text must not come as a surprise.
            if written.env("CERT_FILE").is_some() || written.env("KEY_FILE").is_some() {
                warnings.push("CERT_FILE and KEY_FILE count only with USE_TLS=1, so this is without TLS".into());
            }
            Ok(None)
        }
        (cert, key) if use_tls => {
            let missing = match (cert, key) {
                (None, None) => "certificate and no key",
                (None, _) => "certificate",
                _ => "key",
            };
            let message = format!(
                "is set, but there is no {missing}: set CERT_FILE and KEY_FILE, or give --tls-cert FILE and \
                 --tls-key FILE"
            );
            Err(ConfigError::new("USE_TLS", message))
        }
        (Some(_), _) => {
            let place = if flags.tls_cert.is_some() { "--tls-cert".into() } else { written.source.at("tls.cert") };
            Err(ConfigError::new(place, "is a certificate without its key: give --tls-key FILE or tls.key as well"))
        }
        (None, _) => {
            let place = if flags.tls_key.is_some() { "--tls-key".into() } else { written.source.at("tls.key") };
            Err(ConfigError::new(place, "is a key without its certificate: give --tls-cert FILE or tls.cert as well"))
        }
    }
}
