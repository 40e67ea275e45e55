//! GROUPING SETS, ROLLUP and CUBE: one grouping for each set, one below the other.
//!
//! ```text
//! GROUP BY a, ROLLUP(b, c)    keys a, b, c; sets (a, b, c), (a, b), (a)
//! ```
//!
//! Each set groups the rows as a GROUP BY of its own would; a key that it leaves out is NULL in its rows.

use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::plan::select::expression;
use sqlparser::ast::Expr;

/// Most sets of one GROUP BY: each reads the input of its own.
const SETS_MAX: usize = 64;

/// The keys of a GROUP BY, and the sets of them.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// Every expression that is grouped by, as often as it was written outside of sets.
    pub keys: Vec<Expr>,
    /// Places of keys; `None` = no set is written, all keys are one.
    pub sets: Option<Vec<Vec<usize>>>,
}

/// The sets of these entries: each entry is a choice, and all are combined.
pub(super) fn of(entries: &[Expr]) -> Result<Sets> {
    if !entries.iter().any(is_sets) {
        return Ok(Sets { keys: entries.to_vec(), sets: None });
    }
    let mut keys: Vec<Expr> = Vec::new();
    let mut sets: Vec<Vec<usize>> = vec![vec![]];
    for entry in entries {
        let choices = choices(entry)?;
        if sets.len().saturating_mul(choices.len()) > SETS_MAX {
            return Err(too_many(entry));
        }
        let mut combined = Vec::with_capacity(sets.len() * choices.len());
        for set in &sets {
            for choice in &choices {
                let mut set = set.clone();
                for expr in choice {
                    let place = keys.iter().position(|k| k == expr).unwrap_or(keys.len());
                    if place == keys.len() {
                        keys.push(expr.clone());
                    }
                    if !set.contains(&place) {
                        set.push(place);
                    }
                }
                combined.push(set);
            }
        }
        sets = combined;
    }
    Ok(Sets { keys, sets: Some(sets) })
}

/// The entry is one of several sets.
pub(super) fn is_sets(entry: &Expr) -> bool {
    matches!(entry, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_))
}

fn choices(entry: &Expr) -> Result<Vec<Vec<Expr>>> {
    Ok(match entry {
        Expr::GroupingSets(sets) => sets.clone(),
        Expr::Rollup(parts) => (0..=parts.len()).rev().map(|n| parts[..n].concat()).collect(),
        Expr::Cube(parts) => {
            let sets = u32::try_from(parts.len()).ok().and_then(|n| 1_usize.checked_shl(n));
            let sets = sets.filter(|n| *n <= SETS_MAX).ok_or_else(|| too_many(entry))?;
            let taken = |bits: usize| {
                let bit = |place: &usize| bits & (1 << (parts.len() - 1 - place)) != 0;
                (0..parts.len()).filter(bit).flat_map(|place| parts[place].clone()).collect()
            };
            (0..sets).rev().map(taken).collect()
        }
        other => vec![vec![other.clone()]],
    })
}

fn too_many(entry: &Expr) -> Error {
    Error::statement(format!("GROUP BY has more than {SETS_MAX} grouping sets"))
        .with_detail("each set reads the input of its own")
        .with_hint("GROUPING SETS ((a, b), (a)) names the ones that are needed")
        .at_some(span_of(entry))
}

/// The expression that says which of these keys a row's set leaves out: a bit for each, the last one lowest.
pub(super) fn grouping(args: &[&Expr], column: impl Fn(&Expr) -> Option<Expr>) -> Option<Expr> {
    let mut sum: Option<Expr> = None;
    for arg in args {
        let bit = column(arg)?;
        sum = Some(match sum {
            None => bit,
            Some(sum) => expression::twice_plus(sum, bit),
        });
    }
    sum
}
