//! Statements of drivers that are recognised as a whole, because the planner has no word for what they do: recursion over types,
//! and arrays that are expanded in the list of columns. Each is known by a function or name that nothing else uses.

use super::Answer;
use super::facts::{BuiltIn, Facts, TYPES, array_of, attributes, key_of, oid_of, wire};
use super::keys::key_name;
use crate::catalog::Source;
use crate::engine::result::rows::OutputColumn;
use crate::serve::postgres::names::shown;
use crate::serve::postgres::scan::{Token, scan};
use crate::types::SqlType;
use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use std::sync::Arc;

/// The answer, if it is one of them.
pub(super) fn answer(text: &str, facts: &Facts) -> Option<Answer> {
    match text {
        text if text.contains("typeinfo_tree") => Some(types(text)),
        text if text.contains("FKTABLE_NAME") => Some(foreign_keys()),
        text if text.contains("_pg_expandarray") && text.contains("NON_UNIQUE") => Some(index_info(text, facts)),
        text if text.contains("_pg_expandarray") && text.contains("atttypid") => Some(row_identifier(text, facts)),
        text if text.contains("_pg_expandarray") => Some(primary_keys(text, facts)),
        text if text.contains("generate_subscripts") && text.contains("conindid") && !text.contains("indoption") => {
            Some(constraints(text, facts))
        }
        text if text.contains("generate_subscripts") && text.contains("elements_opclass") => Some(indexes()),
        text if text.contains("parse_ident(") && text.contains("information_schema.columns") => {
            Some(columns(text, facts))
        }
        text if text.contains("current_setting('search_path')") && text.contains("information_schema.tables") => {
            Some(tables(facts))
        }
        _ => None,
    }
}

/// A result that is made column by column.
#[derive(Default)]
struct Made {
    columns: Vec<OutputColumn>,
    arrays: Vec<ArrayRef>,
}

impl Made {
    fn column(mut self, name: &str, ty: SqlType, array: ArrayRef) -> Made {
        self.columns.push(OutputColumn { name: name.to_owned(), ty });
        self.arrays.push(array);
        self
    }

    fn texts(self, name: &str, values: impl Iterator<Item = Option<String>>) -> Made {
        self.column(name, SqlType::String, Arc::new(values.collect::<StringArray>()))
    }

    fn numbers(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Made {
        self.column(name, SqlType::Bigint, Arc::new(values.collect::<Int64Array>()))
    }

    fn places(self, name: &str, values: impl Iterator<Item = i32>) -> Made {
        self.column(name, SqlType::Integer, Arc::new(values.map(Some).collect::<Int32Array>()))
    }

    fn answer(self) -> Answer {
        Answer { columns: self.columns, arrays: self.arrays }
    }
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<i64> {
    let number = |token: Token<'_>| match token {
        Token::Number(number) => number.parse().ok(),
        _ => None,
    };
    scan(text).filter_map(|(token, _)| number(token)).collect()
}

/// asyncpg's question about types that it does not know: array types here, behind their elements.
fn types(text: &str) -> Answer {
    let wanted = numbers(text);
    let is_wanted = |oid: u32| wanted.contains(&i64::from(oid));
    let arrays = TYPES.iter().filter_map(|ty| array_of(ty.oid).map(|array| (ty, array)));
    let arrays: Vec<(&BuiltIn, u32)> = arrays.filter(|(_, array)| is_wanted(*array)).collect();
    let is_element = |ty: &BuiltIn| arrays.iter().any(|(of, _)| of.oid == ty.oid);
    let plain = TYPES.iter().filter(|ty| is_wanted(ty.oid) || is_element(ty)).map(|ty| (ty, None));
    let all: Vec<(&BuiltIn, Option<u32>)> = plain.chain(arrays.iter().map(|(ty, array)| (*ty, Some(*array)))).collect();
    let each = || all.iter();
    let none = || all.iter().map(|_| None);
    Made::default()
        .numbers("oid", each().map(|(ty, array)| Some(i64::from(array.unwrap_or(ty.oid)))))
        .texts("ns", each().map(|_| Some("pg_catalog".to_owned())))
        .texts(
            "name",
            each().map(|(ty, array)| Some(if array.is_some() { format!("_{}", ty.name) } else { ty.name.to_owned() })),
        )
        .texts("kind", each().map(|_| Some("b".to_owned())))
        .numbers("basetype", none())
        .numbers("elemtype", each().map(|(ty, array)| array.map(|_| i64::from(ty.oid))))
        .texts("elemdelim", each().map(|(_, array)| array.map(|_| ",".to_owned())))
        .numbers("range_subtype", none())
        .texts("attrtypoids", all.iter().map(|_| None))
        .texts("attrnames", all.iter().map(|_| None))
        .places("depth", each().map(|_| 0))
        .texts("basetype_name", all.iter().map(|_| None))
        .texts("elemtype_name", each().map(|(ty, array)| array.map(|_| ty.long.to_owned())))
        .texts("range_subtype_name", all.iter().map(|_| None))
        .answer()
}

/// A key column of a table, and its place in the key.
struct Key<'a> {
    source: &'a Source,
    name: String,
    ty: SqlType,
    place: i32,
}

