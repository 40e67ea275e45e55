//! Records to changes and back: the two edges of a query.
//!
//! [`source`] decodes the records of one partition, [`sink`] encodes changes into records; [`event_time`] and [`headers`]
//! are columns that come from a record beside its value, [`writer_ids`] looks up the schemas that records name, [`schema_headers`] puts
//! the names that are in headers in front of the payloads. Nothing here reads or writes a topic.

pub(super) mod event_time;
pub(super) mod headers;
pub(crate) mod schema_headers;
pub mod shared_rows;
pub mod sink;
pub mod source;
pub(super) mod too_large;
pub mod writer_ids;
