//! The SELECT list: `*` written out, and every column named as ksqlDB names it.

use crate::error::{Error, Result, Span};
use crate::parse::statement::{Name, SelectItem};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::expression;
use crate::plan::select::scope::{Names, unknown_source};
use crate::types::{Schema, SqlType, pseudo, quoted};
use sqlparser::ast::{BinaryOperator, Expr};
use std::collections::BTreeSet;

/// A column of the SELECT list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its name in the result.
    pub name: String,
    /// What it is, in [`expression::normal`] form.
    pub expr: Expr,
    /// Its place, if it was written.
    pub span: Option<Span>,
}

impl Item {
    /// Binds it; an error has its place, unless a more precise one is known.
    pub(super) fn bind(&self, names: &Names) -> Result<Typed> {
        scalar::bind(&self.expr, names, Boundary::SelectItem).map_err(|e| e.at_some(self.span))
    }
}

/// What the list is written input.
pub(super) struct SelectInput<'a> {
    pub alias: &'a str,
    pub schema: &'a Schema,
    pub names: &'a Names,
    /// Pseudo columns that `*` shows: the bounds of a windowed source, in a result that goes to people.
    pub shown: &'a [&'static str],
    /// The result becomes columns of a stream or table.
    pub persistent: bool,
    /// PARTITION BY, in [`expression::normal`] form: `*` begins with the expressions that are no columns, and old keys come last.
    pub partition_by: &'a [Expr],
}

/// The items, in order, named.
pub(super) fn items(list: &[SelectItem], input: &SelectInput<'_>) -> Result<Vec<Item>> {
    let mut namer = Namer::new(input.schema);
    let mut out = Vec::new();
    for item in list {
        match item {
            SelectItem::Star { source: Some(name), .. } if name.value != input.alias => {
                return Err(unknown_source(&name.value).at(name.span));
            }
            SelectItem::Star { left_out, .. } => {
                out.extend(leave_out(all(input, &mut namer), left_out, |item, name| item.name == name)?);
            }
            SelectItem::AllFields(expr) => out.extend(all_fields(expr, input, &mut namer)?),
            SelectItem::Expr { expr, alias, span } => {
                let expr = expression::normal(expr, input.alias);
                let name = match alias {
                    Some(alias) => {
                        check_alias(&alias.value, &expr, input.persistent).map_err(|e| e.at(alias.span))?;
                        alias.value.clone()
                    }
                    None => namer.name(&expr, input.persistent).map_err(|e| e.at(*span))?,
                };
                out.push(Item { name, expr, span: Some(*span) });
            }
        }
    }
    Ok(out)
}

fn all(input: &SelectInput<'_>, namer: &mut Namer) -> Vec<Item> {
    let key = input.schema.key.iter().map(|c| c.name.as_str());
    let value = input.schema.value.iter().map(|c| c.name.as_str());
    let no_key = matches!(input.partition_by, [Expr::Value(v)] if v.value == sqlparser::ast::Value::Null);
    if !input.partition_by.is_empty() && !no_key {
        // In a stream key columns come first anyway; in a result that goes to people they do so here.
        let is_column = |e: &&Expr| expression::as_name(e).is_some_and(|name| !is_pseudo(name));
        let mut items: Vec<Item> = Vec::new();
        for expr in input.partition_by.iter().filter(|e| !input.persistent || !is_column(e)) {
            let name = match (expression::field_name(expr), expression::as_name(expr)) {
                (Some(field), _) => namer.field(field),
                (None, Some(name)) => name.to_owned(),
                (None, None) => namer.generated(),
            };
            items.push(Item { name, expr: expr.clone(), span: None });
        }
        let first: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
        let rest = value.chain(key).filter(|n| !first.iter().any(|name| name == n)).map(|n| Item {
            name: n.to_owned(),
            expr: expression::identifier(n),
            span: None,
        });
        items.extend(rest);
        return items;
    }
    let names = key.chain(input.shown.iter().copied()).chain(value);
    names.map(|n| Item { name: n.to_owned(), expr: expression::identifier(n), span: None }).collect()
}

