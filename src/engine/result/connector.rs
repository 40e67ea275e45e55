//! Results of statements about connectors.

use crate::catalog::Source;
use crate::connect::body::{ConnectorInfo, ConnectorStatus, Plugin};
use std::sync::Arc;

/// A result of a statement about connectors.
#[derive(Clone, Debug)]
pub enum ConnectorEntity {
    /// CREATE CONNECTOR: the connector as Connect knows it, with the settings that were sent.
    Created(ConnectorInfo),
    /// DROP CONNECTOR.
    Dropped(String),
    /// SHOW CONNECTORS.
    List {
        /// Connectors.
        rows: Vec<ConnectorRow>,
        /// What could not be found out.
        warnings: Vec<String>,
    },
    /// SHOW CONNECTOR PLUGINS.
    Plugins(Vec<Plugin>),
    /// DESCRIBE CONNECTOR.
    Description(Box<ConnectorDescription>),
}

/// One connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorRow {
    /// Name.
    pub name: String,
    /// `source`, `sink` or `unknown`.
    pub kind: String,
    /// Class, if it is known.
    pub class: Option<String>,
    /// `RUNNING (1/1 tasks RUNNING)`, if it is known.
    pub state: Option<String>,
}

/// DESCRIBE CONNECTOR.
#[derive(Clone, Debug)]
pub struct ConnectorDescription {
    /// Class.
    pub class: String,
    /// What it is doing.
    pub status: ConnectorStatus,
    /// Streams and tables over its topics.
    pub sources: Vec<Arc<Source>>,
    /// The topics that it has used.
    pub topics: Vec<String>,
    /// What could not be found out.
    pub warnings: Vec<String>,
}
