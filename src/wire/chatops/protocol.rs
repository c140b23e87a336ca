//! Which of its two forms an agent's socket speaks.

use crate::types::fleet::Protocol;

/// What is known of one connection. The agent's own word decides; else what its messages show; else its handshake.
#[derive(Clone, Copy, Debug)]
pub struct Speech {
    now: Protocol,
    settled: bool,
}

impl Speech {
    /// At the handshake: ChatOps' own agent is written in Go and says so, everybody else gets what is documented.
    pub fn new(user_agent: Option<&str>) -> Speech {
        let go = user_agent.is_some_and(|agent| agent.starts_with("Go-http-client/"));
        Speech { now: if go { Protocol::Code } else { Protocol::Documented }, settled: false }
    }

    /// After the authentication: the agent's own word counts from now on.
    pub fn asked(&mut self, protocol: Option<Protocol>) {
        if let Some(protocol) = protocol {
            *self = Speech { now: protocol, settled: true };
        }
    }

    /// After each message: a Go program may be written from the documentation, and a Python one from the code.
    pub fn shown(&mut self, shows: Option<Protocol>) {
        if let (false, Some(protocol)) = (self.settled, shows) {
            self.now = protocol;
        }
    }

    /// The form for what is sent next.
    pub fn now(&self) -> Protocol {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_word_beats_its_messages_and_those_its_handshake() {
        assert_eq!(Speech::new(None).now(), Protocol::Documented);
        let mut speech = Speech::new(Some("Go-http-client/1.1"));
        assert_eq!(speech.now(), Protocol::Code);
        speech.asked(None);
        speech.shown(Some(Protocol::Documented));
        speech.shown(None);
        assert_eq!(speech.now(), Protocol::Documented);
        speech.asked(Some(Protocol::Code));
        speech.shown(Some(Protocol::Documented));
        assert_eq!(speech.now(), Protocol::Code);
    }
}
