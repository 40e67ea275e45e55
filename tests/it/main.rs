//! All Rust tests, one module an area.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod aggregates;
mod alone;
mod architecture;
mod bad_records;
mod batch;
mod batch_reading;
mod batches;
mod cli;
mod clients;
mod compatibility;
mod copy;
mod crash;
mod disk_full;
mod embedded_crash;
mod embedded_faults;
mod embedded_fuzz;
mod embedded_index;
mod embedded_tidy;
mod engine;
mod expressions;
mod format;
mod functions;
mod fuzz;
mod harness;
mod history;
mod http;
mod join_law;
mod join_model;
mod kafka;
mod log_contract;
mod model;
mod mutants;
mod oracle;
mod owner;
mod parse;
mod plan;
mod processing_log;
mod row_programs;
#[path = "../support/rows.rs"]
mod rows;
mod scalar;
mod scalar_errors;
mod session_model;
mod shell;
mod simulated_log;
mod simulation;
mod split_law;
mod statements;
mod table_law;
mod table_model;
mod topic_changes;
mod traps;
mod verify;
mod windows;
