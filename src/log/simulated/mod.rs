//! A deterministic log with a virtual clock.
