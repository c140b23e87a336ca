//! The Docker Engine API over its Unix socket: list, start, stop, restart, logs.
