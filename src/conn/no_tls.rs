//! In the place of TLS where it is not built in: nothing of this can come into being, and asking for it says why.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::config::TlsFiles;
use crate::conn::client::{DialError, TlsFault, Trust};
use crate::types::features;

/// There is no certificate.
pub struct Tls(Infallible);

#[derive(Debug, thiserror::Error)]
#[error("{}", features::TLS.needed_by("tls.cert"))]
pub struct TlsError;

impl Tls {
    /// # Errors
    /// Always.
    pub fn load(_: &TlsFiles) -> Result<Tls, TlsError> {
        Err(TlsError)
    }

    pub fn certificate(_: &TlsFiles) -> Option<Vec<u8>> {
        None
    }

    pub fn replace(&self, _: Tls) {
        match self.0 {}
    }

    /// # Errors
    /// There is nothing that could fail.
    pub fn session(&self) -> Result<Session, TlsError> {
        match self.0 {}
    }
}

pub struct Session(Infallible);

impl Session {
    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub fn receive(&mut self, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    pub fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn wants_send(&self) -> bool {
        match self.0 {}
    }

    pub fn send(&mut self, _: &mut dyn Write) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn goodbye(&mut self) {
        match self.0 {}
    }
}

/// Nobody.
#[derive(Clone)]
pub struct Trusted(Infallible);

impl Trusted {
    /// # Errors
    /// Always.
    pub fn new(_: &Trust) -> Result<Trusted, DialError> {
        Err(DialError::Trust(features::TLS.needed_by("a URL with wss:// or https://")))
    }

    /// # Errors
    /// There is nothing that could fail.
    pub fn begin(&self, _: &str, _: TcpStream) -> Result<Secured, TlsFault> {
        match self.0 {}
    }
}

pub struct Secured(Infallible);

impl Secured {
    pub fn tcp(&self) -> &TcpStream {
        match self.0 {}
    }

    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub fn wants_write(&self) -> bool {
        match self.0 {}
    }

    pub fn shake_hands(&mut self) -> io::Result<()> {
        match self.0 {}
    }

    pub fn fault(&self, _: &io::Error) -> TlsFault {
        match self.0 {}
    }
}

impl Read for Secured {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for Secured {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