/// The key columns of the table that a text names in a string, or of all where it compares no name.
fn keys<'a>(text: &str, facts: &'a Facts) -> Vec<Key<'a>> {
    let texts: Vec<String> = scan(text)
        .filter_map(|(token, _)| match token {
            Token::Text(text) => Some(text),
            _ => None,
        })
        .collect();
    let is_named = text.contains("relname =");
    let mut keys = Vec::new();
    for source in facts.sources() {
        if is_named && !texts.iter().any(|text| *text == shown(&source.name)) {
            continue;
        }
        let all = attributes(source);
        for (at, number) in key_of(source).into_iter().enumerate() {
            let attribute = &all[number as usize - 1];
            let (name, ty) = (attribute.name.clone(), attribute.ty.clone());
            keys.push(Key { source, name, ty, place: at as i32 + 1 });
        }
    }
    keys
}

/// pgjdbc's getPrimaryKeys.
fn primary_keys(text: &str, facts: &Facts) -> Answer {
    let keys = keys(text, facts);
    Made::default()
        .texts("TABLE_CAT", keys.iter().map(|_| Some(facts.database.clone())))
        .texts("TABLE_SCHEM", keys.iter().map(|_| Some("public".to_owned())))
        .texts("TABLE_NAME", keys.iter().map(|key| Some(shown(&key.source.name).into_owned())))
        .texts("COLUMN_NAME", keys.iter().map(|key| Some(key.name.clone())))
        .places("KEY_SEQ", keys.iter().map(|key| key.place))
        .texts("PK_NAME", keys.iter().map(|key| Some(key_name(key.source))))
        .answer()
}

/// pgjdbc's getIndexInfo.
fn index_info(text: &str, facts: &Facts) -> Answer {
    let keys = keys(text, facts);
    let unique: BooleanArray = keys.iter().map(|_| Some(false)).collect();
    Made::default()
        .texts("TABLE_CAT", keys.iter().map(|_| Some(facts.database.clone())))
        .texts("TABLE_SCHEM", keys.iter().map(|_| Some("public".to_owned())))
        .texts("TABLE_NAME", keys.iter().map(|key| Some(shown(&key.source.name).into_owned())))
        .column("NON_UNIQUE", SqlType::Boolean, Arc::new(unique))
        .texts("INDEX_QUALIFIER", keys.iter().map(|_| None))
        .texts("INDEX_NAME", keys.iter().map(|key| Some(key_name(key.source))))
        .places("TYPE", keys.iter().map(|_| 3))
        .places("ORDINAL_POSITION", keys.iter().map(|key| key.place))
        .texts("COLUMN_NAME", keys.iter().map(|key| Some(key.name.clone())))
        .texts("ASC_OR_DESC", keys.iter().map(|_| Some("A".to_owned())))
        .numbers("CARDINALITY", keys.iter().map(|_| Some(0)))
        .numbers("PAGES", keys.iter().map(|_| Some(0)))
        .texts("FILTER_CONDITION", keys.iter().map(|_| None))
        .answer()
}

