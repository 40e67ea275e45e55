//! What the catalogue shows: sources as tables, their columns, functions, settings; all of one moment.

use crate::catalog::{Catalog, Source};
use crate::parse::statement::SourceKind;
use crate::serve::postgres::names::shown;
use crate::serve::postgres::types::{ARRAYS, PgType, oid};
use crate::types::{SqlType, pseudo};
use std::sync::Arc;

/// The schema of all sources, as in Postgres.
pub(super) const PUBLIC: u32 = 2200;
pub(super) const PG_CATALOG: u32 = 11;
pub(super) const INFORMATION_SCHEMA: u32 = 13_000;
/// The owner of everything.
pub(super) const OWNER: u32 = 10;
/// The first number that Postgres gives to what users create.
const FIRST_OID: u32 = 16_384;

/// A function of the engine.
#[derive(Clone, Debug)]
pub(in crate::serve::postgres) struct Function {
    pub(in crate::serve::postgres) name: String,
    /// SCALAR, TABLE or AGGREGATE.
    pub(in crate::serve::postgres) kind: &'static str,
    pub(in crate::serve::postgres) arguments: String,
    pub(in crate::serve::postgres) returns: String,
    pub(in crate::serve::postgres) description: String,
}

/// All of it.
#[derive(Debug)]
pub(in crate::serve::postgres) struct Facts {
    pub(in crate::serve::postgres) database: String,
    pub(in crate::serve::postgres) user: String,
    pub(in crate::serve::postgres) is_admin: bool,
    pub(in crate::serve::postgres) application: String,
    pub(in crate::serve::postgres) process: i32,
    pub(in crate::serve::postgres) settings: Vec<(String, String)>,
    /// What the user may see.
    pub(in crate::serve::postgres) catalog: Arc<Catalog>,
    /// Empty unless the statement reads them.
    pub(in crate::serve::postgres) functions: Vec<Function>,
}

/// A column of a source.
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) ty: SqlType,
    pub(super) is_key: bool,
}

/// A stable number for a name: it is the same after a restart, and on every server.
pub(super) fn oid_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // Clients keep them in signed integers.
    FIRST_OID + hash % (i32::MAX as u32 - FIRST_OID)
}

/// The numbers of the catalogue's own tables, which clients compare with.
pub(super) fn system_oid(table: &str) -> u32 {
    match table {
        "pg_type" => 1247,
        "pg_attribute" => 1249,
        "pg_proc" => 1255,
        "pg_class" => 1259,
        "pg_database" => 1262,
        "pg_constraint" => 2606,
        "pg_namespace" => 2615,
        "pg_extension" => 3079,
        other => oid_of(&format!("pg_catalog {other}")),
    }
}

impl Facts {
    pub(super) fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.catalog.all()
    }

    /// The source that has this number.
    pub(super) fn source(&self, number: i64) -> Option<&Arc<Source>> {
        self.sources().find(|source| i64::from(oid_of(&source.name)) == number)
    }
}

/// The columns of a source as `SELECT *` returns them.
pub(super) fn attributes(source: &Source) -> Vec<Attribute> {
    let attribute = |column: &crate::types::Column, is_key| Attribute {
        name: shown(&column.name).into_owned(),
        ty: column.ty.clone(),
        is_key,
    };
    let is_table = source.kind == SourceKind::Table;
    let mut all: Vec<_> = source.schema.key.iter().map(|column| attribute(column, is_table)).collect();
    if source.window.is_some() {
        all.extend([pseudo::WINDOWSTART, pseudo::WINDOWEND].map(|name| Attribute {
            name: shown(name).into_owned(),
            ty: SqlType::Bigint,
            is_key: is_table && name == pseudo::WINDOWSTART,
        }));
    }
    all.extend(source.schema.value.iter().map(|column| attribute(column, false)));
    all
}

/// The positions of the primary key, from 1; empty for a stream.
pub(super) fn key_of(source: &Source) -> Vec<i32> {
    let keys = attributes(source).into_iter().enumerate().filter(|(_, attribute)| attribute.is_key);
    keys.map(|(at, _)| at as i32 + 1).collect()
}

/// `STREAM over the topic readings, JSON`
pub(super) fn description(source: &Source) -> String {
    let kind = match source.kind {
        SourceKind::Stream => "STREAM",
        SourceKind::Table => "TABLE",
    };
    let windowed = if source.window.is_some() { ", windowed" } else { "" };
    format!("{kind} over the topic {}, {}{windowed}", source.topic, source.value_format.name())
}

/// A type of Postgres.
pub(super) struct BuiltIn {
    pub(super) oid: u32,
    pub(super) name: &'static str,
    /// As format_type writes it.
    pub(super) long: &'static str,
    pub(super) size: i16,
    pub(super) category: &'static str,
}

const fn built_in(oid: u32, name: &'static str, long: &'static str, size: i16, category: &'static str) -> BuiltIn {
    BuiltIn { oid, name, long, size, category }
}

