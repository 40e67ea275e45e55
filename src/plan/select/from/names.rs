//! Names of several sources: `L.A`, or `A` where only one of them has it, is the flat column `L_A`.

use super::PSEUDO;
use crate::catalog::Source;
use crate::error::{Error, Result, Span};
use crate::parse::statement::{JoinKind, Name, Select, SelectItem};
use crate::plan::select::expression;
use crate::plan::select::inner::relations::Relations;
use crate::plan::select::projection::leave_out;
use crate::plan::select::purpose::Purpose;
use crate::plan::select::scope::unknown_source;
use crate::types::{SqlType, pseudo, quoted};
use sqlparser::ast::{BinaryOperator, Expr, Ident};
use std::sync::Arc;

/// One source of a FROM clause.
#[derive(Clone, Debug)]
pub(super) struct JoinSource {
    /// Its name in this statement.
    pub(super) alias: String,
    pub(super) source: Arc<Source>,
}

/// All sources of a FROM clause, in order.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) all: Vec<JoinSource>,
    /// Columns that USING made one of: how each is written in full.
    merged: Vec<(String, Expr)>,
}

impl JoinSource {
    /// The flat name of a column.
    pub(super) fn flat(&self, column: &str) -> String {
        format!("{}_{column}", self.alias)
    }

    /// Does a name mean one of its columns?
    pub(super) fn has(&self, column: &str) -> bool {
        let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&column) && self.source.window.is_some();
        let place = PSEUDO.contains(&column) && !self.source.is_derived();
        bounds || place || self.source.schema.find(column).is_some()
    }
}

impl Sources {
    /// None yet.
    pub(super) fn empty() -> Sources {
        Sources { all: Vec::new(), merged: Vec::new() }
    }

    /// The sources that a continuous query names: each once.
    pub(super) fn of(select: &Select, relations: &Relations<'_>) -> Result<Sources> {
        let mut all: Vec<JoinSource> = Vec::new();
        for named in select.relations() {
            let source = relations.require(&named.name)?;
            if let Some(twice) = all.iter().find(|k| k.source.name == source.name) {
                let text = match select.joins.len() {
                    1 => format!(
                        "Can not join '{}' to '{}': self joins are not yet supported.",
                        twice.source.name, source.name
                    ),
                    _ => format!(
                        "N-way joins do not support multiple occurrences of the same source. Source: '{}'",
                        source.name
                    ),
                };
                return Err(Error::statement(text).at(named.name.span));
            }
            let alias = named.known_as().value.clone();
            if all.iter().any(|k| k.alias == alias) {
                return Err(Error::statement(format!("two sources are named {alias}")).at(named.known_as().span));
            }
            all.push(JoinSource { alias, source });
        }
        Ok(Sources { all, merged: Vec::new() })
    }

