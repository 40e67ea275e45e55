//! Schema registries: where the schemas of AVRO, PROTOBUF and JSON_SR payloads are found and registered.
//!
//! ```text
//! engine --facts--> Schemas::latest("orders-value")         a statement asks, is planned, and registers what it writes
//! reader --ids----> Schemas::by_id(7), by_guid(8979-..)     a query resolves each id before it decodes a record that has it
//! ```
//!
//! [`Schemas`] is the one interface. Its calls block, and the caller holds no lock while it waits. An error says what can be
//! done about it: [`RegistryError::Refused`] is a response of the registry that will be the same next time,
//! [`RegistryError::Unreachable`] passes. Schemas are immutable: what an id means never changes, so the id of a schema can be
//! kept for ever; what the latest version of a subject is cannot.
//!
//! This module does not decide which schema a statement means (`plan`), nor what a schema means (`format`).

pub mod builtin;
pub mod client;
pub mod compatibility;
pub mod fixed;
pub mod schema;
pub mod writers;

use crate::catalog::{Guid, SchemaText};
use std::fmt;
use std::sync::Arc;

/// Result of a call.
pub type Result<T> = std::result::Result<T, RegistryError>;

/// `error_code` of a subject that does not exist.
pub const SUBJECT_NOT_FOUND: i32 = 40401;
/// `error_code` of a version that does not exist.
pub const VERSION_NOT_FOUND: i32 = 40402;
/// `error_code` of a schema that does not exist.
pub const SCHEMA_NOT_FOUND: i32 = 40403;
/// `error_code` of a subject that is deleted already, but not for good.
pub const SUBJECT_SOFT_DELETED: i32 = 40404;
/// `error_code` of a schema that is incompatible with an earlier version; Apicurio sends 409 itself.
pub const INCOMPATIBLE: i32 = 40901;
/// `error_code` of a text that is no schema.
pub const INVALID_SCHEMA: i32 = 42201;

/// An error response of a registry: `{"error_code": 40401, "message": "Subject 'x' not found."}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// HTTP status.
    pub status: u16,
    /// `error_code` of the body; the status if there is none.
    pub code: i32,
    /// `message` of the body.
    pub message: String,
}

impl fmt::Display for SchemaError {
    /// As Confluent's client prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; error code: {}", self.message, self.code)
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// The registry refused. The same call is refused again until something changes there.
    Refused(SchemaError),
    /// There was no usable response: the reason. The same call may succeed later.
    Unreachable(String),
}

impl RegistryError {
    /// A refusal.
    pub fn refused(status: u16, code: i32, message: impl Into<String>) -> RegistryError {
        RegistryError::Refused(SchemaError { status, code, message: message.into() })
    }

    /// What was asked for does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, RegistryError::Refused(e) if e.status == 404)
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::Refused(error) => error.fmt(f),
            RegistryError::Unreachable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for RegistryError {}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The subject.
    pub subject: String,
    /// Its version, from 1.
    pub version: i32,
    /// Id of the schema.
    pub id: i32,
    /// The schema, with its references resolved.
    pub schema: Arc<SchemaText>,
}

/// A registry. Calls block until there is a response or the implementation gives up.
///
/// Laws, held for every implementation by the same test (`tests/it/registry`): `by_id` of a registered id yields the schema
/// that was registered, and `by_guid` of its GUID does; a schema that is registered twice under a subject has one version; ids of equal schemas are equal
/// across subjects; `latest` is the highest version of `versions`; after `delete_subject` the subject has no version, and its
/// ids still resolve.
pub trait Schemas: Send + Sync + fmt::Debug {
    /// The schema of an id. `subject` helps registries that keep ids by context; the schema need not belong to it.
    fn by_id(&self, id: i32, subject: Option<&str>) -> Result<Arc<SchemaText>>;

    /// The schema of a GUID.
    fn by_guid(&self, guid: Guid) -> Result<Arc<SchemaText>>;

    /// The highest version of a subject.
    fn latest(&self, subject: &str) -> Result<Registered>;

    /// One version of a subject.
    fn version(&self, subject: &str, version: i32) -> Result<Registered>;

    /// The version of a subject that has this schema: `POST /subjects/S`.
    fn lookup(&self, subject: &str, schema: &SchemaText) -> Result<Registered>;

    /// Registers a schema under a subject, unless it is there, and yields its version.
    fn register(&self, subject: &str, schema: &SchemaText) -> Result<Registered>;

    /// Whether [`Schemas::register`] would find the schema compatible with the versions of its subject; if not, why. A subject
    /// that does not exist is compatible with everything.
    fn is_compatible(&self, subject: &str, schema: &SchemaText) -> Result<Compatibility>;

    /// Deletes a subject, softly: its ids resolve as before. Yields the versions that it had.
    fn delete_subject(&self, subject: &str) -> Result<Vec<i32>>;

    /// Subjects under which an id is registered.
    fn subjects_of(&self, id: i32) -> Result<Vec<String>>;

    /// All subjects, sorted.
    fn subjects(&self) -> Result<Vec<String>>;

    /// The versions of a subject, ascending.
    fn versions(&self, subject: &str) -> Result<Vec<i32>>;
}

/// The result of a check of compatibility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// It can be registered.
    Compatible,
    /// It cannot: the differences, as far as the registry says them.
    Incompatible(Vec<String>),
}
