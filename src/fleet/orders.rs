//! Orders under way: a bounded table, each with its deadline and whom to call with its end.

use std::collections::HashMap;

use super::*;

/// How much longer than the agent the hub waits, where the agent ends an order by itself: its word that it did is
/// worth more than a timeout, and a group of processes takes a moment to end.
const GRACE: Duration = Duration::from_secs(3);

/// See the module's text.
pub(super) struct Pending {
    per_server: usize,
    all: usize,
    table: Mutex<HashMap<Box<str>, Waiting>>,
}

struct Waiting {
    server_id: Arc<str>,
    seat: u64,
    deadline: Instant,
    done: Done,
}

/// What an agent is to be told.
enum Ask<'a> {
    Order(&'a Order),
    Action(&'a str),
}

impl Fleet {
    /// Gives an order to a server's agent. `done` is called once with its end, perhaps before this returns.
    pub fn order(&self, server_id: &str, errand: &Errand, order: &Order, done: Done) {
        self.send(server_id, errand, &Ask::Order(order), done);
    }

    /// Gives a server's device a request in Endrpi's form. As [`Fleet::order`].
    pub fn action(&self, server_id: &str, errand: &Errand, request: &str, done: Done) {
        self.send(server_id, errand, &Ask::Action(request), done);
    }

    /// The agent's answer to an order. One that nobody waits for, or of another server's order, is dropped.
    pub fn outcome(&self, server_id: &str, id: &str, outcome: Outcome) {
        self.answered(server_id, id, OrderEnd::Outcome(outcome));
    }

    /// The device's answer to a request in Endrpi's form. As [`Fleet::outcome`].
    pub fn response(&self, server_id: &str, id: &str, json: &str) {
        self.answered(server_id, id, OrderEnd::Response(json.into()));
    }

    fn answered(&self, server_id: &str, id: &str, end: OrderEnd) {
        match self.pending.take(server_id, id) {
            Some(done) => done(end),
            None => log::debug!("server {server_id}: an answer to order {id:?}, for which nobody waits"),
        }
    }

    fn send(&self, server_id: &str, errand: &Errand, ask: &Ask, done: Done) {
        let seated = self.entry(server_id).and_then(|entry| {
            let state = entry.lock();
            let seated = state.seated.as_ref().filter(|seated| !seated.silent)?;
            Some((Arc::clone(&entry.id), seated.number, Arc::clone(&seated.link), seated.own_program))
        });
        let Some((server_id, seat, link, own_program)) = seated else { return done(OrderEnd::NotConnected) };
        if matches!(ask, Ask::Action(_)) && !own_program {
            return done(OrderEnd::Unsupported);
        }
        let limit = if own_program { errand.timeout + GRACE } else { errand.timeout };
        let deadline = clock::now() + limit;
        // In the table first: the answer may be here before the call is back.
        let waiting = Waiting { server_id: Arc::clone(&server_id), seat, deadline, done };
        if let Err((waiting, limit)) = self.pending.put(&errand.id, waiting) {
            return (waiting.done)(OrderEnd::Full(limit));
        }
        self.timer.expect(deadline);
        let sent = match ask {
            Ask::Order(order) => link.order(&errand.id, order, &errand.issuer, errand.timeout),
            Ask::Action(request) => link.action(&errand.id, request, &errand.issuer, errand.timeout),
        };
        // At the end there is no thread any more that would end it.
        let lost = (!sent).then_some(OrderEnd::NotConnected).or(self.timer.is_stopping().then_some(OrderEnd::Gone));
        if let Some(end) = lost
            && let Some(done) = self.pending.take(&server_id, &errand.id)
        {
            done(end);
        }
    }

    /// Ends the orders whose time is over; returns when the next one's is.
    pub(super) fn end_late_orders(&self, now: Instant) -> Option<Instant> {
        let (late, next) = self.pending.late(now);
        for done in late {
            done(OrderEnd::TimedOut);
        }
        next
    }
}

impl Pending {
    pub fn new(per_server: usize, all: usize) -> Pending {
        Pending { per_server, all, table: Mutex::default() }
    }

    fn put(&self, id: &str, waiting: Waiting) -> Result<(), (Box<Waiting>, &'static str)> {
        let mut table = self.lock();
        if table.len() >= self.all {
            return Err((Box::new(waiting), "hub.orders: too many orders are under way"));
        }
        if table.values().filter(|other| other.server_id == waiting.server_id).count() >= self.per_server {
            return Err((Box::new(waiting), "hub.orders_per_server: too many orders to this agent are under way"));
        }
        table.insert(id.into(), waiting);
        Ok(())
    }

    fn take(&self, server_id: &str, id: &str) -> Option<Done> {
        let mut table = self.lock();
        table.get(id).filter(|waiting| *waiting.server_id == *server_id)?;
        table.remove(id).map(|waiting| waiting.done)
    }

    pub fn of_seat(&self, seat: u64) -> Vec<Done> {
        self.take_if(|waiting| waiting.seat == seat)
    }

    pub fn all(&self) -> Vec<Done> {
        self.take_if(|_| true)
    }

    fn late(&self, now: Instant) -> (Vec<Done>, Option<Instant>) {
        let late = self.take_if(|waiting| waiting.deadline <= now);
        (late, self.lock().values().map(|waiting| waiting.deadline).min())
    }

    fn take_if(&self, mut wanted: impl FnMut(&Waiting) -> bool) -> Vec<Done> {
        self.lock().extract_if(|_, waiting| wanted(waiting)).map(|(_, waiting)| waiting.done).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Waiting>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
