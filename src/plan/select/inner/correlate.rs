//! Which columns of the rows around it a query inside of an expression names.
//!
//! ```text
//! SELECT n, (SELECT MAX(n) FROM t WHERE t.k = s.k) FROM s          s.k  -->  `#outer_0`.`0`
//! ```
//!
//! A name means a column of the innermost query that has one of this name. What no source inside has, and a source outside
//! has, becomes a column of the relation that holds, once each, what the rows around have in these columns.

use super::relations::{ID, Relations};
use crate::error::Result;
use crate::parse::query::{Body, Distinct, Relational};
use crate::parse::statement::{Condition, Derived, Relation, Select, SelectItem};
use crate::plan::select::expression;
use crate::types::pseudo;
use sqlparser::ast::{Expr, Ident};
use std::collections::BTreeSet;

/// A query, and the columns of the rows around that it names, as they are known there.
pub(in crate::plan::select) struct Captured {
    pub query: Relational,
    pub columns: Vec<Expr>,
}

/// A column of the rows around, from how it is written; `None` = they have none of this name.
pub(in crate::plan::select) type Outside<'o> = dyn Fn(&Expr) -> Option<Expr> + 'o;

/// Puts columns of the relation `alias` in the place of those that only the rows around have.
pub(in crate::plan::select) fn capture(
    query: &Relational,
    relations: &Relations<'_>,
    alias: &str,
    outside: &Outside<'_>,
) -> Result<Captured> {
    let mut query = query.clone();
    let mut capture = Capture { alias, outside, columns: Vec::new(), frames: Vec::new(), replaced: 0 };
    capture.query(&mut query, relations)?;
    Ok(Captured { query, columns: capture.columns })
}

/// The name of a column of the rows around.
pub(in crate::plan::select) fn outer_column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier([alias, name].map(|part| Ident::with_quote('`', part)).into())
}

/// The row around for which a row is.
pub(in crate::plan::select) fn outer_id(alias: &str) -> Expr {
    outer_column(alias, ID)
}

/// What one SELECT inside knows.
#[derive(Default)]
struct Frame {
    /// Sources with their columns.
    sources: Vec<(String, BTreeSet<String>)>,
    /// Names that the SELECT list gives.
    aliases: BTreeSet<String>,
}

struct Capture<'c> {
    alias: &'c str,
    outside: &'c Outside<'c>,
    columns: Vec<Expr>,
    frames: Vec<Frame>,
    /// How many names were replaced so far.
    replaced: usize,
}

/// Names that the columns of a query have, as far as they can be told before it is bound.
fn result_names(body: &Body, relations: &Relations<'_>) -> BTreeSet<String> {
    let select = match body {
        Body::Select(body) => &body.select,
        Body::Set { sides, .. } => return result_names(&sides[0], relations),
        Body::Nested(query) => return result_names(&query.body, relations),
        Body::Values(_) => return BTreeSet::new(),
    };
    let all_of = |relation: &Relation| -> BTreeSet<String> {
        let given = relation.columns.iter().map(|column| column.value.clone());
        let own = match relation.derived.as_deref() {
            Some(Derived::Query { query, .. }) => result_names(&query.body, relations),
            Some(_) => BTreeSet::new(),
            None => match relations.require(&relation.name) {
                Ok(source) => source.schema.columns().map(|column| column.name.clone()).collect(),
                Err(_) => BTreeSet::new(),
            },
        };
        given.chain(own).collect()
    };
    let names = |item: &SelectItem| -> BTreeSet<String> {
        match item {
            SelectItem::Expr { alias: Some(alias), .. } => [alias.value.clone()].into(),
            SelectItem::Expr { expr: Expr::CompoundIdentifier(parts), .. } => {
                parts.last().map(|part| part.value.clone()).into_iter().collect()
            }
            SelectItem::Expr { expr, .. } => expression::as_name(expr).map(str::to_owned).into_iter().collect(),
            SelectItem::Star { source, left_out } => {
                let of = |relation: &&Relation| source.as_ref().is_none_or(|s| relation.known_as().value == s.value);
                let mut names: BTreeSet<String> = select.relations().filter(of).flat_map(all_of).collect();
                left_out.iter().for_each(|column| {
                    names.remove(&column.value);
                });
                names
            }
            SelectItem::AllFields(_) => BTreeSet::new(),
        }
    };
    select.items.iter().flat_map(names).collect()
}

