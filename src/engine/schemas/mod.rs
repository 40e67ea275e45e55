//! Schemas of a registry in statements.
//!
//! ```text
//! before planning   CREATE without columns, *_SCHEMA_ID   facts -> infer: columns                      infer
//! with the plan     the columns that a statement writes   derive a schema, is it compatible?           register
//! carried out       topic -> POST /subjects/... -> command log, which then has subject, version, id    register
//! ASSERT SCHEMA, SHOW SCHEMAS, DESCRIBE EXTENDED, PRINT                                                 inspect
//! ```
//!
//! What was resolved is recorded with the source ([`Wire`](crate::catalog::Wire)), so that neither a restart nor a query asks for it
//! again. No lock but that of DDL is held across a call: such a statement waits for the registry as it waits for a broker.

pub(in crate::engine) mod facts;
pub(in crate::engine) mod infer;
pub(in crate::engine) mod inspect;
pub(in crate::engine) mod register;
pub(in crate::engine) mod write;

use crate::engine::Engine;
use crate::engine::session::Session;
use crate::format::frame::SharedSchemas;
use crate::registry::{Registered, Schemas};
use facts::Live;

impl Engine {
    /// The registry.
    pub(in crate::engine) fn registry(&self) -> &dyn Schemas {
        &*self.inner.registry
    }

    /// Schemas of the records that queries read.
    pub(in crate::engine) fn shared_schemas(&self) -> SharedSchemas {
        self.inner.writers.clone()
    }

    /// The registry as it is now, for planning.
    pub(in crate::engine) fn schema_facts<'a>(&'a self, session: &'a Session) -> Live<'a> {
        Live { engine: self, session }
    }

    /// The latest version of a subject, if it has one.
    fn latest(&self, subject: &str) -> crate::registry::Result<Option<Registered>> {
        match self.registry().latest(subject) {
            Ok(registered) => Ok(Some(registered)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