    /// USING: the condition that the last source and those before it are equal in a column, which is one from here on.
    pub(super) fn merge(&mut self, name: &str, kind: JoinKind) -> Result<Expr> {
        let missing =
            |whose: &str| Error::statement(format!("JOIN USING column '{name}' cannot be resolved in {whose}."));
        let Some((right, before)) = self.all.split_last() else { return Err(Error::bug("USING without sources")) };
        if !right.has(name) {
            return Err(missing(&right.alias));
        }
        let known = self.merged.iter().position(|(merged, _)| merged == name);
        let having: Vec<&JoinSource> = before.iter().filter(|known| known.has(name)).collect();
        let left = match (known, having.as_slice()) {
            (Some(place), _) => self.merged[place].1.clone(),
            (None, [one]) => dotted(&one.alias, name),
            (None, []) => return Err(missing("the sources to its left")),
            (None, several) => {
                let could: Vec<String> = several.iter().map(|k| format!("{}.{name}", k.alias)).collect();
                return Err(Error::statement(format!(
                    "Column '{name}' is ambiguous. Could be {}.",
                    could.join(" or ")
                )));
            }
        };
        let right = dotted(&right.alias, name);
        let one = match kind {
            JoinKind::Inner | JoinKind::Left => left.clone(),
            JoinKind::Right => right.clone(),
            JoinKind::Full => expression::call("COALESCE", vec![left.clone(), right.clone()]),
        };
        match known {
            Some(place) => self.merged[place].1 = one,
            None => self.merged.push((name.to_owned(), one)),
        }
        Ok(Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) })
    }

    /// Columns of the last source that one before it has, too.
    pub(super) fn common(&self) -> Vec<String> {
        let Some((right, before)) = self.all.split_last() else { return Vec::new() };
        let names = right.source.schema.columns().map(|c| c.name.clone());
        names.filter(|name| before.iter().any(|known| known.source.schema.find(name).is_some())).collect()
    }

    fn with_alias(&self, alias: &str) -> Option<&JoinSource> {
        self.all.iter().find(|k| k.alias == alias)
    }

    /// Is a source known by this name?
    pub(super) fn knows(&self, alias: &str) -> bool {
        self.with_alias(alias).is_some()
    }

    /// Do several sources have a column of this name? Its bare name then says too little.
    fn clashes(&self, column: &str) -> bool {
        self.all.iter().filter(|k| k.has(column)).count() > 1
    }

    /// A name for a key that no column gives one to.
    pub(super) fn synthetic(&self) -> String {
        let taken = |name: &str| self.all.iter().any(|k| k.source.schema.find(name).is_some());
        let numbered = (1..).map(|n| format!("ROWKEY_{n}"));
        let mut candidates = std::iter::once("ROWKEY".to_owned()).chain(numbered);
        candidates.find(|name| !taken(name)).expect("the numbers never end")
    }

    /// The expression over flat columns. A name that no source knows stays as it is, and is reported by the clause.
    pub(super) fn flat(&self, expr: &Expr) -> Result<Expr> {
        let expr = expression::normal(expr, "");
        let expr = match self.merged.is_empty() {
            true => expr,
            false => expression::replace(&expr, &mut |e| {
                let name = expression::as_name(e)?;
                self.merged.iter().find(|(merged, _)| merged == name).map(|(_, written)| written.clone())
            }),
        };
        let parameters = expression::parameters(&expr);
        let (mut ambiguous, mut unknown) = (None, None);
        let flat = expression::replace(&expr, &mut |e| match e {
            Expr::CompoundIdentifier(parts) if parts.len() == 2 => {
                let known = self.with_alias(&parts[0].value).filter(|k| k.has(&parts[1].value))?;
                Some(expression::identifier(&known.flat(&parts[1].value)))
            }
            Expr::Identifier(name) if !parameters.contains(&name.value) => {
                let having: Vec<&JoinSource> = self.all.iter().filter(|k| k.has(&name.value)).collect();
                if having.len() > 1 {
                    let could: Vec<String> = having.iter().map(|k| format!("{}.{}", k.alias, name.value)).collect();
                    ambiguous.get_or_insert((name.value.clone(), could));
                }
                // Flat names are internal; a statement that uses one means `L.A`.
                if having.is_empty()
                    && let Some((known, column)) = self.origin(&name.value)
                {
                    unknown.get_or_insert((name.value.clone(), format!("{}.{column}", known.alias)));
                }
                having.first().map(|known| expression::identifier(&known.flat(&name.value)))
            }
            _ => None,
        });
        if let Some((name, meant)) = unknown {
            let error = Error::statement(format!("Column '{name}' cannot be resolved."));
            return Err(error.with_hint(format!("did you mean {meant}?")));
        }
        match ambiguous {
            None => Ok(flat),
            Some((name, could)) => {
                Err(Error::statement(format!("Column '{name}' is ambiguous. Could be {}.", could.join(" or ")))
                    .told_as("Exception while preparing statement: Line: {line}, Col: {column}: "))
            }
        }
    }

    /// A flat expression with its columns written as `L.A`.
    pub(super) fn text(&self, expr: &Expr) -> String {
        let dotted = expression::replace(expr, &mut |e| {
            let name = expression::as_name(e)?;
            let (known, column) = self.origin(name)?;
            let parts = [&known.alias, &column].map(|p| sqlparser::ast::Ident::with_quote('`', p));
            Some(Expr::CompoundIdentifier(parts.into()))
        });
        expression::text(&dotted)
    }

    /// The source and column behind a flat name.
    pub(super) fn origin(&self, flat: &str) -> Option<(&JoinSource, String)> {
        self.all.iter().find_map(|known| {
            let column = flat.strip_prefix(known.alias.as_str())?.strip_prefix('_')?;
            known.has(column).then(|| (known, column.to_owned()))
        })
    }

    /// The source of the first column in a flat expression.
    pub(super) fn behind(&self, flat: &Expr) -> Option<&JoinSource> {
        expression::columns_outside_aggregates(flat).iter().find_map(|name| Some(self.origin(name)?.0))
    }

    /// The statement over flat columns, every `*` written out. `synthetic` is the key that no column names.
    pub(super) fn rewrite(&self, select: &Select, synthetic: Option<&str>, persistent: bool) -> Result<Select> {
        let mut out = select.clone();
        out.items.clear();
        let moved = persistent && !select.partition_by.is_empty();
        for item in &select.items {
            match item {
                SelectItem::Star { source, left_out } => {
                    let all = self.star(source.as_ref(), synthetic, moved)?;
                    out.items.extend(leave_out(all, left_out, |item, name| self.shows(item, name))?);
                }
                SelectItem::AllFields(expr) => out.items.push(SelectItem::AllFields(self.flat(expr)?)),
                SelectItem::Expr { expr, alias, span } => {
                    let merged = expression::as_name(expr).filter(|name| self.merged.iter().any(|(m, _)| m == name));
                    let merged = merged.map(|name| Name { value: name.to_owned(), span: *span });
                    let expr = self.flat(expr).map_err(|e| e.at(*span))?;
                    let own = expression::as_name(&expr).and_then(|flat| self.origin(flat)).map(|(_, column)| column);
                    if let Some(alias) = alias.as_ref().filter(|a| persistent && own.as_ref() == Some(&a.value))
                        && pseudo::ALL.contains(&alias.value.as_str())
                    {
                        let name = quoted(&alias.value);
                        let text =
                            format!("Reserved column name in select: {name}. Please remove or alias the column.");
                        return Err(Error::statement(text).at(alias.span));
                    }
                    let alias = alias.clone().or(merged).or_else(|| self.name_of(&expr, *span));
                    out.items.push(SelectItem::Expr { expr, alias, span: *span });
                }
            }
        }
        let all = |list: &[Expr]| list.iter().map(|e| self.flat(e)).collect::<Result<Vec<_>>>();
        out.filter = select.filter.as_ref().map(|e| self.flat(e)).transpose()?;
        out.having = select.having.as_ref().map(|e| self.flat(e)).transpose()?;
        out.qualify = select.qualify.as_ref().map(|e| self.flat(e)).transpose()?;
        out.group_by = all(&select.group_by)?;
        out.partition_by = all(&select.partition_by)?;
        Ok(out)
    }

    /// How a column is named that was selected without AS: by its own name, if that is no other source's.
    fn name_of(&self, expr: &Expr, span: Span) -> Option<Name> {
        let flat = expression::as_name(expr)?;
        let (_, column) = self.origin(flat)?;
        let value = if self.clashes(&column) { flat.to_owned() } else { column };
        Some(Name { value, span })
    }

    /// What to say when the key is not selected.
    pub(super) fn missing_key(&self, purpose: Purpose<'_>, viable: &[&str], synthetic: Option<&str>) -> Error {
        let Some(target) = purpose.target() else { return Error::bug("only a stored result needs its key") };
        let texts: Vec<String> = match synthetic {
            Some(name) => vec![name.to_owned()],
            None => viable.iter().map(|v| self.text(&expression::identifier(v))).collect(),
        };
        let plural = if texts.len() > 1 { "s" } else { "" };
        let listed = match texts.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => texts.join(""),
        };
        let note = synthetic.map_or_else(String::new, |name| {
            format!(
                "\n{name} was added as a synthetic key column because the join criteria did not match any source column."
            )
        });
        Error::statement(format!(
            "Key missing from projection (ie, SELECT). See https://cnfl.io/2LV7ouS.\nThe query used to build {} must include \
             the join expression{plural} {listed} in its projection (eg, SELECT {}...).{note}",
            quoted(target),
            texts.first().map_or("", String::as_str)
        ))
    }
}

