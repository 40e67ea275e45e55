//! SHOW FUNCTIONS and DESCRIBE FUNCTION: the registry's scalar and table functions, the functions that take lambdas, and the
//! aggregates, in one form; behind them those of DataFusion (`native_functions`).
//!
//! ```text
//! DESCRIBE FUNCTION lpad  ->  LPAD(STRING, INTEGER, STRING) -> STRING
//! ```
//! The HTTP API requires the types of arguments and results one by one (ksqlDB's `FunctionInfo` and `ArgumentInfo`), the prompt
//! prints the call as text: both are made of [`Signature`].

use crate::engine::introspect::native_functions;
use crate::engine::result::entity::{Entity, FunctionHelp, FunctionRow, Signature};
use crate::error::{Error, Result};
use crate::functions::{Entry, Overload, Registry, aggregate};
use crate::parse::statement::Name;
use crate::plan::scalar::Higher;
use crate::types::nearest;
use std::collections::BTreeSet;

impl Signature {
    fn of(overload: &Overload) -> Signature {
        Signature {
            arguments: overload.params.iter().map(ToString::to_string).collect(),
            variadic: overload.variadic,
            returns: overload.returned(),
        }
    }

    /// `NAME(STRING, INTEGER...)`
    pub fn call(&self, name: &str) -> String {
        format!("{name}({}{})", self.arguments.join(", "), if self.variadic { "..." } else { "" })
    }
}

/// Arguments, and the type of the result.
type Call = (&'static [&'static str], &'static str);

/// What an aggregate does, and how it is called. `T` is any type, `N` a number.
struct AggregateHelp {
    name: &'static str,
    description: &'static str,
    calls: &'static [Call],
}

const fn help(name: &'static str, description: &'static str, calls: &'static [Call]) -> AggregateHelp {
    AggregateHelp { name, description, calls }
}

const AGGREGATES: [AggregateHelp; 18] = [
    help("ATTR", "The value that all rows of a group share, NULL if there are several.", &[(&["T"], "T")]),
    help(
        "AVG",
        "The mean of the values that are not NULL, 0.0 for none.",
        &[(&["INTEGER"], "DOUBLE"), (&["BIGINT"], "DOUBLE"), (&["DOUBLE"], "DOUBLE")],
    ),
    help("COLLECT_LIST", "All values of a group, NULLs included, in the order of arrival.", &[(&["T"], "ARRAY<T>")]),
    help("COLLECT_SET", "The distinct values of a group, in the order of arrival.", &[(&["T"], "ARRAY<T>")]),
    help("CORRELATION", "The correlation coefficient of two columns of numbers.", &[(&["N", "N"], "DOUBLE")]),
    help(
        "COUNT",
        "The number of rows of a group, or of values that are not NULL.",
        &[(&[], "BIGINT"), (&["T"], "BIGINT")],
    ),
    help("COUNT_DISTINCT", "An estimate of the number of distinct values (HyperLogLog).", &[(&["T"], "BIGINT")]),
    help("EARLIEST_BY_OFFSET", "The first value of a group by offset, or the first n values.", BY_OFFSET),
    help("HISTOGRAM", "How often each of up to 1,000 values occurs.", &[(&["STRING"], "MAP<STRING, BIGINT>")]),
    help("LATEST_BY_OFFSET", "The last value of a group by offset, or the last n values.", BY_OFFSET),
    help("MAX", "The largest value that is not NULL.", &[(&["T"], "T")]),
    help("MIN", "The smallest value that is not NULL.", &[(&["T"], "T")]),
    help("STDDEV_SAMP", "The sample variance, as in ksqlDB.", &[(&["N"], "DOUBLE")]),
    help("STDDEV_SAMPLE", "The sample standard deviation.", &[(&["N"], "DOUBLE")]),
    help(
        "SUM",
        "The sum of the values that are not NULL, 0 for none.",
        &[(&["INTEGER"], "INTEGER"), (&["BIGINT"], "BIGINT"), (&["DOUBLE"], "DOUBLE"), (&["DECIMAL"], "DECIMAL")],
    ),
    help("SUM_LIST", "The sum of all items of all arrays of a group.", &[(&["ARRAY<N>"], "N")]),
    help(
        "TOPK",
        "The k largest values in descending order, optionally with other columns of their rows.",
        &[(&["T", "INTEGER"], "ARRAY<T>"), (&["T", "ANY", "INTEGER"], "ARRAY<STRUCT<sort_col T, col0 ANY>>")],
    ),
    help("TOPKDISTINCT", "The k largest distinct values in descending order.", &[(&["T", "INTEGER"], "ARRAY<T>")]),
];

const BY_OFFSET: &[Call] = &[
    (&["T"], "T"),
    (&["T", "BOOLEAN"], "T"),
    (&["T", "INTEGER"], "ARRAY<T>"),
    (&["T", "INTEGER", "BOOLEAN"], "ARRAY<T>"),
];

/// DESCRIBE FUNCTION.
pub(in crate::engine) fn describe_function(name: &Name) -> Result<Entity> {
    let wanted = name.value.to_uppercase();
    find(&wanted).map(Entity::Function).ok_or_else(|| unknown(name, &wanted))
}

