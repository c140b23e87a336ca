//! mDNS: the daemon announces itself and finds others.
