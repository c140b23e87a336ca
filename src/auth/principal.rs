//! Who asks for something of the fleet.

use std::sync::Arc;

use super::KeyId;
use crate::types::fleet::{Issuer, Role};
use crate::types::rights::{Lacks, Rights, Verb};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Who runs the daemon: shows the configured key, or a key of the store that may do something here, or nobody has
    /// decided yet who may come in.
    Operator {
        key: Option<KeyId>,
        /// What the key of the store allows; `None`: everything.
        rights: Option<Arc<Rights>>,
    },
    User {
        id: String,
        username: String,
        role: Role,
    },
    /// An agent's key: speaks for its server only.
    Agent {
        key: KeyId,
        server_id: String,
    },
}

impl Principal {
    pub fn is_admin(&self) -> bool {
        match self {
            Principal::Operator { .. } => self.verb(Verb::Admin).is_ok(),
            Principal::User { role, .. } => *role == Role::Admin,
            Principal::Agent { .. } => false,
        }
    }

    /// Whether what belongs to `owner` (a user's id; `None`: to the administrators) is there for them at all.
    pub fn may_see(&self, owner: Option<&str>) -> bool {
        match self {
            Principal::User { id, role, .. } => *role == Role::Admin || owner == Some(id),
            Principal::Operator { .. } => true,
            Principal::Agent { .. } => false,
        }
    }

    /// Whether they may change something where they [may see](Principal::may_see).
    pub fn may_change(&self) -> bool {
        match self {
            Principal::User { role, .. } => *role >= Role::Operator,
            Principal::Operator { .. } => self.verb(Verb::Admin).is_ok(),
            Principal::Agent { .. } => false,
        }
    }

    /// Whether the key they show allows this; a user's role is not looked at.
    ///
    /// # Errors
    /// The scope that is missing.
    pub fn verb(&self, verb: Verb) -> Result<(), Lacks> {
        match self {
            Principal::Operator { rights: Some(rights), .. } => rights.verb(verb),
            _ => Ok(()),
        }
    }

    /// What the key they show allows; `None`: everything.
    pub fn rights(&self) -> Option<&Arc<Rights>> {
        match self {
            Principal::Operator { rights, .. } => rights.as_ref(),
            Principal::User { .. } | Principal::Agent { .. } => None,
        }
    }

    /// As the one who gives an order, from this address.
    pub fn issuer(&self, from: impl std::fmt::Display) -> Issuer {
        let (who, id) = match self {
            Principal::Operator { key, .. } => ("operator".to_owned(), key.map(|key| key.as_str().to_owned())),
            Principal::User { id, username, .. } => (username.clone(), Some(id.clone())),
            Principal::Agent { key, .. } => ("agent".to_owned(), Some(key.as_str().to_owned())),
        };
        Issuer { who, id, from: from.to_string() }
    }
}
