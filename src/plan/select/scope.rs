//! Which names a clause sees.

use crate::error::{Error, Result};
use crate::parse::statement::SelectItem;
use crate::plan::scalar::Scope;
use crate::plan::select::expression;
use crate::types::nearest;
use crate::types::{SqlType, pseudo};

/// The columns that one clause sees, numbered as the plan below numbers them.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Names {
    clause: &'static str,
    alias: String,
    columns: Vec<(String, usize, SqlType)>,
    /// What an unknown column of this clause most likely means; `{}` is replaced by its name.
    note: &'static str,
    /// A WINDOW clause follows, whose bounds are available after grouping.
    windowed: bool,
    /// The names of the sources of a join.
    sources: Vec<String>,
    /// What the SELECT list names: an alias, and the expression behind it.
    aliases: Vec<(String, String)>,
}

impl Names {
    /// Nothing yet, for a clause that errors call `clause`.
    pub(in crate::plan) fn new(clause: &'static str, alias: &str) -> Names {
        Names {
            clause,
            alias: alias.to_owned(),
            columns: Vec::new(),
            note: "",
            windowed: false,
            sources: vec![],
            aliases: vec![],
        }
    }

    /// The same columns for another clause.
    pub(in crate::plan) fn of(&self, clause: &'static str) -> Names {
        Names { clause, ..self.clone() }
    }

    /// The same with words for an unknown column.
    pub(in crate::plan) fn with_note(mut self, note: &'static str) -> Names {
        self.note = note;
        self
    }

    /// The same where a WINDOW clause follows, or none.
    pub(in crate::plan) fn before_window(mut self, windowed: bool) -> Names {
        self.windowed = windowed;
        self
    }

    /// The same where columns may be qualified with these sources of a join.
    pub(in crate::plan) fn with_sources(mut self, sources: Vec<String>) -> Names {
        self.sources = sources;
        self
    }

    /// The same with the aliases of the SELECT list, which the clauses before it do not see.
    pub(in crate::plan) fn with_aliases(mut self, items: &[SelectItem]) -> Names {
        let alias = |item: &SelectItem| match item {
            SelectItem::Expr { expr, alias: Some(alias), .. } => Some((alias.value.clone(), expression::text(expr))),
            _ => None,
        };
        self.aliases = items.iter().filter_map(alias).collect();
        self
    }

    /// One more column.
    pub(in crate::plan) fn add(&mut self, name: &str, index: usize, ty: SqlType) {
        self.columns.push((name.to_owned(), index, ty));
    }

    /// Is there such a column?
    pub(in crate::plan) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.0 == name)
    }

    /// A column by name, `qualifier` being the source's name in this statement.
    pub(in crate::plan) fn lookup(&self, qualifier: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
        let known = qualifier.is_none_or(|q| q == self.alias);
        if let Some((_, index, ty)) = self.columns.iter().find(|c| known && c.0 == name) {
            return Ok((*index, ty.clone()));
        }
        if name.starts_with("#query_") || name.starts_with("#exists_") {
            return Err(Error::statement(format!("a subquery is not supported in this place of {}", self.clause))
                .with_hint("WITH or a query in FROM gives it a name, which can be joined"));
        }
        let shown = qualifier.map_or_else(|| name.to_owned(), |q| format!("{q}.{name}"));
        if self.clause == "WHERE" && self.windowed && [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name) {
            return Err(Error::statement(format!("Error in WHERE expression: Unknown column {name}."))
                .with_hint("window bounds are available after grouping: in SELECT and HAVING"));
        }
        if let Some(qualifier) = qualifier
            && !known
            && !self.sources.iter().any(|s| s == qualifier)
        {
            return Err(self.unknown_qualifier(qualifier, name));
        }
        let error = Error::statement(format!(
            "{} column '{shown}' cannot be resolved.{}",
            self.clause,
            self.note.replace("{}", name)
        ))
        .told_as("Line: {line}, Col: {column}: ");
        let alias = self.aliases.iter().find(|(alias, _)| qualifier.is_none() && alias == name);
        if let Some((alias, expr)) = alias
            && ["WHERE", "GROUP BY", "PARTITION BY", "HAVING"].contains(&self.clause)
        {
            return Err(error.with_hint(format!(
                "{} does not see the aliases of the SELECT list: write {expr} for {alias}",
                self.clause
            )));
        }
        let near = nearest(name, self.columns.iter().map(|c| c.0.as_str()));
        Err(match near {
            Some(near) if known => error.with_hint(format!("did you mean {near}?")),
            // In double quotes, as a text would be elsewhere.
            _ if name.chars().any(char::is_lowercase) => {
                error.with_hint("strings take single quotes, and names without quotes are upper-cased")
            }
            _ => error,
        })
    }
}

/// The error for a qualifier that names no source of the statement.
pub(in crate::plan) fn unknown_source(name: &str) -> Error {
    Error::statement(format!("Failed to prepare statement: '{name}' is not a valid stream/table name or alias."))
}

impl Names {
    fn unknown_qualifier(&self, qualifier: &str, name: &str) -> Error {
        let error = unknown_source(qualifier);
        let columns = || self.columns.iter().map(|c| (c.0.as_str(), &c.2));
        if columns().any(|(column, ty)| column == qualifier && matches!(ty, SqlType::Struct(_))) {
            return error
                .with_hint(format!("{qualifier} is a STRUCT, whose fields are taken with ->: {qualifier}->{name}"));
        }
        // Columns of joins have the names of their sources in front.
        let has = |source: &&String| self.has(&format!("{source}_{name}"));
        let sources = self.sources.iter().filter(has).chain((!self.alias.is_empty()).then_some(&self.alias));
        match nearest(qualifier, sources.map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean {near}.{name}?")),
            None => error,
        }
    }
}

impl Scope for Names {
    fn column(&self, qualifier: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
        self.lookup(qualifier, name)
    }
}
