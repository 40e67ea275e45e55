//! SHOW CONNECTORS, SHOW CONNECTOR PLUGINS and DESCRIBE CONNECTOR: what Kafka Connect reports.

use crate::connect::Listed;
use crate::engine::Engine;
use crate::engine::connector::{check_topics, failed};
use crate::engine::result::connector::{ConnectorDescription, ConnectorEntity, ConnectorRow};
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::Result;
use crate::parse::statement::{ConnectorKind, Name};

impl Engine {
    /// All connectors, or those of one kind.
    pub(in crate::engine) fn show_connectors(&self, kind: Option<ConnectorKind>) -> Result<Entity> {
        let listed = self.inner.connect.list().map_err(|e| failed("Failed to list connectors: ", e))?;
        let (mut rows, mut warnings) = (Vec::new(), Vec::new());
        for Listed { name, info, status } in listed {
            match info {
                Ok(info) if kind.is_none_or(|kind| info.kind.eq_ignore_ascii_case(kind.word())) => {
                    rows.push(ConnectorRow {
                        name,
                        class: info.class().map(str::to_owned),
                        kind: info.kind,
                        state: status.map(|status| status.summary()),
                    })
                }
                Ok(_) => {}
                Err(error) => {
                    warnings.push(format!("Could not describe connector {name}: {error}"));
                    if kind.is_none() {
                        rows.push(ConnectorRow { name, kind: "unknown".to_owned(), class: None, state: None });
                    }
                }
            }
        }
        Ok(ConnectorEntity::List { rows, warnings }.into())
    }

    /// The classes of connectors that the workers have.
    pub(in crate::engine) fn show_connector_plugins(&self) -> Result<Entity> {
        let plugins = self.inner.connect.plugins().map_err(|e| failed("Failed to list connector plugins: ", e))?;
        Ok(ConnectorEntity::Plugins(plugins).into())
    }

    /// What one connector is doing, and the streams and tables over its topics.
    pub(in crate::engine) fn describe_connector(&self, name: &Name, session: &Session) -> Result<Entity> {
        // Stack traces quote records of any topic.
        check_topics(session, "DESCRIBE CONNECTOR")?;
        let connect = &self.inner.connect;
        let known = |prefix, e| self.unknown_connector(failed(prefix, e), name);
        let status = connect.status(&name.value).map_err(|e| known("Failed to query connector status: ", e))?;
        let info = connect.info(&name.value).map_err(|e| known("Failed to describe connector: ", e))?;
        let (topics, warnings) = match connect.topics(&name.value) {
            Ok(topics) => (topics, Vec::new()),
            Err(error) => (Vec::new(), vec![format!("Could not list related topics due to error: {error}")]),
        };
        let sources = self.catalog().all().filter(|source| topics.contains(&source.topic)).cloned().collect();
        let class = info.class().unwrap_or_default().to_owned();
        Ok(ConnectorEntity::Description(Box::new(ConnectorDescription { class, status, sources, topics, warnings }))
            .into())
    }
}
