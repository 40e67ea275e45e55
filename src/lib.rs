//! Tidegate: streaming SQL for Kafka in one binary.
//!
//! One statement's life, and the module that each step is in: text is split and read ([`parse`]), bound to what exists and
//! typed ([`plan`] over [`catalog`] and [`functions`]), compiled to operators or handed to DataFusion ([`execute`]), and
//! kept, listed and restarted ([`engine`]). Records come from and go to a [`log`] and are decoded and encoded by
//! [`mod@format`]. People and programs come in through [`cli`] and [`serve`], and [`present`] shows people what is returned.
//!
//! `ARCHITECTURE.md` is the map. `examples/embed.rs` runs an engine inside another program.

// Level 1: values, errors, settings. Nothing here knows of anything above.
pub mod config;
pub mod error;
pub mod http_client;
pub mod memory;
#[doc(hidden)]
pub mod mutant;
pub mod telemetry;
pub mod threads;
pub mod types;
pub mod workers;

// Level 2: text to statements.
pub mod parse;

// Level 3: what exists, what functions mean, bytes to columns, topics, schemas of payloads, connectors.
pub mod catalog;
pub mod connect;
pub mod format;
pub mod functions;
pub mod log;
pub mod registry;

// Level 4: statements to plans.
pub mod plan;

// Level 5: changes in, changes out.
pub mod execute;

// Level 6: the façade.
pub mod engine;

// Level 7: results as people read them.
pub mod present;

// Level 8: people and programs.
pub mod cli;
pub mod serve;
