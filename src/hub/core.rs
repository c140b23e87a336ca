//! What only the holder of the send lock touches: the sequence, the table, the history, and the sending itself.

use std::time::{Duration, Instant};

use super::durable::Durable;
use super::handover::Work;
use super::history::{History, Limits, Numbered};
use super::lobby::Lobby;
use super::member::{Filter, Member, MemberId, Presence, Slow};
use super::table::{FORMS, Table, form};
use super::{Ack, Acked, Encode};
use crate::conn::{Bell, Gone, Offered};
use crate::rt::clock;
use crate::rt::sync::{Arc, AtomicUsize, Ordering, Receiver};
use crate::types::event::{Audience, Body, Dialect, Event};
use crate::types::position::{Epoch, Lagged, Position};

/// Bytes of encoded events after which a batch is sent without waiting for its end.
const SEND_BYTES: usize = 32 * 1024;

/// Hears of every event within the process; must not wait, since nothing is sent meanwhile.
pub type Tap = Box<dyn Fn(&Arc<Event>) + Send>;

/// What is left in the inbox.
pub enum Command {
    Publish(Arc<Event>, Option<Ack>),
    Join(MemberId, Box<Member>),
    Subscribe(MemberId, Box<Filter>),
    Unsubscribe(MemberId, Box<Filter>),
    UnsubscribeAll(MemberId),
    WithPositions(MemberId),
    Leave(MemberId),
}

/// The numbers events get.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    pub epoch: Epoch,
    /// The next one.
    pub next: u64,
}

impl Sequence {
    /// Of the last event.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.next - 1 }
    }

    pub fn at(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }
}

/// See the file's text.
pub struct Core {
    pub sequence: Sequence,
    pub table: Table,
    pub history: History,
    /// Where topics are durable.
    pub durable: Option<Durable>,
    /// From this number on they are a durable batch's, which is at the store.
    pub barrier: u64,
    pub encode: Encode,
    /// Who was told that there is room again; and how a connection tells it.
    lobby: Arc<Lobby>,
    pub bell: Arc<dyn Bell>,
    /// Subscriptions there are or may be about to be; see [`super::Hub::subscribe`].
    pub reserved: Arc<AtomicUsize>,
    /// What every [`Slow::Drop`] is turned into.
    slow: Slow,
    pub taps: Vec<Tap>,
    /// The last status of this node, for newcomers.
    status: Option<Arc<Event>>,
    start: Instant,
    /// One buffer of encoded frames per form, reused; as are those below.
    frames: [Vec<u8>; FORMS],
    slots: Vec<u32>,
    batch: Vec<Command>,
    run: Vec<Numbered>,
    acks: Vec<(Ack, u64)>,
}

impl Work for Core {
    type Command = Command;

    /// Bounds the buffers, and how many events one send may carry.
    const BATCH: usize = 64;

    fn work(&mut self, inbox: &Receiver<Command>) {
        self.tell_lagging();
        self.tend();
        let mut batch = std::mem::take(&mut self.batch);
        batch.extend(inbox.try_iter().take(Self::BATCH));
        for command in batch.drain(..) {
            match command {
                Command::Publish(event, ack) => self.take_in(event, ack),
                other => {
                    self.send_run();
                    self.change(other);
                }
            }
        }
        self.send_run();
        self.batch = batch;
        self.tend();
    }
}

