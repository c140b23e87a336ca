//! The device's own dispatcher, used by way of the hub.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dispatch::Desk;
use crate::types::caller::Caller;
use crate::types::fleet::Issuer;
use crate::wire::endrpi;

/// Issuers that are told apart on one connection; the others share a name.
const MOST_CALLERS: usize = 64;

/// What is done for whom on one connection to a hub: with it end the leases that were taken through it.
pub struct Actions {
    desk: Arc<Desk>,
    allowed: bool,
    callers: HashMap<String, Caller>,
}

impl Actions {
    pub fn new(desk: &Arc<Desk>, allowed: bool) -> Actions {
        Actions { desk: Arc::clone(desk), allowed, callers: HashMap::new() }
    }

    /// Answers a request in Endrpi's form.
    pub fn answer(&mut self, request: &[u8], issuer: Option<&Issuer>) -> Vec<u8> {
        let mut out = Vec::new();
        let caller = self.caller(issuer);
        let desk = &self.desk;
        match desk.read(request) {
            Ok(request) if !self.allowed => {
                let refusal = Err("Not allowed by this device's configuration (agent.actions)");
                desk.tell(&request, &mut out, refusal);
            }
            Ok(mut request) => {
                if desk.answer(&caller, &mut request, &mut out).is_some() {
                    out.clear();
                    desk.tell(&request, &mut out, Err("Not possible through a hub"));
                }
            }
            Err(refusal) => {
                let action = refusal.action.map(|action| action.as_str());
                endrpi::failure(&mut out, action, &refusal.message, refusal.id, desk.error_style);
            }
        }
        out
    }

    /// As others are told whose a line is.
    fn caller(&mut self, issuer: Option<&Issuer>) -> Caller {
        let name = match issuer {
            Some(issuer) if self.callers.len() < MOST_CALLERS || self.callers.contains_key(&issuer.who) => &*issuer.who,
            _ => "",
        };
        let desk = &self.desk;
        let label = || if name.is_empty() { "hub".to_owned() } else { format!("hub:{name}") };
        self.callers.entry(name.to_owned()).or_insert_with(|| desk.caller(label())).clone()
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        self.callers.values().for_each(|caller| self.desk.gone(caller));
    }
}
