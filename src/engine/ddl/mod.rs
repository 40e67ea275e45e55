//! Statements that change the catalogue: from the plan to the last effect, one after the other.
//!
//! ```text
//! lock      one statement at a time; readers work on a snapshot and never wait
//! apply     CREATE, DROP, TERMINATE, PAUSE: plan -> topics -> command log -> catalogue -> queries
//! sandbox   all statements of a request are planned before the first is carried out
//! ```

pub(in crate::engine) mod alter;
pub(in crate::engine) mod apply;
pub(in crate::engine) mod lock;
pub(in crate::engine) mod terminate_cluster;

mod insert_select;
mod sandbox;
mod types;
