//! The size of a SQL query after each WITH is expanded where it is referenced.
//!
//! ```text
//! WITH a AS (SELECT * FROM s), b AS (SELECT * FROM a x, a y) SELECT * FROM b u, b v      s is read four times
//! ```
//!
//! Each further line doubles it: forty lines are a plan that no machine holds. So it is counted before it is planned.

use crate::error::{Error, Result};
use crate::parse::query::{Body, Relational};
use sqlparser::ast::{ObjectName, Query, Visit, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Most queries and relations that a query may be made of, those of a WITH counted for each reference.
pub const QUERY_PARTS_MAX: u64 = 500;

const TOO_MANY: &str = "the query has too many parts";

/// Refuses a query that is made of too many parts.
pub(super) fn check(query: &Query) -> Result<()> {
    let mut count = Count { open: Vec::new(), names: HashMap::new(), known: HashMap::new(), queries: 0 };
    match query.visit(&mut count) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(too_many()),
    }
}

/// The same for a query that our own grammar has read.
pub(super) fn check_relational(query: &Relational) -> Result<()> {
    parts(query, &HashMap::new()).map(drop)
}

/// Parts of a query, where `known` holds those of the queries behind the names it can see.
fn parts(query: &Relational, known: &HashMap<&str, u64>) -> Result<u64> {
    let mut known = known.clone();
    for (name, definition) in &query.with {
        let parts = parts(definition, &known)?;
        known.insert(&name.value, parts);
    }
    let parts = body_parts(&query.body, &known)?.saturating_add(1);
    if parts > QUERY_PARTS_MAX { Err(too_many()) } else { Ok(parts) }
}

fn body_parts(body: &Body, known: &HashMap<&str, u64>) -> Result<u64> {
    match body {
        Body::Select(body) => {
            let mut known = known.clone();
            for (name, query) in &body.derived {
                let parts = parts(query, &known)?;
                known.insert(&name.value, parts);
            }
            let joined = body.select.joins.iter().map(|join| &join.right);
            let relations = [&body.select.from].into_iter().chain(joined);
            let parts = relations.map(|relation| known.get(&*relation.name.value).copied().unwrap_or(1));
            Ok(parts.fold(0, u64::saturating_add))
        }
        Body::Set { sides, .. } => {
            let [left, right] = &**sides;
            Ok(body_parts(left, known)?.saturating_add(body_parts(right, known)?))
        }
        Body::Nested(query) => parts(query, known),
    }
}

/// Whether another grammar would be refused for the same.
pub(super) fn is_too_many(error: &Error) -> bool {
    error.message() == TOO_MANY
}

pub(super) fn too_many() -> Error {
    Error::statement(TOO_MANY)
        .with_detail(format!("at most {QUERY_PARTS_MAX}, those of a WITH counted for each reference"))
}

struct Count {
    /// Parts so far of the queries that are being walked, outermost first.
    open: Vec<u64>,
    /// The queries that have a name, by where they lie in the tree.
    names: HashMap<*const Query, String>,
    /// Parts of the query behind a name; of two queries with one name, the larger.
    known: HashMap<String, u64>,
    queries: u64,
}

impl Count {
    fn add(&mut self, parts: u64) -> ControlFlow<()> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(parts);
        if *open > QUERY_PARTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Count {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.extend(named.map(|cte| (&raw const *cte.query, cte.alias.name.value.clone())));
        self.open.push(1);
        self.queries += 1;
        if self.queries > QUERY_PARTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let parts = self.open.pop().unwrap_or(0);
        let Some(name) = self.names.get(&(&raw const *query)) else { return self.add(parts) };
        let known = self.known.entry(name.clone()).or_default();
        *known = parts.max(*known);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident());
        let parts = name.and_then(|name| self.known.get(&name.value)).copied();
        self.add(parts.unwrap_or(1))
    }
}
