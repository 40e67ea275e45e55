//! The rows of pg_catalog's tables. A table that is not here is empty.

use super::facts::{
    Facts, INFORMATION_SCHEMA, OWNER, PG_CATALOG, PUBLIC, TYPES, array_of, attributes, declared_type, description,
    key_of, oid_of, system_oid, wire,
};
use super::keys::{index_definition, key_name, key_oid};
use super::table::{Row, row};
use crate::catalog::Source;
use crate::serve::postgres::names::shown;
use crate::serve::postgres::types::oid;

/// UTF8.
const ENCODING: i64 = 6;

/// The rows of a table.
pub(super) fn rows(table: &str, facts: &Facts) -> Vec<Row> {
    match table {
        "pg_class" => classes(facts),
        "pg_attribute" => facts.sources().flat_map(|source| of_columns(source)).collect(),
        "pg_namespace" => vec![
            row![oid: PG_CATALOG, nspname: "pg_catalog", nspowner: OWNER],
            row![oid: PUBLIC, nspname: "public", nspowner: OWNER],
            row![oid: INFORMATION_SCHEMA, nspname: "information_schema", nspowner: OWNER],
        ],
        "pg_type" => types(),
        "pg_proc" => functions(facts),
        "pg_constraint" => facts.sources().filter_map(|source| constraint(source)).collect(),
        "pg_index" => facts.sources().filter_map(|source| index(source)).collect(),
        "pg_indexes" => facts.sources().filter(|source| !key_of(source).is_empty()).map(|source| indexed(source)).collect(),
        "pg_database" => vec![row![
            oid: oid_of(&facts.database), datname: facts.database.as_str(), datdba: OWNER, encoding: ENCODING,
            datlocprovider: "c", datallowconn: true, datconnlimit: -1_i64, dattablespace: 1663_i64,
            datcollate: "C.UTF-8", datctype: "C.UTF-8",
        ]],
        "pg_roles" | "pg_authid" => vec![row![
            oid: OWNER, rolname: facts.user.as_str(), rolsuper: facts.is_admin, rolinherit: true,
            rolcanlogin: true, rolconnlimit: -1_i64,
        ]],
        "pg_user" => vec![row![usename: facts.user.as_str(), usesysid: OWNER, usesuper: facts.is_admin]],
        "pg_am" => vec![
            row![oid: 2_i64, amname: "heap", amhandler: "heap_tableam_handler", amtype: "t"],
            row![oid: 403_i64, amname: "btree", amhandler: "bthandler", amtype: "i"],
        ],
        "pg_description" => facts.sources().map(|source| row![
            objoid: oid_of(&source.name), classoid: system_oid("pg_class"), description: description(source),
        ]).collect(),
        "pg_settings" => facts.settings.iter().map(|(name, value)| row![
            name: name.as_str(), setting: value.as_str(), category: "Tidegate", context: "user", vartype: "string",
            source: "session", boot_val: value.as_str(), reset_val: value.as_str(),
        ]).collect(),
        "pg_tables" => facts.sources().map(|source| row![
            schemaname: "public", tablename: shown(&source.name).into_owned(), tableowner: facts.user.as_str(),
            hasindexes: !key_of(source).is_empty(),
        ]).collect(),
        "pg_stat_user_tables" | "pg_stat_all_tables" | "pg_statio_user_tables" => facts.sources().map(|source| row![
            relid: oid_of(&source.name), schemaname: "public", relname: shown(&source.name).into_owned(),
        ]).collect(),
        "pg_language" => vec![
            row![oid: 12_i64, lanname: "internal", lanowner: OWNER],
            row![oid: 14_i64, lanname: "sql", lanowner: OWNER, lanpltrusted: true],
        ],
        "pg_tablespace" => vec![row![oid: 1663_i64, spcname: "pg_default", spcowner: OWNER]],
        "pg_collation" => vec![row![
            oid: 100_i64, collname: "default", collnamespace: PG_CATALOG, collowner: OWNER, collprovider: "d",
            collisdeterministic: true, collencoding: -1_i64,
        ]],
        "pg_stat_activity" => vec![row![
            datid: oid_of(&facts.database), datname: facts.database.as_str(), pid: i64::from(facts.process),
            usesysid: OWNER, usename: facts.user.as_str(), application_name: facts.application.as_str(),
            state: "active", backend_type: "client backend",
        ]],
        "pg_stat_database" => vec![row![datid: oid_of(&facts.database), datname: facts.database.as_str(), numbackends: 1_i64]],
        "pg_timezone_names" => vec![row![name: "UTC", abbrev: "UTC", utc_offset: "00:00:00"]],
        _ => Vec::new(),
    }
}

fn classes(facts: &Facts) -> Vec<Row> {
    let table = |source: &Source| {
        row![
            oid: oid_of(&source.name), relname: shown(&source.name).into_owned(), relnamespace: PUBLIC, relowner: OWNER,
            relam: 2_i64, relfilenode: oid_of(&source.name), reltuples: -1_i64, relhasindex: !key_of(source).is_empty(),
            relpersistence: "p", relkind: "r", relnatts: attributes(source).len() as i64, relispopulated: true,
            relreplident: "d",
        ]
    };
    let key = |source: &Source| {
        row![
            oid: key_oid(source), relname: key_name(source), relnamespace: PUBLIC, relowner: OWNER, relam: 403_i64,
            relfilenode: key_oid(source), relpersistence: "p", relkind: "i", relnatts: key_of(source).len() as i64,
            relispopulated: true, relreplident: "n",
        ]
    };
    let tables = facts.sources().map(|source| table(source));
    tables.chain(facts.sources().filter(|source| !key_of(source).is_empty()).map(|source| key(source))).collect()
}