impl Capture<'_> {
    fn query(&mut self, query: &mut Relational, relations: &Relations<'_>) -> Result<()> {
        let relations = relations.with_definitions(&query.with)?;
        self.body(&mut query.body, &relations)?;
        let frame = match &query.body {
            Body::Select(body) => self.frame(&body.select, &relations)?,
            _ => Frame::default(),
        };
        self.frames.push(frame);
        query.order_by.iter_mut().for_each(|key| self.expr(&mut key.expr, true));
        let inner = query.queries.iter_mut().try_for_each(|inner| self.query(&mut inner.query, &relations));
        self.frames.pop();
        inner
    }

    fn body(&mut self, body: &mut Body, relations: &Relations<'_>) -> Result<()> {
        match body {
            Body::Select(body) => {
                if let Distinct::On(by) = &mut body.distinct {
                    let frame = self.frame(&body.select, relations)?;
                    self.frames.push(frame);
                    by.iter_mut().for_each(|expr| self.expr(expr, true));
                    self.frames.pop();
                }
                self.select(&mut body.select, relations)
            }
            Body::Values(rows) => {
                rows.iter_mut().flatten().for_each(|expr| self.expr(expr, false));
                Ok(())
            }
            Body::Set { sides, .. } => sides.iter_mut().try_for_each(|side| self.body(side, relations)),
            Body::Nested(query) => self.query(query, relations),
        }
    }

    fn frame(&self, select: &Select, relations: &Relations<'_>) -> Result<Frame> {
        // What is in the first place may see the rows around.
        let correlated = relations.within_any();
        let (select, relations) = correlated.with_from(select)?;
        let mut frame = Frame::default();
        for relation in select.relations() {
            let mut columns: BTreeSet<String> = relation.columns.iter().map(|c| c.value.clone()).collect();
            let unbound = matches!(relation.derived.as_deref(), Some(Derived::Query { lateral: true, .. }));
            match unbound && relations.rows_of(&relation.name.value).is_none() {
                true => {
                    columns.extend(relation.alias.iter().map(|alias| alias.value.clone()));
                    if let Some(Derived::Query { query, .. }) = relation.derived.as_deref() {
                        columns.extend(result_names(&query.body, &relations));
                    }
                }
                false => {
                    let source = relations.require(&relation.name)?;
                    columns.extend(source.schema.columns().map(|c| c.name.clone()));
                    if !source.is_derived() {
                        columns.extend([pseudo::ROWTIME, pseudo::ROWPARTITION, pseudo::ROWOFFSET].map(str::to_owned));
                    }
                    if source.window.is_some() {
                        columns.extend([pseudo::WINDOWSTART, pseudo::WINDOWEND].map(str::to_owned));
                    }
                }
            }
            frame.sources.push((relation.known_as().value.clone(), columns));
        }
        if select.window.is_some() {
            let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND].map(str::to_owned);
            frame.sources.push((String::new(), bounds.into()));
        }
        for item in &select.items {
            if let SelectItem::Expr { alias: Some(alias), .. } = item {
                frame.aliases.insert(alias.value.clone());
            }
        }
        Ok(frame)
    }

    fn select(&mut self, select: &mut Select, relations: &Relations<'_>) -> Result<()> {
        self.derived(select, relations)?;
        let frame = self.frame(select, relations)?;
        let (_, inner) = relations.within_any().with_from(select)?;
        self.frames.push(frame);
        for relation in select.relations_mut() {
            match relation.derived.as_deref_mut() {
                Some(Derived::Query { lateral: true, query }) => self.query(query, relations)?,
                Some(Derived::Call(call)) => self.expr(call, false),
                _ => {}
            }
        }
        for join in &mut select.joins {
            if let Condition::On(on) = &mut join.on {
                self.expr(on, false);
            }
        }
        for item in &mut select.items {
            if let SelectItem::Expr { expr, .. } | SelectItem::AllFields(expr) = item {
                self.expr(expr, false);
            }
        }
        let by = select.filter.iter_mut().chain(&mut select.partition_by);
        by.for_each(|expr| self.expr(expr, false));
        let named = select.group_by.iter_mut().chain(&mut select.having);
        named.for_each(|expr| self.expr(expr, true));
        let queries = select.queries.iter_mut().try_for_each(|query| self.query(&mut query.query, &inner));
        self.frames.pop();
        queries
    }

    /// A query in FROM that names columns of the rows around is made for each of them, as one that says LATERAL is; the sources
    /// beside it remain unknown to it.
    fn derived(&mut self, select: &mut Select, relations: &Relations<'_>) -> Result<()> {
        for relation in select.relations_mut() {
            if let Some(Derived::Query { lateral, query }) = relation.derived.as_deref_mut()
                && !*lateral
            {
                let before = self.replaced;
                self.query(query, relations)?;
                *lateral = self.replaced > before;
            }
        }
        Ok(())
    }

    /// `named`: names of the SELECT list are known, too.
    fn expr(&mut self, expr: &mut Expr, named: bool) {
        let parameters = expression::parameters(expr);
        *expr = expression::replace(expr, &mut |part| {
            let (source, column) = match part {
                Expr::Identifier(name) if !parameters.contains(&name.value) => (None, &name.value),
                Expr::CompoundIdentifier(parts) if parts.len() == 2 => (Some(&parts[0].value), &parts[1].value),
                _ => return None,
            };
            if column.starts_with('#') || self.is_inside(source, column, named) {
                return None;
            }
            let known = (self.outside)(part)?;
            self.replaced += 1;
            let place = self.columns.iter().position(|c| *c == known).unwrap_or(self.columns.len());
            if place == self.columns.len() {
                self.columns.push(known);
            }
            Some(outer_column(self.alias, &place.to_string()))
        });
    }

    fn is_inside(&self, source: Option<&String>, column: &String, named: bool) -> bool {
        self.frames.iter().any(|frame| match source {
            Some(source) => frame.sources.iter().any(|(alias, _)| alias == source),
            None => {
                frame.sources.iter().any(|(_, columns)| columns.contains(column))
                    || named && frame.aliases.contains(column)
            }
        })
    }
}
