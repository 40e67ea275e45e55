//! Errors of the registry, with Confluent's codes and texts.

use super::store::{REFERENCES_MAX, Unresolved};
use super::terms::Name;
use crate::catalog::SchemaType;
use crate::registry::{
    INCOMPATIBLE, INVALID_SCHEMA, RegistryError, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, SUBJECT_SOFT_DELETED,
    VERSION_NOT_FOUND,
};
use std::fmt::Display;

fn missing(code: i32, message: impl Into<String>) -> RegistryError {
    RegistryError::refused(404, code, message)
}

fn unprocessable(code: i32, message: impl Into<String>) -> RegistryError {
    RegistryError::refused(422, code, message)
}

pub(super) fn no_subject(subject: &str) -> RegistryError {
    missing(SUBJECT_NOT_FOUND, format!("Subject '{subject}' not found."))
}

pub(super) fn no_version(version: i32) -> RegistryError {
    missing(VERSION_NOT_FOUND, format!("Version {version} not found."))
}

pub(super) fn no_schema() -> RegistryError {
    missing(SCHEMA_NOT_FOUND, "Schema not found")
}

pub(super) fn no_schema_of(id: impl Display) -> RegistryError {
    missing(SCHEMA_NOT_FOUND, format!("Schema {id} not found"))
}

pub(super) fn subject_is_deleted(subject: &str) -> RegistryError {
    let text = format!("Subject '{subject}' was soft deleted.Set permanent=true to delete permanently");
    missing(SUBJECT_SOFT_DELETED, text)
}

pub(super) fn subject_is_not_deleted(subject: &str) -> RegistryError {
    missing(40405, format!("Subject '{subject}' was not deleted first before being permanently deleted"))
}

pub(super) fn version_is_deleted(subject: &str, version: i32) -> RegistryError {
    let text =
        format!("Subject '{subject}' Version {version} was soft deleted.Set permanent=true to delete permanently");
    missing(40406, text)
}

pub(super) fn version_is_not_deleted(subject: &str, version: i32) -> RegistryError {
    let text = format!("Subject '{subject}' Version {version} was not deleted first before being permanently deleted");
    missing(40407, text)
}

pub(super) fn no_level(subject: &str) -> RegistryError {
    missing(40408, format!("Subject '{subject}' does not have subject-level compatibility configured"))
}

pub(super) fn no_mode(subject: &str) -> RegistryError {
    missing(40409, format!("Subject '{subject}' does not have subject-level mode configured"))
}

pub(super) fn incompatible(subject: &str, messages: &[String]) -> RegistryError {
    let details = messages.join(", ");
    let text = format!(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{details}]"
    );
    RegistryError::refused(409, INCOMPATIBLE, text)
}

pub(super) fn empty_schema() -> RegistryError {
    unprocessable(INVALID_SCHEMA, "Empty schema")
}

pub(super) fn invalid_schema(kind: SchemaType, why: &str) -> RegistryError {
    unprocessable(INVALID_SCHEMA, format!("Invalid schema of type {}, details: {why}", kind.name()))
}

pub(super) fn unresolved(kind: SchemaType, why: &Unresolved) -> RegistryError {
    match why {
        Unresolved::Missing(Name { subject, version, .. }) => {
            let why = format!("No schema reference found for subject \"{subject}\" and version {version}");
            invalid_schema(kind, &why)
        }
        Unresolved::TooMany => {
            invalid_schema(kind, &format!("it refers to more than {REFERENCES_MAX} schemas, directly or not"))
        }
    }
}

pub(super) fn not_permitted(message: impl Into<String>) -> RegistryError {
    unprocessable(42205, message)
}

pub(super) fn is_referenced(subject: &str, version: i32) -> RegistryError {
    let key = format!("{{magic=1,keytype=SCHEMA,subject={subject},version={version}}}");
    unprocessable(42206, format!("One or more references exist to the schema {key}."))
}

pub(super) fn invalid_subject(subject: &str) -> RegistryError {
    unprocessable(42208, format!("The specified subject '{subject}' is not a valid."))
}

pub(super) fn too_large() -> RegistryError {
    unprocessable(42209, "Register operation failed because schema is too large")
}
