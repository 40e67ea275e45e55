//! Tidegate: streaming SQL for Kafka in one binary.

pub mod config;
pub mod error;
pub mod telemetry;
pub mod types;

pub mod parse;

pub mod catalog;
pub mod format;
pub mod functions;
pub mod log;

pub mod plan;

pub mod execute;

pub mod engine;

pub mod cli;
pub mod serve;
