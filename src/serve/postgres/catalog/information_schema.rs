//! The rows of information_schema's views.

use super::facts::{Attribute, Facts, attributes, key_of, type_name, wire};
use super::keys::key_name;
use super::table::{Row, row};
use crate::catalog::Source;
use crate::serve::postgres::names::shown;
use crate::types::SqlType;

/// The rows of a view; a name that is not here has none.
pub(super) fn rows(table: &str, facts: &Facts) -> Vec<Row> {
    let database = facts.database.as_str();
    match table {
        "information_schema.schemata" => ["pg_catalog", "public", "information_schema"].map(|schema| row![
            catalog_name: database, schema_name: schema, schema_owner: facts.user.as_str(),
        ]).into(),
        "information_schema.tables" => facts.sources().map(|source| row![
            table_catalog: database, table_schema: "public", table_name: shown(&source.name).into_owned(),
            table_type: "BASE TABLE", is_insertable_into: if source.read_only { "NO" } else { "YES" }, is_typed: "NO",
        ]).collect(),
        "information_schema.columns" => facts.sources().flat_map(|source| columns(source, database)).collect(),
        "information_schema.table_constraints" => keyed(facts).map(|source| row![
            constraint_catalog: database, constraint_schema: "public", constraint_name: key_name(source),
            table_catalog: database, table_schema: "public", table_name: shown(&source.name).into_owned(),
            constraint_type: "PRIMARY KEY", is_deferrable: "NO", initially_deferred: "NO", enforced: "YES",
        ]).collect(),
        "information_schema.key_column_usage" => keyed(facts).flat_map(|source| key_columns(source, database)).collect(),
        "information_schema.constraint_column_usage" => keyed(facts).flat_map(|source| {
            let key = |column: &Attribute| row![
                table_catalog: database, table_schema: "public", table_name: shown(&source.name).into_owned(),
                column_name: column.name.as_str(), constraint_catalog: database, constraint_schema: "public",
                constraint_name: key_name(source),
            ];
            attributes(source).iter().filter(|column| column.is_key).map(key).collect::<Vec<_>>()
        }).collect(),
        "information_schema.routines" => facts.functions.iter().map(|function| row![
            specific_catalog: database, specific_schema: "public", specific_name: function.name.as_str(),
            routine_catalog: database, routine_schema: "public", routine_name: shown(&function.name).into_owned(),
            routine_type: "FUNCTION", data_type: function.returns.as_str(),
        ]).collect(),
        "information_schema.table_privileges" | "information_schema.role_table_grants" => facts.sources().map(|source| row![
            grantor: facts.user.as_str(), grantee: facts.user.as_str(), table_catalog: database, table_schema: "public",
            table_name: shown(&source.name).into_owned(), privilege_type: "SELECT", is_grantable: "NO",
            with_hierarchy: "YES",
        ]).collect(),
        "information_schema.character_sets" => vec![row![character_set_name: "UTF8", default_collate_name: "C.UTF-8"]],
        "information_schema.information_schema_catalog_name" => vec![row![catalog_name: database]],
        "information_schema.enabled_roles" => vec![row![role_name: facts.user.as_str()]],
        _ => Vec::new(),
    }
}

fn keyed(facts: &Facts) -> impl Iterator<Item = &std::sync::Arc<Source>> {
    facts.sources().filter(|source| !key_of(source).is_empty())
}

fn columns(source: &Source, database: &str) -> Vec<Row> {
    let column = |(at, column): (usize, Attribute)| {
        let (oid, full) = (wire(&column.ty).oid, type_name(i64::from(wire(&column.ty).oid), None));
        let data_type = if full.ends_with("[]") { "ARRAY".to_owned() } else { full };
        let udt = super::facts::TYPES.iter().find(|ty| ty.oid == oid).map_or_else(
            || {
                format!(
                    "_{}",
                    super::facts::TYPES
                        .iter()
                        .find(|ty| super::facts::array_of(ty.oid) == Some(oid))
                        .map_or("", |ty| ty.name)
                )
            },
            |ty| ty.name.to_owned(),
        );
        let mut row = row![
            table_catalog: database, table_schema: "public", table_name: shown(&source.name).into_owned(),
            column_name: column.name, ordinal_position: at as i64 + 1,
            is_nullable: if column.is_key { "NO" } else { "YES" }, data_type: data_type,
            udt_catalog: database, udt_schema: "pg_catalog", udt_name: udt,
            dtd_identifier: (at + 1).to_string(), is_self_referencing: "NO", is_identity: "NO", identity_cycle: "NO",
            is_generated: "NEVER", is_updatable: if source.read_only { "NO" } else { "YES" },
        ];
        let (precision, radix, scale): (Option<i64>, i64, Option<i64>) = match &column.ty {
            SqlType::Integer => (Some(32), 2, Some(0)),
            SqlType::Bigint => (Some(64), 2, Some(0)),
            SqlType::Double => (Some(53), 2, None),
            SqlType::Decimal(precision, scale) => (Some(i64::from(*precision)), 10, Some(i64::from(*scale))),
            _ => (None, 0, None),
        };
        if let Some(precision) = precision {
            row.extend(row![numeric_precision: precision, numeric_precision_radix: radix]);
        }
        row.extend(scale.map(|scale| row![numeric_scale: scale]).into_iter().flatten());
        if matches!(column.ty, SqlType::Time | SqlType::Timestamp) {
            row.extend(row![datetime_precision: 3_i64]);
        }
        row
    };
    attributes(source).into_iter().enumerate().map(column).collect()
}

fn key_columns(source: &Source, database: &str) -> Vec<Row> {
    let all = attributes(source);
    let key = |(at, number): (usize, i32)| {
        row![
            constraint_catalog: database, constraint_schema: "public", constraint_name: key_name(source),
            table_catalog: database, table_schema: "public", table_name: shown(&source.name).into_owned(),
            column_name: all[number as usize - 1].name.as_str(), ordinal_position: at as i64 + 1,
        ]
    };
    key_of(source).into_iter().enumerate().map(key).collect()
}
