//! No registry: every call is refused, because none is configured.

use crate::catalog::SchemaText;
use crate::registry::{Compatibility, Registered, Result, Schemas, not_configured};
use std::sync::Arc;

/// Where no registry is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegistry;

impl Schemas for NoRegistry {
    fn by_id(&self, _: i32, _: Option<&str>) -> Result<Arc<SchemaText>> {
        Err(not_configured())
    }

    fn latest(&self, _: &str) -> Result<Registered> {
        Err(not_configured())
    }

    fn version(&self, _: &str, _: i32) -> Result<Registered> {
        Err(not_configured())
    }

    fn lookup(&self, _: &str, _: &SchemaText) -> Result<Registered> {
        Err(not_configured())
    }

    fn register(&self, _: &str, _: &SchemaText) -> Result<Registered> {
        Err(not_configured())
    }

    fn is_compatible(&self, _: &str, _: &SchemaText) -> Result<Compatibility> {
        Err(not_configured())
    }

    fn delete_subject(&self, _: &str) -> Result<Vec<i32>> {
        Err(not_configured())
    }

    fn subjects_of(&self, _: i32) -> Result<Vec<String>> {
        Err(not_configured())
    }

    fn subjects(&self) -> Result<Vec<String>> {
        Err(not_configured())
    }

    fn versions(&self, _: &str) -> Result<Vec<i32>> {
        Err(not_configured())
    }
}