/// The types that columns have, and those that clients look for.
pub(super) const TYPES: &[BuiltIn] = &[
    built_in(oid::BOOL, "bool", "boolean", 1, "B"),
    built_in(oid::BYTEA, "bytea", "bytea", -1, "U"),
    built_in(18, "char", "\"char\"", 1, "Z"),
    built_in(19, "name", "name", 64, "S"),
    built_in(oid::INT8, "int8", "bigint", 8, "N"),
    built_in(oid::INT2, "int2", "smallint", 2, "N"),
    built_in(22, "int2vector", "int2vector", -1, "A"),
    built_in(oid::INT4, "int4", "integer", 4, "N"),
    built_in(24, "regproc", "regproc", 4, "N"),
    built_in(oid::TEXT, "text", "text", -1, "S"),
    built_in(oid::OID, "oid", "oid", 4, "N"),
    built_in(30, "oidvector", "oidvector", -1, "A"),
    built_in(oid::JSON, "json", "json", -1, "U"),
    built_in(oid::FLOAT4, "float4", "real", 4, "N"),
    built_in(oid::FLOAT8, "float8", "double precision", 8, "N"),
    built_in(oid::UNKNOWN, "unknown", "unknown", -2, "X"),
    built_in(1042, "bpchar", "character", -1, "S"),
    built_in(1043, "varchar", "character varying", -1, "S"),
    built_in(oid::DATE, "date", "date", 4, "D"),
    built_in(oid::TIME, "time", "time without time zone", 8, "D"),
    built_in(oid::TIMESTAMP, "timestamp", "timestamp without time zone", 8, "D"),
    built_in(oid::TIMESTAMPTZ, "timestamptz", "timestamp with time zone", 8, "D"),
    built_in(1186, "interval", "interval", 16, "T"),
    built_in(oid::NUMERIC, "numeric", "numeric", -1, "N"),
    built_in(2205, "regclass", "regclass", 4, "N"),
    built_in(2206, "regtype", "regtype", 4, "N"),
    built_in(2249, "record", "record", -1, "P"),
    built_in(2278, "void", "void", 4, "P"),
    built_in(2950, "uuid", "uuid", 16, "U"),
    built_in(oid::JSONB, "jsonb", "jsonb", -1, "U"),
];

/// The array type of an element's type.
pub(super) fn array_of(element: u32) -> Option<u32> {
    ARRAYS.iter().find(|(of, _)| *of == element).map(|(_, array)| *array)
}

/// A type's name as format_type writes it.
pub(super) fn type_name(number: i64, modifier: Option<i64>) -> String {
    let number = u32::try_from(number).unwrap_or(0);
    if let Some((element, _)) = ARRAYS.iter().find(|(_, array)| *array == number) {
        return format!("{}[]", type_name(i64::from(*element), None));
    }
    let Some(known) = TYPES.iter().find(|ty| ty.oid == number) else { return "???".to_owned() };
    match modifier.filter(|modifier| *modifier >= 4) {
        Some(modifier) if number == oid::NUMERIC => {
            format!("numeric({},{})", (modifier - 4) >> 16, (modifier - 4) & 0xffff)
        }
        Some(modifier) if matches!(number, 1042 | 1043) => format!("{}({})", known.long, modifier - 4),
        _ => known.long.to_owned(),
    }
}

/// The number of a type by either of its names; 0 = there is none.
pub(in crate::serve::postgres) fn type_number(name: &str) -> u32 {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    let plain = name.strip_suffix("[]").or_else(|| name.strip_prefix('_'));
    match plain {
        Some(element) => array_of(type_number(element)).unwrap_or(0),
        None => TYPES.iter().find(|ty| ty.name == name || ty.long == name).map_or(0, |ty| ty.oid),
    }
}

/// The number of a type as people write it: a name of Postgres, or one of the engine. `None` = there is no such type, 0 = it is
/// left open.
pub(in crate::serve::postgres) fn declared_type(name: &str) -> Option<u32> {
    let lower = name.trim().to_lowercase();
    if let Some(element) = lower.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
        return Some(array_of(declared_type(element)?).unwrap_or(oid::JSONB));
    }
    if let Some(element) = lower.strip_suffix("[]") {
        return array_of(declared_type(element)?);
    }
    Some(match lower.split('(').next().unwrap_or_default().trim() {
        "unknown" => 0,
        "int" => oid::INT4,
        "string" => oid::TEXT,
        "double" | "float" => oid::FLOAT8,
        "decimal" => oid::NUMERIC,
        "bytes" => oid::BYTEA,
        // The engine's TIMESTAMP is an instant.
        "timestamp" => oid::TIMESTAMPTZ,
        map if map.starts_with("map<") || map.starts_with("struct<") => oid::JSONB,
        known => Some(type_number(known)).filter(|number| *number != 0)?,
    })
}

/// A column's type on the wire.
pub(super) fn wire(ty: &SqlType) -> PgType {
    PgType::of(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_in_both_directions() {
        assert_eq!(type_name(1700, Some((12 << 16 | 3) + 4)), "numeric(12,3)");
        assert_eq!(type_name(1007, None), "integer[]");
        assert_eq!([type_number("integer"), type_number("pg_catalog.int4[]"), type_number("nope")], [23, 1007, 0]);
        assert!(oid_of("EVENTS") >= FIRST_OID && oid_of("EVENTS") != oid_of("COUNTS"));
    }
}