/// What a star means, without the columns behind EXCLUDE. Each has to be one of them.
pub(super) fn leave_out<T>(all: Vec<T>, columns: &[Name], is_named: impl Fn(&T, &str) -> bool) -> Result<Vec<T>> {
    if let Some(unknown) = columns.iter().find(|name| !all.iter().any(|item| is_named(item, &name.value))) {
        return Err(Error::statement(format!("Column '{}' cannot be resolved.", unknown.value))
            .with_detail("EXCLUDE leaves out columns that * shows")
            .at(unknown.span));
    }
    Ok(all.into_iter().filter(|item| !columns.iter().any(|name| is_named(item, &name.value))).collect())
}

fn is_pseudo(name: &str) -> bool {
    pseudo::ALL.contains(&name)
}

fn all_fields(expr: &Expr, input: &SelectInput<'_>, namer: &mut Namer) -> Result<Vec<Item>> {
    let expr = expression::normal(expr, input.alias);
    let SqlType::Struct(fields) = scalar::bind(&expr, input.names, Boundary::SelectItem)?.ty else {
        return Err(Error::statement(format!("{}->* needs a STRUCT before the arrow", expression::text(&expr))));
    };
    let one = |(name, _): &(String, SqlType)| {
        let field = Box::new(expression::identifier(name));
        let expr = Expr::BinaryOp { left: Box::new(expr.clone()), op: BinaryOperator::Arrow, right: field };
        let name = namer.field(name);
        Item { name, expr, span: None }
    };
    Ok(fields.iter().map(one).collect())
}

fn check_alias(alias: &str, expr: &Expr, persistent: bool) -> Result<()> {
    if !persistent || !pseudo::ALL.contains(&alias) {
        return Ok(());
    }
    Err(Error::statement(match expression::as_name(expr) == Some(alias) {
        true => format!("Reserved column name in select: {}. Please remove or alias the column.", quoted(alias)),
        false => format!("{} is a reserved column name. You cannot use it as an alias for a column.", quoted(alias)),
    }))
}

/// Gives names to what has none: a column its own, `a->b` the field's, others `KSQL_COL_n`.
#[derive(Debug)]
pub(super) struct Namer {
    taken: BTreeSet<String>,
    next: usize,
}

impl Namer {
    /// Names that the source uses are not given again.
    pub(super) fn new(schema: &Schema) -> Namer {
        Namer { taken: schema.columns().map(|c| c.name.clone()).collect(), next: 0 }
    }

    fn name(&mut self, expr: &Expr, persistent: bool) -> Result<String> {
        if let Some(name) = expression::as_name(expr).filter(|name| !name.starts_with('#')) {
            if persistent {
                check_alias(name, expr, true)?;
            }
            return Ok(name.to_owned());
        }
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some(last) = parts.last()
        {
            return Ok(last.value.clone());
        }
        Ok(match expression::field_name(expr) {
            Some(field) => self.field(field),
            None => self.generated(),
        })
    }

    /// The name of a key that is an expression and was not named.
    pub(super) fn key(&mut self, expr: &Expr) -> String {
        match (expression::as_name(expr), expression::field_name(expr)) {
            (Some(name), _) => name.to_owned(),
            (_, Some(field)) => self.field(field),
            _ => self.generated(),
        }
    }

    fn field(&mut self, field: &str) -> String {
        let numbered = (1..).map(|n| format!("{field}_{n}"));
        let mut candidates = std::iter::once(field.to_owned()).chain(numbered);
        let name = candidates.find(|n| !self.taken.contains(n)).expect("the numbers never end");
        self.taken.insert(name.clone());
        name
    }

    /// The next `KSQL_COL_n`.
    pub(super) fn generated(&mut self) -> String {
        loop {
            let name = format!("KSQL_COL_{}", self.next);
            self.next += 1;
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }
}