/// pgjdbc's getImportedKeys, getExportedKeys and getCrossReference: there are none.
fn foreign_keys() -> Answer {
    let names = [
        "PKTABLE_CAT",
        "PKTABLE_SCHEM",
        "PKTABLE_NAME",
        "PKCOLUMN_NAME",
        "FKTABLE_CAT",
        "FKTABLE_SCHEM",
        "FKTABLE_NAME",
        "FKCOLUMN_NAME",
        "KEY_SEQ",
        "UPDATE_RULE",
        "DELETE_RULE",
        "FK_NAME",
        "PK_NAME",
        "DEFERRABILITY",
    ];
    names.into_iter().fold(Made::default(), |made, name| made.texts(name, std::iter::empty())).answer()
}

/// pgjdbc's getBestRowIdentifier.
fn row_identifier(text: &str, facts: &Facts) -> Answer {
    let keys = keys(text, facts);
    Made::default()
        .texts("attname", keys.iter().map(|key| Some(key.name.clone())))
        .numbers("atttypid", keys.iter().map(|key| Some(i64::from(wire(&key.ty).oid))))
        .places("atttypmod", keys.iter().map(|key| wire(&key.ty).modifier))
        .answer()
}

/// SQLAlchemy's question about primary keys and unique constraints of tables, by their numbers.
fn constraints(text: &str, facts: &Facts) -> Answer {
    let wanted = numbers(text);
    let primary = text.contains("contype = 'p'");
    let is_asked = |source: &&Arc<Source>| {
        primary && wanted.contains(&i64::from(oid_of(&source.name))) && !key_of(source).is_empty()
    };
    let found: Vec<&Arc<Source>> = facts.sources().filter(is_asked).collect();
    let mut columns = ListBuilder::new(StringBuilder::new());
    for source in &found {
        let names = attributes(source).into_iter().filter(|attribute| attribute.is_key).map(|key| Some(key.name));
        columns.append_value(names);
    }
    let distinct: BooleanArray = found.iter().map(|_| Some(false)).collect();
    Made::default()
        .numbers("conrelid", found.iter().map(|source| Some(i64::from(oid_of(&source.name)))))
        .column("cols", SqlType::Array(Box::new(SqlType::String)), Arc::new(columns.finish()))
        .texts("conname", found.iter().map(|source| Some(key_name(source))))
        .texts("description", found.iter().map(|_| None))
        .places("indnkeyatts", found.iter().map(|source| key_of(source).len() as i32))
        .column("indnullsnotdistinct", SqlType::Boolean, Arc::new(distinct))
        .answer()
}

/// Grafana's question about tables: those that the search path finds.
fn tables(facts: &Facts) -> Answer {
    Made::default().texts("table", facts.sources().map(|source| Some(shown(&source.name).into_owned()))).answer()
}

/// Grafana's question about the columns of a table, which it names in strings.
fn columns(text: &str, facts: &Facts) -> Answer {
    let names: Vec<String> = scan(text).filter_map(|(token, _)| token.name()).collect();
    let named = facts.sources().find(|source| names.iter().any(|name| *name == shown(&source.name)));
    let all = named.map(|source| attributes(source)).unwrap_or_default();
    let ty = |ty: &SqlType| super::facts::type_name(i64::from(wire(ty).oid), None);
    Made::default()
        .texts("column", all.iter().map(|attribute| Some(attribute.name.clone())))
        .texts("type", all.iter().map(|attribute| Some(ty(&attribute.ty))))
        .answer()
}

/// SQLAlchemy's question about indexes beside primary keys: there are none.
fn indexes() -> Answer {
    let names = [
        "indrelid",
        "relname",
        "indisunique",
        "indisvalid",
        "has_constraint",
        "indoption",
        "reloptions",
        "relam",
        "filter_definition",
        "indnkeyatts",
        "indnullsnotdistinct",
        "elements",
        "elements_is_expr",
        "elements_opclass",
    ];
    names.into_iter().fold(Made::default(), |made, name| made.texts(name, std::iter::empty())).answer()
}
