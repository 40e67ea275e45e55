//! Joins with tables: which of them are possible, and by what their rows find each other.
//!
//! ```text
//! stream [LEFT] JOIN table     ON any expression of the stream = the table's primary key
//! table ... JOIN table         ON primary key = primary key
//! table [LEFT] JOIN table      ON any expression of the left one = the right one's primary key: a foreign key
//! ```

use super::criteria::Criteria;
use super::names::{self, Sources};
use super::{Relation, words};
use crate::error::{Error, Result};
use crate::parse::statement::{JoinKind, SelectItem};
use crate::plan::nodes::join::Rule;
use crate::types::{Column, quoted};

/// How the rows of a table on the right are found; `tables` = the left side is a table too.
pub(super) fn rule(
    (left, right): (&Relation, &Relation),
    kind: JoinKind,
    (criteria, sources): (&Criteria, &Sources),
    names: [&str; 2],
    tables: bool,
) -> Result<Rule> {
    let fail = |text: String| Err(Error::statement(text));
    if !tables && let Some(outer) = outer(kind) {
        let join = format!("{} {} {}", names[0], words(kind), names[1]);
        return fail(format!("Invalid join type: {outer} join not supported for stream-table join. Got {join}."));
    }
    if !right.same.contains(&criteria.right) {
        let (what, whose) = match tables {
            true => ("table-table", "the primary key of the right input table"),
            false => ("stream-table", "the table's primary key"),
        };
        let got = criteria.text(sources, ["", ""]);
        return fail(format!("Invalid join condition: {what} joins require to join on {whose}. Got {got}."));
    }
    if !tables {
        return Ok(Rule::Lookup);
    }
    if left.same.contains(&criteria.left) {
        return Ok(Rule::Tables);
    }
    if kind == JoinKind::Full {
        let join = format!("{} {} {}", names[0], words(kind), names[1]);
        return fail(format!(
            "Invalid join type: full-outer join not supported for foreign-key table-table join. Got {join}."
        ));
    }
    if kind == JoinKind::Right {
        return fail("RIGHT OUTER JOIN on a foreign key is not supported".to_owned());
    }
    if left.text.contains(' ') {
        let got = criteria.text(sources, ["", ""]);
        return fail(format!(
            "Invalid join condition: foreign-key table-table joins are not supported as part of n-way joins. Got {got}."
        ));
    }
    if right.source.window.is_some() {
        return fail("Foreign-key table-table joins are not supported on windowed tables.".to_owned());
    }
    let known = &sources.all[0];
    let key = left.source.schema.key.iter();
    let key = key.map(|c| Column::key(known.flat(&c.name), c.ty.clone())).collect();
    Ok(Rule::Foreign { key, key_format: left.key_format })
}

/// What a join is called that keeps rows of the right side alone.
fn outer(kind: JoinKind) -> Option<&'static str> {
    match kind {
        JoinKind::Inner | JoinKind::Left => None,
        JoinKind::Right => Some("right-outer"),
        JoinKind::Full => Some("full-outer"),
    }
}

/// Every key column of the left table is selected.
pub(super) fn check_own_key(own: &[Column], items: &[SelectItem], sources: &Sources) -> Result<()> {
    let missing = own.iter().filter(|c| !names::selects(items, &c.name));
    let missing: Vec<String> = missing.filter_map(|c| sources.origin(&c.name)).map(|(_, name)| quoted(&name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let plural = if missing.len() > 1 { "s" } else { "" };
    Err(Error::statement(format!(
        "Primary key column{plural} missing in projection. For foreign-key table-table joins, the projection must include all \
         primary key columns from the left input table ({}). Missing column{plural}: {}.",
        quoted(&sources.all[0].alias),
        missing.join(", ")
    )))
}
