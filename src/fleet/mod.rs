//! The fleet: servers and their agents, as the hub knows them.
