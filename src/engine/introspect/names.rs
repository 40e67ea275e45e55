//! Names for completion: everything that a statement can refer to.

use crate::engine::Engine;
use crate::engine::session::Session;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that exist now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Streams and tables.
    pub sources: Vec<String>,
    /// Columns of all of them, each once.
    pub columns: Vec<String>,
    /// Queries.
    pub queries: Vec<String>,
    /// Topics.
    pub topics: Vec<String>,
}

impl Engine {
    /// Names of all topics; `None` = the log does not respond.
    pub(in crate::engine) fn topic_names(&self) -> Option<Arc<Vec<String>>> {
        let log = self.log().clone();
        self.inner.topic_names.get(self.clock(), move || Ok(log.topics()?.into_iter().map(|t| t.name).collect()))
    }

    /// Everything that a statement of this session can refer to.
    pub fn names(&self, session: &Session) -> Names {
        let catalog = self.visible(session, self.catalog());
        let columns: BTreeSet<String> =
            catalog.all().flat_map(|s| s.schema.columns().map(|c| c.name.clone()).collect::<Vec<_>>()).collect();
        // A log that does not respond contributes no topics.
        let topics = self.topic_names();
        Names {
            sources: catalog.all().map(|s| s.name.clone()).collect(),
            columns: columns.into_iter().collect(),
            queries: self.query_rows(session).into_iter().map(|q| q.id).collect(),
            topics: {
                let rights = &session.principal().topics;
                let offered = |name: &String| !self.topic_rules().is_hidden(name) && rights.include(name);
                topics.iter().flat_map(|names| names.iter()).filter(|name| offered(name)).cloned().collect()
            },
        }
    }
}
