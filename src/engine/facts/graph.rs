//! What flows where: topics, streams, tables and queries as a graph, from the catalogue.
//!
//! ```text
//! topic readings --backs--> stream READINGS --reads--> query CTAS_CAR_STATS_1 --writes--> table CAR_STATS <--backs-- topic CAR_STATS
//! ```
//!
//! The graph of the whole server, or the neighbourhood of one node.

use super::query::Rates;
use crate::engine::Engine;
use crate::engine::query::lag;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::SourceKind;
use crate::types::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// Steps from a node to the edge of its neighbourhood, unless the request says.
pub const DEPTH: usize = 2;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// A topic.
    Topic,
    /// A stream.
    Stream,
    /// A table.
    Table,
    /// A persistent query.
    Query,
}

/// How two nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// A query reads a source.
    Reads,
    /// A query writes a source, or a topic for its late rows.
    Writes,
    /// A topic holds the records of a source.
    Backs,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// `query:CTAS_CAR_STATS_1`
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub name: String,
    /// State of a query.
    pub state: Option<&'static str>,
    /// Rates of a query.
    pub rates: Option<Rates>,
    /// Lag of a query; `None` = unknown.
    pub lag: Option<i64>,
}

/// An edge in the direction in which rows flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Id of a node.
    pub from: String,
    /// Id of a node.
    pub to: String,
    /// What it means.
    pub kind: EdgeKind,
    /// Rows per second; `None` = it cannot be told from those of other edges.
    pub rate: Option<f64>,
}

/// Nodes and edges.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Nodes by kind and name.
    pub nodes: Vec<Node>,
    /// Edges.
    pub edges: Vec<Edge>,
}

impl NodeKind {
    /// `topic`, `stream`, `table` or `query`.
    pub fn name(self) -> &'static str {
        match self {
            NodeKind::Topic => "topic",
            NodeKind::Stream => "stream",
            NodeKind::Table => "table",
            NodeKind::Query => "query",
        }
    }

    fn id(self, name: &str) -> String {
        format!("{}:{name}", self.name())
    }
}

impl From<SourceKind> for NodeKind {
    fn from(kind: SourceKind) -> NodeKind {
        match kind {
            SourceKind::Stream => NodeKind::Stream,
            SourceKind::Table => NodeKind::Table,
        }
    }
}

impl EdgeKind {
    /// `reads`, `writes` or `backs`.
    pub fn name(self) -> &'static str {
        match self {
            EdgeKind::Reads => "reads",
            EdgeKind::Writes => "writes",
            EdgeKind::Backs => "backs",
        }
    }
}

impl Graph {
    /// Adds a node once, and returns its id.
    fn node(&mut self, kind: NodeKind, name: &str) -> String {
        let id = kind.id(name);
        if !self.nodes.iter().any(|node| node.id == id) {
            self.nodes.push(Node { id: id.clone(), kind, name: name.to_owned(), state: None, rates: None, lag: None });
        }
        id
    }

    fn edge(&mut self, from: &str, to: &str, kind: EdgeKind, rate: Option<f64>) {
        self.edges.push(Edge { from: from.to_owned(), to: to.to_owned(), kind, rate });
    }

    /// What lies within so many steps of a node, in both directions.
    fn around(mut self, name: &str, depth: usize) -> Result<Graph> {
        let wanted = |node: &&Node| node.name == name || node.id == name;
        let same = |node: &&Node| node.name.eq_ignore_ascii_case(name);
        // A source comes before the topic that has its name.
        let found = self.nodes.iter().rev().find(wanted).or_else(|| self.nodes.iter().rev().find(same));
        let Some(start) = found else {
            let error = Error::not_found(format!("there is no topic, stream, table or query {name}"));
            return Err(match nearest(name, self.nodes.iter().map(|node| node.name.as_str())) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("GET /api/v1/graph lists all of them"),
            });
        };
        let mut reached = BTreeSet::from([start.id.clone()]);
        for _ in 0..depth.min(self.nodes.len()) {
            let touching = self.edges.iter().filter(|e| reached.contains(&e.from) || reached.contains(&e.to));
            let next: Vec<String> = touching.flat_map(|e| [e.from.clone(), e.to.clone()]).collect();
            reached.extend(next);
        }
        self.nodes.retain(|node| reached.contains(&node.id));
        self.edges.retain(|edge| reached.contains(&edge.from) && reached.contains(&edge.to));
        Ok(self)
    }
}

