//! The agent: this device, connected to a hub.
