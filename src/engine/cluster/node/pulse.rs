//! The record by which a process says that it lives, and what the queries do that it runs.
//!
//! ```text
//! {"format":1,"slot":"a","incarnation":81985529216,"address":"http://a:8088","sent_ms":1796054400000,
//!  "queries":[{"id":"CTAS_T_1","state":"RUNNING","since_ms":1796054399000}]}
//! ```
//!
//! Only the arrival of a pulse counts for ownership (C8); what it says is shown to users, and other processes find its address
//! there. A pulse that cannot be read is ignored.

use crate::engine::cluster::names::{Incarnation, Slot};
use serde::{Deserialize, Serialize};

/// Version of the format.
pub(super) const PULSE_FORMAT: u32 = 1;

/// A pulse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// [`PULSE_FORMAT`] of the build that wrote it.
    pub format: u32,
    /// Which process.
    pub slot: Slot,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Where other processes reach it; empty = it has no listener.
    #[serde(default)]
    pub address: String,
    /// By its own clock, milliseconds since 1970; shown, never compared.
    pub sent_ms: i64,
    /// The queries that it runs.
    #[serde(default)]
    pub queries: Vec<QueryPulse>,
}

/// What a query does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryPulse {
    /// Its id.
    pub id: String,
    /// RUNNING, PAUSED, WAITING, ERROR.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Why it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
