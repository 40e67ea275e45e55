//! Which clause of a statement made a node of its plan.
//!
//! ```text
//! scan-0  a source in FROM      join-0  its JOIN       rows       WHERE, else SELECT      exchange  PARTITION BY, else GROUP BY
//! table   the source in FROM    having  HAVING         aggregate  GROUP BY, else SELECT   sink      CREATE ... AS, else EMIT or SELECT
//! ```
//!
//! A plan over history has nodes of other kinds, and more of one kind than the text has clauses: such nodes have no place.

use super::plan_tree::{PlanNode, PlanTree};
use crate::error::Span;
use crate::parse::text::clauses::Clauses;
use crate::parse::text::place::Place;

impl PlanTree {
    /// Adds the places: `statement` begins at byte `start` of `text`. A statement that differs from its text has none.
    pub(super) fn placed(mut self, text: &str, statement: &str, start: usize) -> PlanTree {
        let is_same = text.get(start..).is_some_and(|rest| rest.starts_with(statement));
        let Some(clauses) = Clauses::of(statement).filter(|_| is_same) else { return self };
        let spans: Vec<Option<Span>> = self.nodes.iter().map(|node| self.span_of(node, &clauses)).collect();
        for (node, span) in self.nodes.iter_mut().zip(spans) {
            node.place = span.map(|span| Place::of(text, Span::new(span.start + start, span.end + start)));
        }
        self
    }

    /// The same plan, where its text is not at hand.
    pub(super) fn without_places(mut self) -> PlanTree {
        self.nodes.iter_mut().for_each(|node| node.place = None);
        self
    }

    fn span_of(&self, node: &PlanNode, clauses: &Clauses) -> Option<Span> {
        // Nodes of the same kind in the order of the text. A plan over history begins with its root: the last join.
        let same: Vec<&PlanNode> = self.nodes.iter().filter(|other| other.op == node.op).collect();
        let nth = same.iter().position(|other| other.id == node.id)?;
        let of = |spans: &[Span], nth: usize| (spans.len() == same.len()).then(|| spans.get(nth).copied()).flatten();
        let only = |span: Option<Span>| span.filter(|_| same.len() == 1);
        let is_staged = node.partitions.is_some();
        match node.op.as_str() {
            "scan" => of(&clauses.relations, nth),
            "join" if is_staged => of(&clauses.joins, nth),
            "join" => of(&clauses.joins, same.len() - 1 - nth),
            "table" => clauses.relations.first().copied(),
            "rows" => clauses.filter.or(clauses.select),
            "explode" => clauses.select,
            "exchange" => clauses.partition.or(clauses.group),
            "aggregate" => only(clauses.group.or(clauses.select)),
            "having" => clauses.having.or(clauses.select),
            "sink" => clauses.header.or(clauses.emit).or(clauses.select),
            "filter" => only(clauses.filter.xor(clauses.having)),
            "timewindow" => only(clauses.window),
            "sort" => only(clauses.order),
            "limit" => only(clauses.limit),
            _ => None,
        }
    }
}
