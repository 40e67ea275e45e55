//! What a plan has to know of the outside: the topics that its statement names, directly or through a source.
//!
//! `plan` looks nothing up. It says which topics it will ask for, `engine` describes these, and the plan is made from what
//! was found. A statement about three topics asks for three, however many the cluster has.

use super::properties::{Use, With};
use super::settings::Settings;
use crate::catalog::Catalog;
use crate::parse::statement::{CreateAs, CreateSource};
use std::collections::{BTreeMap, BTreeSet};

/// What the engine found out before planning.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Topics that exist, by name: at least those that the statement names.
    pub topics: BTreeMap<String, TopicFact>,
}

/// A topic that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFact {
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each record.
    pub replicas: u16,
}

/// The topics that the plan of CREATE STREAM|TABLE asks for. A clause that is wrong names none: the plan says so.
pub fn topics_of_source(stmt: &CreateSource) -> BTreeSet<String> {
    With::read(&stmt.with, Use::Create).ok().and_then(|with| with.topic).into_iter().map(|(name, _)| name).collect()
}

/// The topics that the plan of CREATE STREAM|TABLE AS SELECT asks for: those it writes and those it reads.
pub fn topics_of_query(stmt: &CreateAs, catalog: &Catalog, settings: &Settings) -> BTreeSet<String> {
    let Ok(with) = With::read(&stmt.with, Use::CreateAs) else { return BTreeSet::new() };
    let late = with.late_topic.as_ref().map(|(name, _)| name.clone());
    let relations = std::iter::once(&stmt.select.from).chain(stmt.select.joins.iter().map(|join| &join.right));
    let sources = relations.filter_map(|relation| catalog.source(&relation.name.value));
    sources.map(|source| source.topic.clone()).chain(late).chain([sink_topic(stmt, &with, settings)]).collect()
}

/// The topic that a query writes.
pub(super) fn sink_topic(stmt: &CreateAs, with: &With, settings: &Settings) -> String {
    let named = || format!("{}{}", settings.topic_prefix, stmt.name.value);
    with.topic.as_ref().map_or_else(named, |(name, _)| name.clone())
}
