//! The backend against a real kernel.
