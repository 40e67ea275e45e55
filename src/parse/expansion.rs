//! The size of a SQL query after each WITH is expanded where it is referenced.
//!
//! ```text
//! WITH a AS (SELECT * FROM s), b AS (SELECT * FROM a x, a y) SELECT * FROM b u, b v      s is read four times
//! ```
//!
//! Each further line doubles it: forty lines are a plan that no machine holds. So it is counted before it is planned.

use crate::error::{Error, Result};
use crate::parse::query::{Body, Relational, Select};
use std::collections::HashMap;

/// Most queries and relations that a query may be made of, those of a WITH counted for each reference.
pub const QUERY_PARTS_MAX: u64 = 500;

const TOO_MANY: &str = "the query has too many parts";

/// Refuses a query that is made of too many parts.
pub(super) fn check_relational(query: &Relational) -> Result<()> {
    parts(query, &HashMap::new()).map(drop)
}

/// Parts of a query, where `known` holds those of the queries behind the names it can see.
fn parts(query: &Relational, known: &HashMap<&str, u64>) -> Result<u64> {
    let mut known = known.clone();
    for definition in &query.with {
        let parts = parts(&definition.query, &known)?;
        known.insert(&definition.name.value, parts);
    }
    let sorted = query.queries.iter().map(|inner| self::parts(&inner.query, &known));
    let sorted = sorted.sum::<Result<u64>>()?;
    let parts = body_parts(&query.body, &known)?.saturating_add(sorted).saturating_add(1);
    if parts > QUERY_PARTS_MAX { Err(too_many()) } else { Ok(parts) }
}

fn body_parts(body: &Body, known: &HashMap<&str, u64>) -> Result<u64> {
    match body {
        Body::Select(body) => select_parts(&body.select, known),
        Body::Values(_) => Ok(1),
        Body::Set { sides, .. } => {
            let [left, right] = &**sides;
            Ok(body_parts(left, known)?.saturating_add(body_parts(right, known)?))
        }
        Body::Nested(query) => parts(query, known),
    }
}

fn select_parts(select: &Select, known: &HashMap<&str, u64>) -> Result<u64> {
    let mut total = 0_u64;
    for relation in select.relations() {
        if relation.derived.is_none() {
            total = total.saturating_add(known.get(&*relation.name.value).copied().unwrap_or(1));
        }
    }
    for query in select.inner_queries() {
        total = total.saturating_add(parts(query, known)?);
    }
    if total > QUERY_PARTS_MAX { Err(too_many()) } else { Ok(total) }
}

/// Whether another grammar would be refused for the same.
pub(super) fn is_too_many(error: &Error) -> bool {
    error.message() == TOO_MANY
}

pub(super) fn too_many() -> Error {
    Error::statement(TOO_MANY)
        .with_detail(format!("at most {QUERY_PARTS_MAX}, those of a WITH counted for each reference"))
}