impl Sources {
    /// What `*` means, or the star of one source.
    fn star(&self, source: Option<&Name>, synthetic: Option<&str>, moved: bool) -> Result<Vec<SelectItem>> {
        let mut items = Vec::new();
        if let Some(name) = source {
            let known = self.with_alias(&name.value).ok_or_else(|| unknown_source(&name.value).at(name.span))?;
            self.all_of(known, moved, &[], &mut items);
            return Ok(items);
        }
        items.extend(synthetic.filter(|_| !moved).map(|name| plain(name, name)));
        for (name, written) in &self.merged {
            items.push(named(self.flat(written)?, name));
        }
        self.visible().for_each(|known| self.columns(known, moved, &mut items));
        Ok(items)
    }

    /// Whether EXCLUDE means this column of a star: by its name in the result, or by that in its source.
    fn shows(&self, item: &SelectItem, column: &str) -> bool {
        let SelectItem::Expr { expr, alias: Some(alias), .. } = item else { return false };
        let origin = expression::as_name(expr).and_then(|flat| self.origin(flat));
        alias.value == column || origin.is_some_and(|(_, own)| own == column)
    }

    /// Those that the statement names.
    fn visible(&self) -> impl Iterator<Item = &JoinSource> {
        self.all.iter().filter(|known| !known.alias.starts_with("#outer"))
    }

