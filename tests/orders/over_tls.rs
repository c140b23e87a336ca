//! The same over TLS, by rustls on both sides: records that wait in rustls are a backlog too, also those that nobody here has
//! sent (the handshake's).

use std::sync::OnceLock;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};
use shuttle::thread;

use self::certificates::{TLS12, TLS13, certificate, client, der, has_openssl};
use crate::common::TempDir;
use crate::config::TlsFiles;
use crate::conn::{CLOSE_GOING_AWAY, Conn, Got, Reader, Tls, Wait};
use crate::explore::Tests;
use crate::line::{Came, Reading, frame, nothing_is_left, numbers, pair_over, shared};
use crate::rt::socket::Peer;
use crate::rt::sync::Arc;

#[path = "../robust/tls.rs"]
#[allow(dead_code, reason = "not all of it is used")]
mod certificates;

pub const TESTS: Tests = &[
    ("over_tls_what_several_send_comes_whole_once_and_in_each_ones_order", what_several_send_comes_in_each_ones_order),
    ("over_tls_a_close_comes_behind_all_that_was_taken_and_ends_well", a_close_comes_behind_all_that_was_taken),
];

/// Holds less than a record of the handshake.
const ROOM: usize = 300;

static CERTIFICATE: OnceLock<(Tls, CertificateDer<'static>)> = OnceLock::new();

/// Makes the certificate of all runs.
pub fn prepare() -> Option<TempDir> {
    if !has_openssl() {
        return None;
    }
    let dir = TempDir::new();
    let (cert, key) = certificate(&dir, "server");
    let shown = der(&cert);
    let tls = Tls::load(&TlsFiles { cert, key }).expect("a certificate");
    assert!(CERTIFICATE.set((tls, shown)).is_ok(), "called once");
    Some(dir)
}

/// A connection, and its peer, who shakes hands when it reads first.
fn pair(shared: &Arc<crate::conn::Shared>) -> (Arc<Conn>, StreamOwned<ClientConnection, Peer>) {
    let (tls, cert) = CERTIFICATE.get().expect("prepared");
    let (conn, peer) = pair_over(shared, ROOM, Some(tls));
    (conn, StreamOwned::new(client(cert, &[TLS13, TLS12]), peer))
}

/// Shakes hands, lets `then` go on, and reads to the end.
fn reader(conn: &Arc<Conn>, then: impl FnOnce() + Send + 'static) -> thread::JoinHandle<Reader> {
    let conn = Arc::clone(conn);
    thread::spawn(move || {
        let mut reader = Reader::new(Arc::clone(&conn), true);
        reader.set_steady_wait(Duration::from_secs(1));
        reader.handshake(crate::rt::clock::now() + Duration::from_secs(1)).expect("a handshake");
        then();
        while let Ok(Got::Data(_)) = reader.read(&mut [0; 16], Wait::Steady) {}
        reader
    })
}

fn what_several_send_comes_in_each_ones_order() {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared);
    let writers = Arc::clone(&conn);
    let reader = reader(&conn, move || {
        for who in ['a', 'b'] {
            let conn = Arc::clone(&writers);
            thread::spawn(move || (1..=3).for_each(|n| conn.send(&frame(who, n)).expect("alive")));
        }
    });
    let mut reading = Reading::new(peer, 5);
    let came: Vec<_> = (0..6).map(|_| reading.next()).collect();
    for who in ['a', 'b'] {
        assert_eq!(numbers(&came, who), [1, 2, 3]);
    }
    conn.end();
    drop((reader.join().expect("a reader"), conn));
    nothing_is_left(&shared);
}

/// As a session ends: Close, what waits, TLS's own goodbye, and the end.
fn a_close_comes_behind_all_that_was_taken() {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared);
    let ending = Arc::clone(&conn);
    let ended = reader(&conn, move || {
        let writer = Arc::clone(&ending);
        let writer = thread::spawn(move || (1..=3).take_while(|n| writer.send(&frame('a', *n)).is_ok()).count());
        ending.close(CLOSE_GOING_AWAY, "bye");
        let taken = writer.join().expect("a writer");
        // Its peer sees how many it were.
        assert!(taken <= 3);
        let mut reader = Reader::new(Arc::clone(&ending), true);
        ending.finish(&mut reader, Duration::from_secs(1));
    });
    let mut reading = Reading::new(peer, 5);
    let mut came = Vec::new();
    while !matches!(came.last(), Some(Came::Close(_))) {
        came.push(reading.next());
    }
    assert_eq!(came.pop(), Some(Came::Close(CLOSE_GOING_AWAY)));
    let got = numbers(&came, 'a');
    assert_eq!(got, Vec::from_iter(1..=got.len()));
    // rustls would call it an error, had TLS's goodbye been cut off.
    assert_eq!(reading.next(), Came::End(Vec::new()));
    reading.peer().sock.end();
    drop((ended.join().expect("a reader"), conn));
    nothing_is_left(&shared);
}
