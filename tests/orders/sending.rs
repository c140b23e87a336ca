//! One connection, several writers, a reader who waits for room, the flusher, and a peer who reads as it likes.

use shuttle::thread;

use crate::conn::{Bell, Conn, Offered};
use crate::explore::{Count, Tests};
use crate::line::{Reading, frame, nothing_is_left, numbers, pair, shared};
use crate::rt::sync::{Arc, Condvar, Mutex, Weak};

pub const TESTS: Tests = &[
    ("what_several_send_comes_whole_once_and_in_each_ones_order", what_several_send_comes_in_each_ones_order),
    ("who_answers_waits_for_room_and_is_woken", who_answers_waits_for_room),
    ("the_bell_is_rung_once_for_each_refusal_and_when_there_is_room", the_bell_is_rung_once_for_each_refusal),
    ("where_others_have_the_budget_there_is_a_bell_all_the_same", where_others_have_the_budget_there_is_a_bell),
];

/// Main waits for the peer, who waits for all bytes: a backlog that nobody watches leaves both waiting.
fn what_several_send_comes_in_each_ones_order() {
    let shared = shared(1000, 1000);
    let (conn, peer) = pair(&shared, 9);
    let writers = ['a', 'b'].map(|who| {
        let conn = Arc::clone(&conn);
        thread::spawn(move || (1..=3).for_each(|n| conn.send(&frame(who, n)).expect("alive")))
    });
    let mut reading = Reading::new(peer, 5);
    let came: Vec<_> = (0..6).map(|_| reading.next()).collect();
    for who in ['a', 'b'] {
        assert_eq!(numbers(&came, who), [1, 2, 3]);
    }
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    assert_eq!(conn.waiting(), 0);
    drop(conn);
    nothing_is_left(&shared);
}

/// Answers have room for one at a time, so their thread waits, beside the flusher, for the same socket.
fn who_answers_waits_for_room() {
    let shared = shared(12, 1000);
    let (conn, peer) = pair(&shared, 6);
    let (reader, writer) = (Arc::clone(&conn), Arc::clone(&conn));
    let reader = thread::spawn(move || (1..=3).for_each(|n| reader.reply(&frame('r', n)).expect("alive")));
    let bell: Arc<dyn Bell> = Arc::new(Silent);
    let writer = thread::spawn(move || {
        let taken = |n: &usize| writer.offer(&frame('a', *n), &bell, 1) == Ok(Offered::Taken);
        (1..=2).filter(taken).collect::<Vec<_>>()
    });
    let mut reading = Reading::new(peer, 4);
    let mut came: Vec<_> = (0..3).map(|_| reading.next()).collect();
    let taken = writer.join().expect("a writer");
    came.extend((0..taken.len()).map(|_| reading.next()));
    assert_eq!((numbers(&came, 'r'), numbers(&came, 'a')), (vec![1, 2, 3], taken));
    reader.join().expect("the reader");
    drop(conn);
    nothing_is_left(&shared);
}

struct Silent;

impl Bell for Silent {
    fn ring(&self, _: u64) {}
}

/// Whoever was refused, and waits to hear that there is room.
#[derive(Default)]
struct Refused {
    conn: Mutex<Weak<Conn>>,
    /// Bytes that may wait when it is rung.
    half: usize,
    rung: Mutex<usize>,
    heard: Condvar,
}

impl Bell for Refused {
    fn ring(&self, whose: u64) {
        assert_eq!(whose, 7);
        if let Some(conn) = self.conn.lock().expect("nobody panics").upgrade() {
            // Only who waits for this bell sends here.
            assert!(conn.waiting() <= self.half, "{} bytes wait", conn.waiting());
        }
        *self.rung.lock().expect("nobody panics") += 1;
        self.heard.notify_all();
    }
}

impl Refused {
    fn new(conn: &Arc<Conn>, half: usize) -> Arc<Refused> {
        Arc::new(Refused { conn: Mutex::new(Arc::downgrade(conn)), half, ..Refused::default() })
    }

    /// Offers until it is taken; how often it was refused.
    fn offer(self: &Arc<Refused>, conn: &Arc<Conn>, bytes: &[u8], before: usize) -> usize {
        let bell = Arc::clone(self) as Arc<dyn Bell>;
        let mut refused = before;
        while conn.offer(bytes, &bell, 7).expect("alive") == Offered::Full {
            refused += 1;
            let mut rung = self.rung.lock().expect("nobody panics");
            while *rung < refused {
                rung = self.heard.wait(rung).expect("nobody panics");
            }
            assert_eq!(*rung, refused, "rung for nothing");
        }
        assert_eq!(*self.rung.lock().expect("nobody panics"), refused, "rung for nothing");
        refused
    }
}

fn the_bell_is_rung_once_for_each_refusal() {
    let shared = shared(16, 1000);
    let (conn, peer) = pair(&shared, 6);
    let reader = thread::spawn(move || {
        let mut reading = Reading::new(peer, 4);
        let came: Vec<_> = (0..6).map(|_| reading.next()).collect();
        assert_eq!(numbers(&came, 'a'), [1, 2, 3, 4, 5, 6]);
    });
    let refused = Refused::new(&conn, 8);
    (1..=6).fold(0, |before, n| refused.offer(&conn, &frame('a', n), before));
    reader.join().expect("the peer");
    drop(conn);
    nothing_is_left(&shared);
}

/// Another connection's peer reads nothing, and holds most of the budget until it goes.
fn where_others_have_the_budget_there_is_a_bell() {
    let shared = shared(30, 36);
    let (stuck, gone) = pair(&shared, 3);
    stuck.send(&[b'.'; 31]).expect("a part of it goes out, the rest may wait");
    assert!(shared.budget.is_tight());
    let (conn, peer) = pair(&shared, 6);
    let done = Arc::new(Count::default());
    let (reader_done, ender_done) = (Arc::clone(&done), Arc::clone(&done));
    let reader = thread::spawn(move || {
        let mut reading = Reading::new(peer, 4);
        let came: Vec<_> = (0..4).map(|_| reading.next()).collect();
        assert_eq!(numbers(&came, 'a'), [1, 2, 3, 4]);
        reader_done.add(1);
    });
    let ender = thread::spawn(move || {
        gone.reset();
        ender_done.add(1);
    });
    let refused = Refused::new(&conn, 15);
    (1..=4).fold(0, |before, n| refused.offer(&conn, &frame('a', n), before));
    done.wait_for(2);
    reader.join().expect("the peer");
    ender.join().expect("the other peer");
    drop((conn, stuck));
    nothing_is_left(&shared);
}