/// What is known of a function, by its upper-case name.
pub(in crate::engine) fn find(name: &str) -> Option<FunctionHelp> {
    if let Some(entry) = Registry::find(name) {
        return Some(of_entry("SCALAR", entry));
    }
    if let Some(entry) = Registry::table(name) {
        return Some(of_entry("TABLE", entry));
    }
    if let Some(kind) = Higher::by_name(name) {
        return Some(of_lambda(&kind));
    }
    let own = AGGREGATES.iter().find(|a| a.name == name).map(of_aggregate);
    own.or_else(|| native_functions::find(name))
}

fn unknown(name: &Name, wanted: &str) -> Error {
    let error = Error::statement(format!("Can't find any functions with the name '{}'", name.value)).at(name.span);
    let all = functions();
    match nearest(wanted, all.iter().map(|function| function.name.as_str())) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("SHOW FUNCTIONS lists them"),
    }
}

fn of_entry(kind: &'static str, entry: &Entry) -> FunctionHelp {
    FunctionHelp {
        name: entry.name.to_owned(),
        kind,
        category: entry.category,
        description: entry.description.into(),
        signatures: entry.overloads.iter().map(Signature::of).collect(),
        examples: entry.examples.to_vec(),
    }
}

fn of_aggregate(aggregate: &AggregateHelp) -> FunctionHelp {
    FunctionHelp {
        name: aggregate.name.to_owned(),
        kind: "AGGREGATE",
        category: "AGGREGATE",
        description: aggregate.description.into(),
        signatures: aggregate.calls.iter().map(signature).collect(),
        examples: Vec::new(),
    }
}

fn of_lambda(kind: &Higher) -> FunctionHelp {
    let (description, calls): (&'static str, &[Call]) = match kind {
        Higher::Transform => (
            "Makes each element, or each key and value, another.",
            &[(&["ARRAY<T>", "x => R"], "ARRAY<R>"), (&["MAP<K, V>", "(k, v) => K2", "(k, v) => V2"], "MAP<K2, V2>")],
        ),
        Higher::Filter => (
            "Keeps the elements or entries for which the lambda is true.",
            &[(&["ARRAY<T>", "x => BOOLEAN"], "ARRAY<T>"), (&["MAP<K, V>", "(k, v) => BOOLEAN"], "MAP<K, V>")],
        ),
        Higher::Reduce => (
            "Makes one value of all elements or entries.",
            &[(&["ARRAY<T>", "S", "(s, x) => S"], "S"), (&["MAP<K, V>", "S", "(s, k, v) => S"], "S")],
        ),
    };
    FunctionHelp {
        name: kind.name().to_owned(),
        kind: "SCALAR",
        category: "LAMBDA",
        description: description.into(),
        signatures: calls.iter().map(signature).collect(),
        examples: Vec::new(),
    }
}

fn signature((arguments, returns): &Call) -> Signature {
    Signature {
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        variadic: false,
        returns: (*returns).to_owned(),
    }
}

/// All functions by name, with their kinds.
pub(in crate::engine) fn functions() -> Vec<FunctionRow> {
    let scalar = Registry::all().map(|entry| (entry.name.to_owned(), "SCALAR"));
    let lambda = Higher::ALL.iter().map(|kind| (kind.name().to_owned(), "SCALAR"));
    let table = Registry::tables().map(|entry| (entry.name.to_owned(), "TABLE"));
    let aggregate = aggregate::NAMES.iter().map(|name| ((*name).to_owned(), "AGGREGATE"));
    let mut all: BTreeSet<(String, &'static str)> = scalar.chain(lambda).chain(table).chain(aggregate).collect();
    // Where both have a name it is ksqlDB's.
    let own: BTreeSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let native = native_functions::names().filter(|name| !own.contains(name));
    all.extend(native.filter_map(|name| native_functions::find(&name).map(|help| (name, help.kind))));
    let row = |(name, kind): (String, &'static str)| {
        let description = of_kind(&name, kind).map(|help| help.description.into_owned()).unwrap_or_default();
        FunctionRow { name, kind, description }
    };
    all.into_iter().map(row).collect()
}

/// What is known of the function of that kind: some names are those of a scalar and of a table function.
fn of_kind(name: &str, kind: &str) -> Option<FunctionHelp> {
    match kind {
        "TABLE" => Registry::table(name).map(|entry| of_entry("TABLE", entry)),
        _ => find(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_help_of_its_own() {
        let mut descriptions = std::collections::BTreeMap::new();
        for FunctionRow { name, kind, description } in functions() {
            assert!(!description.is_empty() && !description.contains('\n'), "{name}");
            let help = find(&name).unwrap_or_else(|| panic!("{name} has no help"));
            assert_eq!(help.kind, kind, "{name}");
            assert!(!help.signatures.is_empty() && !help.description.is_empty(), "{name}");
            assert!(help.signatures.iter().all(|s| !s.returns.is_empty()), "{name}");
            if kind == "AGGREGATE"
                && let Some(other) = descriptions.insert(help.description.into_owned(), name.clone())
            {
                panic!("{name} and {other} are described alike");
            }
        }
    }
}
