//! Primary keys of tables: their names and numbers, and the index that a client expects behind one.

use super::facts::{Facts, attributes, oid_of};
use crate::catalog::Source;
use crate::serve::postgres::names::shown;

/// The name of a table's primary key.
pub(super) fn key_name(source: &Source) -> String {
    format!("{}_pkey", shown(&source.name))
}

/// The number of its index.
pub(super) fn key_oid(source: &Source) -> u32 {
    oid_of(&format!("{} key", source.name))
}

/// `CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)`
pub(super) fn index_definition(source: &Source) -> String {
    let keys: Vec<_> =
        attributes(source).into_iter().filter(|attribute| attribute.is_key).map(|key| key.name).collect();
    let (name, table) = (key_name(source), shown(&source.name));
    format!("CREATE UNIQUE INDEX {name} ON public.{table} USING btree ({})", keys.join(", "))
}

/// The source of a primary key, by the number of its index or of its constraint.
pub(super) fn source_of_key(facts: &Facts, number: i64) -> Option<&Source> {
    let is_its = |source: &&std::sync::Arc<Source>| {
        let constraint = oid_of(&format!("{} constraint", source.name));
        [key_oid(source), constraint].iter().any(|own| i64::from(*own) == number)
    };
    facts.sources().find(is_its).map(|source| &**source)
}
