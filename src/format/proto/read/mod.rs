//! Payloads to columns: a plan is compiled for each writer's message, and followed for each of its payloads.
//!
//! ```text
//! steps                 what a plan is made of
//! plan (check)          a writer's message and columns to a plan
//! message, value        a payload to columns by it
//! ```

mod check;
mod message;
mod plan;
mod steps;
mod value;

pub(super) use plan::{alone, compile};
pub(super) use steps::{Fault, MessagePlan, Value};
