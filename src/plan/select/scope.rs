//! Which names a clause sees.

use crate::error::{Error, Result};
use crate::plan::scalar::Scope;
use crate::types::nearest;
use crate::types::{SqlType, pseudo};

/// The columns that one clause sees, numbered as the plan below numbers them.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Names {
    clause: &'static str,
    alias: String,
    columns: Vec<(String, usize, SqlType)>,
    /// What an unknown column of this clause most likely means; `{}` stands for its name.
    note: &'static str,
    /// A WINDOW clause follows, whose bounds are known after the grouping only.
    windowed: bool,
}

impl Names {
    /// Nothing yet, for a clause that errors call `clause`.
    pub(in crate::plan) fn new(clause: &'static str, alias: &str) -> Names {
        Names { clause, alias: alias.to_owned(), columns: Vec::new(), note: "", windowed: false }
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
        let shown = qualifier.map_or_else(|| name.to_owned(), |q| format!("{q}.{name}"));
        if self.clause == "WHERE" && self.windowed && [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name) {
            return Err(Error::statement(format!("Error in WHERE expression: Unknown column {name}."))
                .with_hint("window bounds are known after the grouping only: in SELECT and HAVING"));
        }
        let error = Error::statement(format!(
            "{} column '{shown}' cannot be resolved.{}",
            self.clause,
            self.note.replace("{}", name)
        ));
        let near = nearest(name, self.columns.iter().map(|c| c.0.as_str()));
        Err(match near {
            Some(near) if known => error.with_hint(format!("did you mean {near}?")),
            // In double quotes, as a text would be elsewhere.
            _ if name.chars().any(char::is_lowercase) => {
                error.with_hint("a text stands in single quotes, a name without quotes is upper case")
            }
            _ => error,
        })
    }
}

impl Scope for Names {
    fn column(&self, qualifier: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
        self.lookup(qualifier, name)
    }
}