impl Core {
    pub fn new(encode: Encode, limits: Limits, slow: Slow, lobby: Arc<Lobby>, epoch: Epoch) -> Core {
        Core {
            sequence: Sequence { epoch, next: 1 },
            table: Table::default(),
            history: History::new(limits),
            durable: None,
            barrier: u64::MAX,
            encode,
            bell: Arc::clone(&lobby) as Arc<dyn Bell>,
            lobby,
            reserved: Arc::default(),
            slow,
            taps: Vec::new(),
            status: None,
            start: clock::now(),
            frames: Default::default(),
            slots: Vec::new(),
            batch: Vec::new(),
            run: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Since the hub's start.
    pub fn age(&self) -> Duration {
        clock::now().duration_since(self.start)
    }

    /// The one place where an event gets its number.
    fn number(&mut self, audience: Audience) -> u64 {
        // Pages hear of changes only, and cannot ask for what they have missed.
        if audience == Audience::Pages {
            return 0;
        }
        if self.sequence.next == self.barrier {
            self.overtake();
        }
        let offset = self.sequence.next;
        self.sequence.next += 1;
        offset
    }

    /// Neighbours on the same topic go out together: one send carries them all.
    fn take_in(&mut self, event: Arc<Event>, ack: Option<Ack>) {
        if let Some(durable) = self.durable.as_mut().filter(|durable| durable.keeps(&event)) {
            return durable.hold(event, ack);
        }
        if self.run.first().is_some_and(|first| first.event.topic() != event.topic()) {
            self.send_run();
        }
        let offset = self.number(event.audience());
        self.run.push(Numbered { offset, event });
        if let Some(ack) = ack {
            self.acks.push((ack, offset));
        }
    }

    fn send_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let mut run = std::mem::take(&mut self.run);
        self.deliver(&run);
        run.clear();
        self.run = run;
        for (ack, offset) in self.acks.drain(..) {
            ack(Ok(Acked { position: self.sequence.at(offset), durable: false }));
        }
    }

    /// Encodes a run of numbered events of one topic, once per form that somebody wants, and sends it to everyone.
    pub fn deliver(&mut self, run: &[Numbered]) {
        let Some(first) = run.first() else { return };
        for tap in &self.taps {
            run.iter().for_each(|numbered| tap(&numbered.event));
        }
        let (topic, audience) = (first.event.topic(), first.event.audience());
        let mut slots = std::mem::take(&mut self.slots);
        let forms = self.table.route(topic, audience, &mut slots);
        let mut rest = run;
        while !rest.is_empty() && forms != 0 {
            // Large events go out in several sends: the buffers stay small, and so does what a send may queue.
            let taken = self.encode_some(rest, forms);
            let (now, later) = rest.split_at(taken);
            self.send(now, &slots);
            rest = later;
        }
        slots.clear();
        self.slots = slots;
        if audience != Audience::Pages {
            let age = self.age();
            run.iter().for_each(|numbered| self.history.push(topic, numbered.clone(), age));
        }
        if let Some(Numbered { event, .. }) = run.last()
            && matches!(event.body, Body::NodeStatus { .. })
        {
            self.status = Some(Arc::clone(event));
        }
    }

    /// Encodes events until the buffers are full; how many.
    fn encode_some(&mut self, run: &[Numbered], forms: u32) -> usize {
        self.frames.iter_mut().for_each(Vec::clear);
        let mut taken = 0;
        for Numbered { offset, event } in run {
            for dialect in Dialect::ALL {
                for positions in [false, true] {
                    let form = form(dialect, positions);
                    if forms & 1 << form != 0 {
                        let position = (positions && *offset != 0).then(|| self.sequence.at(*offset));
                        (self.encode.event)(dialect, event, position, &mut self.frames[form]);
                    }
                }
            }
            taken += 1;
            if self.frames.iter().any(|frames| frames.len() >= SEND_BYTES) {
                break;
            }
        }
        taken
    }

    fn send(&mut self, run: &[Numbered], slots: &[u32]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        for (n, slot) in slots.iter().enumerate() {
            // What the next one needs is on its way from memory while the kernel is busy with this one.
            if let Some(next) = slots.get(n + 1).and_then(|next| self.table.ready(*next)) {
                std::hint::black_box(next.conn.peek());
            }
            let Some(ready) = self.table.ready(*slot) else { continue };
            let frames = &self.frames[usize::from(ready.form)];
            let dropped = match ready.slow {
                Slow::Cut => {
                    // A receiver that is gone leaves by itself: its session sends Leave.
                    let _ = ready.conn.send(frames);
                    false
                }
                // It is told before anything else comes to it.
                Slow::Drop if ready.lagging => true,
                Slow::Drop => {
                    ready.lagging = ready.conn.offer(frames, &self.bell, ready.id) == Ok(Offered::Full);
                    ready.lagging
                }
            };
            if dropped && let Some((_, entry)) = self.table.both(*slot) {
                entry.lag.add(run.len() as u64, first.offset, last.offset);
            }
        }
    }

    /// Tells those for whom there is room again what was dropped for them.
    fn tell_lagging(&mut self) {
        for id in self.lobby.take() {
            self.tell_lag(id);
        }
    }

    /// Tells a subscriber what was dropped for it; if there is no room for that, when there is.
    pub fn tell_lag(&mut self, id: MemberId) {
        let epoch = self.sequence.epoch;
        let Some((ready, entry)) = self.table.member(id) else { return };
        let lag = entry.lag;
        if lag.count == 0 {
            ready.lagging = false;
            return;
        }
        let lagged = Lagged { epoch, count: lag.count, first: lag.first, last: lag.last };
        let frames = &mut self.frames[usize::from(ready.form)];
        frames.clear();
        (self.encode.lagged)(entry.dialect, &lagged, frames);
        match ready.conn.offer(frames, &self.bell, id) {
            Ok(Offered::Full) => ready.lagging = true,
            Ok(Offered::Taken) => {
                ready.lagging = false;
                // The first time it is worth a line.
                let level = if lag.told == 0 { log::Level::Info } else { log::Level::Debug };
                log::log!(level, "{} reads too slowly: {} events were dropped for it", ready.conn.peer(), lag.count);
                entry.lag.told += lag.count;
                entry.lag.count = 0;
            }
            // Its session is about to leave.
            Err(Gone) => {}
        }
    }

    fn change(&mut self, command: Command) {
        let head = self.sequence.next - 1;
        match command {
            Command::Publish(..) => {}
            Command::Join(id, member) => self.join(id, *member, head),
            Command::Subscribe(id, filter) => {
                if !self.table.subscribe(id, *filter, head) {
                    self.release(1);
                }
            }
            Command::Unsubscribe(id, filter) => {
                let had = self.table.unsubscribe(id, &filter);
                self.release(usize::from(had));
            }
            Command::UnsubscribeAll(id) => {
                let before = self.table.subscriptions();
                self.table.unsubscribe_all(id);
                self.release(before - self.table.subscriptions());
            }
            Command::WithPositions(id) => self.table.with_positions(id),
            Command::Leave(id) => {
                let before = self.table.subscriptions();
                let left = self.table.leave(id);
                self.release(before - self.table.subscriptions());
                if let Some(left) = left {
                    self.announce(false, left);
                }
            }
        }
    }

    fn join(&mut self, id: MemberId, mut member: Member, head: u64) {
        if !member.greeting.is_empty() {
            let _ = member.conn.send(&member.greeting);
        }
        if member.replay_status
            && let Some(status) = &self.status
        {
            let frames = &mut self.frames[form(member.dialect, false)];
            frames.clear();
            // Without a position: it is older than what follows.
            (self.encode.event)(member.dialect, status, None, frames);
            let _ = member.conn.send(frames);
        }
        if self.slow == Slow::Cut {
            member.slow = Slow::Cut;
        }
        let patterns = std::mem::take(&mut member.patterns);
        self.table.join(id, &member);
        for pattern in patterns {
            if !self.table.subscribe(id, Filter::Pattern(pattern), head) {
                self.release(1);
            }
        }
        let joined = self.table.member(id).map(|(ready, entry)| super::table::presence(ready, entry));
        if let Some(joined) = joined {
            self.announce(true, joined);
        }
    }

    /// Publishes that a client came or left. `/ws` with its second membership is one client; pages are nobody's business.
    fn announce(&mut self, joined: bool, who: Presence) {
        if matches!(who.dialect, Dialect::Code | Dialect::Page) {
            return;
        }
        let Presence { name, peer: address, dialect, since, .. } = who;
        let body = Body::Presence { joined, name: name.into(), address, dialect, since };
        self.take_in(Arc::new(Event { at: clock::wall(), body }), None);
        self.send_run();
    }

    /// Gives back room for subscriptions.
    pub fn release(&self, count: usize) {
        self.reserved.fetch_sub(count, Ordering::Relaxed);
    }
}
