//! The end of a connection, at any moment of sending and flushing.

use std::io::Read;

use shuttle::thread;

use crate::conn::{Bell, CLOSE_GOING_AWAY, CLOSE_SLOW, Conn};
use crate::explore::Tests;
use crate::line::{Came, Reading, frame, nothing_is_left, numbers, pair, shared};
use crate::rt::socket;
use crate::rt::sync::Arc;

pub const TESTS: Tests = &[
    ("a_close_comes_behind_all_that_was_taken_and_is_the_last", a_close_comes_behind_all_that_was_taken),
    ("a_cut_leaves_whole_frames_and_its_close", a_cut_leaves_whole_frames_and_its_close),
    ("an_end_at_any_moment_gives_everything_back", an_end_at_any_moment_gives_everything_back),
    ("a_peer_that_is_gone_at_any_moment_gives_everything_back", a_peer_that_is_gone_gives_everything_back),
    ("who_does_not_read_its_close_is_ended_at_the_deadline", who_does_not_read_its_close_is_ended),
    ("a_connection_that_is_dropped_while_it_is_flushed_leaves_nothing", a_connection_is_dropped_while_it_is_flushed),
];

const FRAMES: usize = 3;

/// Sends; how many were taken.
fn writer(conn: &Arc<Conn>) -> thread::JoinHandle<usize> {
    let conn = Arc::clone(conn);
    thread::spawn(move || (1..=FRAMES).take_while(|n| conn.send(&frame('a', *n)).is_ok()).count())
}

/// The same by offering, which asks for room.
fn offerer(conn: &Arc<Conn>) -> thread::JoinHandle<()> {
    struct Silent;
    impl Bell for Silent {
        fn ring(&self, _: u64) {}
    }
    let conn = Arc::clone(conn);
    let bell: Arc<dyn Bell> = Arc::new(Silent);
    thread::spawn(move || (1..=2).for_each(|n| drop(conn.offer(&frame('b', n), &bell, 1))))
}

/// What came before a Close; there is exactly one, and nothing behind it.
fn up_to_close(came: &[Came], code: u16) -> &[Came] {
    let Some((Came::Close(last), before)) = came.split_last() else { panic!("no Close at the end of {came:?}") };
    assert_eq!(*last, code);
    assert!(!before.iter().any(|came| matches!(came, Came::Close(_))), "{came:?}");
    before
}

/// Closes from a thread of its own, while its peer reads to the end.
fn close_while_sending(room: usize, code: u16) -> (Vec<Came>, usize) {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared, room);
    let (writer, offerer, closing) = (writer(&conn), offerer(&conn), Arc::clone(&conn));
    let closer = thread::spawn(move || closing.close(code, "bye"));
    let reader = thread::spawn(move || {
        let mut reading = Reading::new(peer, 4);
        let mut came = Vec::new();
        while !matches!(came.last(), Some(Came::Close(_))) {
            came.push(reading.next());
        }
        // Its session has seen it leave, and ends: nothing was behind the Close.
        came.extend(match reading.next() {
            Came::End(torn) if torn.is_empty() => None,
            more => Some(more),
        });
        came
    });
    closer.join().expect("a closer");
    let taken = writer.join().expect("a writer");
    offerer.join().expect("an offerer");
    while conn.waiting() > 0 {
        thread::yield_now();
    }
    drop(conn);
    let came = reader.join().expect("a peer");
    nothing_is_left(&shared);
    (came, taken)
}

fn a_close_comes_behind_all_that_was_taken() {
    let (came, taken) = close_while_sending(6, CLOSE_GOING_AWAY);
    let before = up_to_close(&came, CLOSE_GOING_AWAY);
    assert_eq!(numbers(before, 'a'), Vec::from_iter(1..=taken));
}

/// What had not begun to go out is dropped, from the end.
fn a_cut_leaves_whole_frames_and_its_close() {
    let (came, taken) = close_while_sending(6, CLOSE_SLOW);
    let before = numbers(up_to_close(&came, CLOSE_SLOW), 'a');
    assert!(before.len() <= taken);
    assert_eq!(before, Vec::from_iter(1..=before.len()));
}

fn an_end_at_any_moment_gives_everything_back() {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared, 6);
    let (writer, offerer, ending) = (writer(&conn), offerer(&conn), Arc::clone(&conn));
    let ender = thread::spawn(move || ending.end());
    let (came, torn) = Reading::new(peer, 4).rest();
    let taken = writer.join().expect("a writer");
    let whole = numbers(&came, 'a');
    assert!(whole.len() <= taken && whole == Vec::from_iter(1..=whole.len()), "{came:?}");
    assert!(torn.len() < frame('a', 2).len(), "{torn:?}");
    offerer.join().expect("an offerer");
    ender.join().expect("who ends it");
    // Not only once it is dropped; the flusher may be about to do it.
    while (conn.waiting(), shared.budget.used(), socket::watched()) != (0, 0, 0) {
        thread::yield_now();
    }
    drop(conn);
    nothing_is_left(&shared);
}

fn a_peer_that_is_gone_gives_everything_back() {
    let shared = shared(1000, 1000);
    let (conn, mut peer) = pair(&shared, 6);
    let (writer, offerer, closing) = (writer(&conn), offerer(&conn), Arc::clone(&conn));
    let closer = thread::spawn(move || closing.close(CLOSE_GOING_AWAY, "bye"));
    let reader = thread::spawn(move || {
        let _ = peer.read(&mut [0; 4]);
        peer.reset();
    });
    writer.join().expect("a writer");
    offerer.join().expect("an offerer");
    closer.join().expect("a closer");
    reader.join().expect("a peer");
    // Whatever waited, the flusher meets the broken socket by itself.
    while shared.budget.used() > 0 || socket::watched() > 0 {
        thread::yield_now();
    }
    drop(conn);
    nothing_is_left(&shared);
}

fn who_does_not_read_its_close_is_ended() {
    let shared = shared(1000, 1000);
    let (conn, mut peer) = pair(&shared, 6);
    let (writer, closing) = (writer(&conn), Arc::clone(&conn));
    let closer = thread::spawn(move || closing.close(CLOSE_GOING_AWAY, "bye"));
    let deadline = shared.close_deadline;
    closer.join().expect("a closer");
    // Also while the flusher has read the clock and does not wait yet.
    while !peer.has_ended() {
        socket::pass(deadline / 2);
        thread::yield_now();
    }
    assert_eq!(peer.read(&mut [0; 100]).expect("an end"), 0, "a reset takes back what nobody has read");
    writer.join().expect("a writer");
    drop(conn);
    nothing_is_left(&shared);
}

fn a_connection_is_dropped_while_it_is_flushed() {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared, 6);
    let reader = thread::spawn(move || Reading::new(peer, 4).rest());
    let (writer, offerer) = (writer(&conn), offerer(&conn));
    drop(conn);
    writer.join().expect("a writer");
    offerer.join().expect("an offerer");
    let (came, _) = reader.join().expect("a peer");
    let whole = numbers(&came, 'a');
    assert_eq!(whole, Vec::from_iter(1..=whole.len()));
    nothing_is_left(&shared);
}
