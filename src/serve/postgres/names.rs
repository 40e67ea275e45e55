//! Names in two worlds: unquoted names are upper case here, and lower case in Postgres.
//!
//! ```text
//! shown     READINGS -> readings      userId -> userId
//! found     "readings" -> "READINGS"  unless a source or column has that very name
//! ```
//!
//! psql, drivers and BI tools quote the names that they were shown. Only case is changed, so that places in a text stay.

use super::scan::{Token, scan};
use crate::catalog::Catalog;
use crate::types::pseudo;
use std::borrow::Cow;

/// The schema of all sources.
const SCHEMA: &str = "public";

/// The name as clients see it.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    match name.chars().any(char::is_lowercase) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.to_lowercase()),
    }
}

/// The text with each name in double quotes that is all lower case in upper case, where that is what the catalogue has, and
/// without the schema in front of names.
pub(super) fn resolved<'a>(text: &'a str, catalog: &Catalog) -> Cow<'a, str> {
    let has_schema = text.as_bytes().windows(SCHEMA.len()).any(|part| part.eq_ignore_ascii_case(SCHEMA.as_bytes()));
    if !has_schema && !text.contains('"') {
        return Cow::Borrowed(text);
    }
    let mut out = text.to_owned();
    let mut tokens = scan(text).peekable();
    while let Some((token, span)) = tokens.next() {
        let followed = tokens.peek().filter(|(next, _)| *next == Token::Symbol('.')).map(|(_, dot)| dot.end);
        if let (Some(end), Some(name)) = (followed, token.name().filter(|_| !matches!(token, Token::Text(_))))
            && name == SCHEMA
            && !is_known(catalog, &name.to_uppercase())
        {
            // Blanks keep the places of what follows.
            out.replace_range(span.start..end, &" ".repeat(end - span.start));
            tokens.next();
            continue;
        }
        let Token::Quoted(name) = token else { continue };
        let upper = name.to_ascii_uppercase();
        if upper != name && shown(&upper) == name && !is_known(catalog, &name) && is_known(catalog, &upper) {
            out.replace_range(span.start..span.end, &text[span.start..span.end].to_ascii_uppercase());
        }
    }
    Cow::Owned(out)
}

/// Whether a source, a column or a field of one has this name.
fn is_known(catalog: &Catalog, name: &str) -> bool {
    pseudo::ALL.contains(&name)
        || catalog.source(name).is_some()
        || catalog.all().any(|source| source.schema.columns().any(|column| column.name == name))
}

/// The source that a name of a client means: the name itself, or the same in upper case.
pub(super) fn source_name(catalog: &Catalog, name: &str) -> String {
    match catalog.source(name) {
        Some(_) => name.to_owned(),
        None => name.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_catalogue_change() {
        assert_eq!(
            (shown("READINGS"), shown("userId"), shown("A_1")),
            ("readings".into(), "userId".into(), "a_1".into())
        );
        let empty = Catalog::default();
        let text = "SELECT \"rowtime\", \"x\", '\"rowtime\"' FROM \"readings\" AS \"source\"";
        assert_eq!(resolved(text, &empty), text.replacen("\"rowtime\"", "\"ROWTIME\"", 1));
        assert_eq!(
            resolved("SELECT 'public.x' FROM \"public\".x, PUBLIC.y", &empty),
            "SELECT 'public.x' FROM          x,        y"
        );
    }
}
