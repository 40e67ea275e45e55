//! Who calls a method, and the statements that a caller has prepared.

use super::statement::Prepared;
use super::{on_engine, status};
use crate::engine::access::Principal;
use crate::engine::session::Session;
use crate::error::Error;
use crate::serve::App;
use std::sync::Arc;
use tonic::Status;

/// Who calls, and with which settings.
pub(super) struct Caller {
    pub(super) app: Arc<App>,
    pub(super) session: Session,
    /// Push queries have a column that says what happened to a row.
    pub(super) with_op: bool,
}

impl Caller {
    pub(super) fn user(&self) -> &Principal {
        self.session.principal()
    }

    /// A statement, read.
    pub(super) async fn read(&self, text: String) -> Result<Prepared, Status> {
        let (app, session, with_op) = (self.app.clone(), self.session.clone(), self.with_op);
        on_engine(move || Prepared::read(&app.engine, &text, session, with_op)).await
    }

    /// The statement of a handle that this user was given.
    pub(super) fn prepared(&self, handle: &[u8]) -> Result<Arc<Prepared>, Status> {
        self.app.flight.prepared(handle, self.user()).map_err(failed)
    }
}

/// The status of an error that has no place in a text.
pub(super) fn failed(error: Error) -> Status {
    status::of(&error, None)
}