    /// What `*` means for one source: without the columns that are there as one.
    fn columns(&self, known: &JoinSource, moved: bool, items: &mut Vec<SelectItem>) {
        let merged: Vec<&str> = self.merged.iter().map(|(name, _)| name.as_str()).collect();
        self.all_of(known, moved, &merged, items);
    }

    /// All columns of one source but these. After PARTITION BY ksqlDB shows everything that it carries along, the key last.
    fn all_of(&self, known: &JoinSource, moved: bool, without: &[&str], items: &mut Vec<SelectItem>) {
        let source = &known.source;
        let key = source.schema.key.iter().map(|c| c.name.as_str());
        let value = source.schema.value.iter().map(|c| c.name.as_str()).filter(|name| !name.starts_with('#'));
        let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND].into_iter().filter(|_| source.window.is_some());
        let names: Vec<&str> = match moved {
            false => key.chain(bounds).chain(value).collect(),
            true => value.chain(PSEUDO).chain(key).collect(),
        };
        let alone = self.all.len() > 1 && self.visible().count() == 1 || known.alias.starts_with('#');
        for name in names.into_iter().filter(|name| !without.contains(name)) {
            let flat = known.flat(name);
            items.push(plain(&flat, if alone { name } else { &flat }));
        }
    }
}

/// Is this flat column an item by itself?
pub(super) fn selects(items: &[SelectItem], name: &str) -> bool {
    items.iter().any(|item| matches!(item, SelectItem::Expr { expr, .. } if expression::as_name(expr) == Some(name)))
}

/// Puts another column in the place of the items that are this one.
pub(super) fn replace_item(items: &mut [SelectItem], name: &str, by: &str) {
    for item in items {
        if let SelectItem::Expr { expr, .. } = item
            && expression::as_name(expr) == Some(name)
        {
            *expr = expression::identifier(by);
        }
    }
}

fn plain(column: &str, name: &str) -> SelectItem {
    named(expression::identifier(column), name)
}

fn named(expr: Expr, name: &str) -> SelectItem {
    let span = Span { start: 0, end: 0 };
    SelectItem::Expr { expr, alias: Some(Name { value: name.to_owned(), span }), span }
}

/// A column as it is written with its source.
fn dotted(alias: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier([alias, column].map(|part| Ident::with_quote('`', part)).into())
}

/// Flat columns with their types and places.
pub(super) type Columns = [(String, SqlType, usize)];
