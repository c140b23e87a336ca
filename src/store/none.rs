//! In the store's place where no hub is built in: nothing is kept, no key is known but the configured one, and an order is
//! carried out without an audit or not at all.

mod health;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Accounts, KeyId, Keys};
use crate::config;
use crate::rt::pulse::Asked;
use crate::types::durable::{Batch, NotKept, Sequence};
use crate::types::features;
use crate::types::fleet::AuditEntry;
pub use health::Health;

/// Nothing is written, and nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", features::HUB.needed_by("the audit"))]
pub struct StoreError;

/// Hears that a batch is not kept.
pub type Told = Box<dyn FnOnce(Result<(), NotKept>) + Send>;

/// A batch that was refused.
pub struct Handed;

impl Handed {
    pub fn give_up(&self) -> bool {
        true
    }
}

/// See the module's text.
pub struct Store {
    keys: Arc<Keys>,
    accounts: Arc<Accounts>,
}

impl Store {
    /// # Errors
    /// None.
    pub fn start_with(_: Option<&Path>, _: &config::Store) -> Result<Store, Infallible> {
        Ok(Store { keys: Keys::none(), accounts: Arc::default() })
    }

    /// No keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// No users.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    pub fn health(&self) -> Health {
        Health::None
    }

    pub fn on_health(&self, _: impl Fn(&Health) + Send + Sync + 'static) {}

    /// # Errors
    /// None.
    pub fn reread(&self) -> Result<(), StoreError> {
        Ok(())
    }

    pub fn set_limits(&self, _: &config::Store) {}

    /// Nothing is durable: the configuration has seen to it.
    pub fn begin_sequence(&self, _: &[config::Topic]) -> Option<Sequence> {
        None
    }

    /// Refuses.
    pub fn keep_events(&self, _: Batch, told: Told) -> Handed {
        told(Err(NotKept::Unwritable(features::HUB.needed_by("a durable topic"))));
        Handed
    }

    /// # Errors
    /// That there is nowhere to keep it; the configuration has seen to it that none is wanted.
    pub fn make_first_key(&self, _: &Path) -> Result<Option<KeyId>, String> {
        Err(features::HUB.needed())
    }

    /// # Errors
    /// Always.
    pub fn ordered(&self, _: &str, _: &str) -> Result<Option<Option<String>>, StoreError> {
        Err(StoreError)
    }

    /// # Errors
    /// Always.
    pub fn audit(&self, _: AuditEntry) -> Result<u64, StoreError> {
        Err(StoreError)
    }

    /// There is no thread, so it answers at once.
    pub fn asked(&self) -> Asked {
        Asked { name: "store", ask: Box::new(|answer| answer()) }
    }

    /// There is nothing that could hang.
    pub fn debug_hang(&self) {}

    pub fn stop(&self, _: Duration) {}
}