fn of_columns(source: &Source) -> Vec<Row> {
    let number = oid_of(&source.name);
    let attribute = |(at, attribute): (usize, super::facts::Attribute)| {
        let ty = wire(&attribute.ty);
        let is_array = super::facts::type_name(i64::from(ty.oid), None).ends_with("[]");
        row![
            attrelid: number, attname: attribute.name, atttypid: ty.oid, attstattarget: -1_i64,
            attlen: i64::from(ty.size), attnum: at as i64 + 1, attndims: i64::from(is_array),
            attcacheoff: -1_i64, atttypmod: i64::from(ty.modifier), attbyval: ty.size > 0, attalign: "i",
            attstorage: if ty.size > 0 { "p" } else { "x" }, attnotnull: attribute.is_key, attislocal: true,
        ]
    };
    attributes(source).into_iter().enumerate().map(attribute).collect()
}

fn types() -> Vec<Row> {
    let mut rows = Vec::new();
    for ty in TYPES {
        let kind = if ty.category == "P" { "p" } else { "b" };
        let input = format!("{}in", ty.name);
        rows.push(row![
            oid: ty.oid, typname: ty.name, typnamespace: PG_CATALOG, typowner: OWNER, typlen: i64::from(ty.size),
            typbyval: ty.size > 0 && ty.size <= 8, typtype: kind, typcategory: ty.category, typisdefined: true,
            typdelim: ",", typarray: array_of(ty.oid).unwrap_or(0), typinput: input.as_str(),
            typoutput: format!("{}out", ty.name), typreceive: format!("{}recv", ty.name),
            typsend: format!("{}send", ty.name), typtypmod: -1_i64,
        ]);
        if let Some(array) = array_of(ty.oid) {
            rows.push(row![
                oid: array, typname: format!("_{}", ty.name), typnamespace: PG_CATALOG, typowner: OWNER,
                typlen: -1_i64, typtype: "b", typcategory: "A", typisdefined: true, typdelim: ",", typelem: ty.oid,
                typinput: "array_in", typoutput: "array_out", typreceive: "array_recv", typsend: "array_send",
                typtypmod: -1_i64,
            ]);
        }
    }
    rows
}

fn functions(facts: &Facts) -> Vec<Row> {
    let function = |function: &super::facts::Function| {
        let aggregate = function.kind == "AGGREGATE";
        row![
            oid: oid_of(&format!("{}()", function.name)), proname: shown(&function.name).into_owned(),
            pronamespace: PUBLIC, proowner: OWNER, prolang: 12_i64, prokind: prokind(function.kind),
            provolatile: "i", proparallel: "s", proretset: function.kind == "TABLE", proisagg: aggregate,
            prosrc: function.description.as_str(), prorettype: returned(&function.returns),
            pronargs: arguments(&function.arguments).len() as i64,
            proargtypes: arguments(&function.arguments).join(" "),
        ]
    };
    facts.functions.iter().map(function).collect()
}

/// The type of a result; what has no type of Postgres is shown as text.
fn returned(ty: &str) -> u32 {
    declared_type(ty).filter(|ty| *ty != 0).unwrap_or(oid::TEXT)
}

/// The types of arguments by their numbers. A comma between `<` and `>` parts no arguments.
fn arguments(list: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let parts = list.split(|c| {
        depth += i32::from(c == '<') + i32::from(c == '(') - i32::from(c == '>') - i32::from(c == ')');
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(|part| returned(part).to_string()).collect()
}

fn constraint(source: &Source) -> Option<Row> {
    let key = key_of(source);
    (!key.is_empty()).then(|| {
        row![
            oid: oid_of(&format!("{} constraint", source.name)), conname: key_name(source), connamespace: PUBLIC,
            contype: "p", convalidated: true, conrelid: oid_of(&source.name), conindid: key_oid(source),
            confupdtype: " ", confdeltype: " ", confmatchtype: " ", conislocal: true, connoinherit: true, conkey: key,
        ]
    })
}

fn index(source: &Source) -> Option<Row> {
    let key = key_of(source);
    let count = key.len();
    (!key.is_empty()).then(|| row![
        indexrelid: key_oid(source), indrelid: oid_of(&source.name), indnatts: count as i64, indnkeyatts: count as i64,
        indisunique: true, indisprimary: true, indimmediate: true, indisvalid: true, indisready: true, indislive: true,
        indkey: key, indcollation: vec![0; count], indclass: vec![0; count], indoption: vec![0; count],
    ])
}

fn indexed(source: &Source) -> Row {
    row![
        schemaname: "public", tablename: shown(&source.name).into_owned(), indexname: key_name(source),
        indexdef: index_definition(source),
    ]
}

/// Postgres' letter for a kind of function.
fn prokind(kind: &str) -> &'static str {
    match kind {
        "AGGREGATE" => "a",
        "WINDOW" => "w",
        _ => "f",
    }
}