impl Engine {
    /// The graph of everything that the user sees, or of what lies within `depth` steps of a node.
    pub fn graph(&self, session: &Session, at: Option<&str>, depth: usize) -> Result<Graph> {
        let state = self.inner.state.load();
        let mut graph = Graph::default();
        let seen: BTreeMap<&str, _> = state
            .catalog
            .all()
            .filter(|source| self.may_see(session, source))
            .map(|source| (source.name.as_str(), source))
            .collect();
        for source in seen.values() {
            let topic = graph.node(NodeKind::Topic, &source.topic);
            let source = graph.node(source.kind.into(), &source.name);
            graph.edge(&topic, &source, EdgeKind::Backs, None);
        }
        let positions = self.positions();
        for (id, query) in state.queries().filter(|(id, _)| self.may_see_query(session, &state.catalog, id)) {
            let Some(info) = state.catalog.query(id) else { continue };
            let position = positions.as_ref().and_then(|all| all.get(id));
            let facts = self.facts_of(&state, id, query, position.map(Vec::as_slice));
            let own = graph.node(NodeKind::Query, id);
            if let Some(node) = graph.nodes.iter_mut().find(|node| node.id == own) {
                node.state = Some(facts.condition.state.word());
                (node.rates, node.lag) = (Some(facts.rates), position.and_then(|position| lag::lag(position)));
            }
            let mut reads: Vec<&String> = info.reads.iter().collect();
            reads.dedup();
            // With several inputs only the sum of their rates is known.
            let rate = (reads.len() == 1).then_some(facts.rates.rows_in);
            for source in reads.into_iter().filter_map(|name| seen.get(name.as_str())) {
                graph.edge(&NodeKind::from(source.kind).id(&source.name), &own, EdgeKind::Reads, rate);
            }
            if let Some(sink) = seen.get(info.writes.as_str()) {
                let sink = NodeKind::from(sink.kind).id(&sink.name);
                graph.edge(&own, &sink, EdgeKind::Writes, Some(facts.rates.rows_out));
            }
            if let Some(late) = info.late_topic.as_ref().filter(|topic| session.principal().topics.include(topic)) {
                let topic = graph.node(NodeKind::Topic, late);
                graph.edge(&own, &topic, EdgeKind::Writes, None);
            }
        }
        graph.nodes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        match at {
            Some(name) => graph.around(name, depth),
            None => Ok(graph),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbourhood_follows_edges_in_both_directions() {
        let mut graph = Graph::default();
        let topic = graph.node(NodeKind::Topic, "A");
        let stream = graph.node(NodeKind::Stream, "A");
        let query = graph.node(NodeKind::Query, "CSAS_B_1");
        let other = graph.node(NodeKind::Stream, "B");
        graph.node(NodeKind::Topic, "alone");
        graph.edge(&topic, &stream, EdgeKind::Backs, None);
        graph.edge(&stream, &query, EdgeKind::Reads, Some(1.0));
        graph.edge(&query, &other, EdgeKind::Writes, Some(1.0));
        let names = |graph: Graph| graph.nodes.into_iter().map(|node| node.id).collect::<Vec<_>>();
        assert_eq!(names(graph.clone().around("A", 0).unwrap()), ["stream:A"], "the source, not its topic");
        assert_eq!(names(graph.clone().around("csas_b_1", 1).unwrap()), ["stream:A", "query:CSAS_B_1", "stream:B"]);
        let near = graph.clone().around("topic:A", 2).unwrap();
        assert_eq!(near.edges.len(), 2);
        let missing = graph.around("CSAS_B_2", 1).unwrap_err();
        assert_eq!(missing.hint(), Some("did you mean CSAS_B_1?"));
    }
}
