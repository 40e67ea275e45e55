//! The functions of DataFusion that a query may call, and what bounds each: an allow-list.
//!
//! A name that is not here is unknown to the planner. Most functions make values that are no larger than what they were
//! given; where an argument names a size, or values can multiply, [`Bounded`] estimates each value before it is made:
//!
//! ```text
//! repeat('a', 2000000000)    a value of 2000000000 bytes is too large: repeat makes at most 16777216
//! ```
//!
//! Programs take a function from here where ksqlDB leaves its name free.

mod call;
mod cost;
pub(crate) mod named;
mod series;
pub(crate) mod sizes;

use crate::error::Error;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// A value of a row.
    Scalar,
    /// A value of many rows.
    Aggregate,
    /// A value of a row and its neighbours.
    Window,
    /// Rows, in FROM.
    Table,
}

/// What keeps a function's results and its work small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// It makes no more than a small multiple of what it gets.
    Given,
    /// All arguments together.
    Sum,
    /// The first argument as often as the second one says.
    Times,
    /// As many characters as the second argument says.
    Padded,
    /// Every match of the second argument becomes the third.
    Replaced,
    /// The same with a pattern, whose length is bounded.
    PatternReplaced,
    /// The length of the pattern, the second argument.
    Pattern,
    /// A text as long as a format makes it.
    Formatted,
    /// As many elements as lie between two ends.
    Series,
    /// The first argument as an element as often as the second one says.
    Elements,
    /// An array of the length that the second argument says.
    Resized,
    /// An array whose elements become the third argument.
    ElementsReplaced,
    /// The elements of an array with the second argument between them.
    Joined,
    /// The product of the lengths of both arguments is the work.
    Compared,
    /// Centroids, the argument of this index: a constant, at most [`CENTROIDS_MAX`].
    Centroids(usize),
    /// It keeps what it saw, in the memory of the query; with OVER a copy for each row.
    Kept,
    /// Rows one after the other, for the time of the query.
    Streamed,
}

/// Most bytes of one value that a function with a bound makes: as much as sixteen records of Kafka's default size.
pub(in crate::functions) const VALUE_BYTES_MAX: u64 = 16 << 20;
/// Most steps for one value of a function that compares everything with everything: a tenth of a second.
pub(super) const STEPS_MAX: u64 = 1 << 26;
/// Longest pattern: compiled, one of this length takes megabytes and milliseconds.
pub(super) const PATTERN_BYTES_MAX: u64 = 8 << 10;
/// Most centroids of an approximate percentile; DataFusion takes 100 of its own accord.
pub(crate) const CENTROIDS_MAX: i64 = 10_000;

impl Bound {
    /// In words, for the documents.
    pub fn words(self) -> &'static str {
        match self {
            Bound::Given => "no more than a small multiple of the arguments",
            Bound::Compared => "lengths whose product is at most 67108864",
            Bound::Pattern => "a pattern of at most 8192 bytes",
            Bound::PatternReplaced => "a pattern of at most 8192 bytes, values of at most 16777216 bytes",
            Bound::Centroids(_) => "at most 10000 centroids, a constant",
            Bound::Kept => "the memory of the query",
            Bound::Streamed => "the time of the query",
            _ => "values of at most 16777216 bytes",
        }
    }
}

/// A function of DataFusion that may be called.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// DataFusion's name; its aliases come with it.
    pub name: &'static str,
    /// What it is.
    pub sort: Sort,
    /// What bounds it.
    pub bound: Bound,
}

const fn scalar(name: &'static str, bound: Bound) -> Allowed {
    Allowed { name, sort: Sort::Scalar, bound }
}

const fn given(name: &'static str) -> Allowed {
    scalar(name, Bound::Given)
}

const fn aggregate(name: &'static str, bound: Bound) -> Allowed {
    Allowed { name, sort: Sort::Aggregate, bound }
}

const fn window(name: &'static str) -> Allowed {
    Allowed { name, sort: Sort::Window, bound: Bound::Given }
}

const fn table(name: &'static str) -> Allowed {
    Allowed { name, sort: Sort::Table, bound: Bound::Streamed }
}

/// Every function that may be called, and none but these. What is missing names types of the inside (`arrow_cast`, which
/// makes fixed sizes of 2^31), metadata, files, DataFusion's version, or takes lambdas.
#[rustfmt::skip]
pub const ALLOWED: &[Allowed] = &[
    // Conditions, records.
    given("nullif"), given("nvl"), given("nvl2"), given("coalesce"), given("greatest"), given("least"),
    given("arrow_typeof"), given("named_struct"), given("struct"), given("get_field"),
    // Times.
    given("current_date"), given("current_time"), given("date_bin"), given("date_part"), given("date_trunc"),
    given("from_unixtime"), given("make_date"), given("make_time"), given("now"), given("to_date"),
    given("to_local_time"), given("to_time"), given("to_unixtime"), given("to_timestamp"),
    given("to_timestamp_seconds"), given("to_timestamp_millis"), given("to_timestamp_micros"),
    given("to_timestamp_nanos"), scalar("to_char", Bound::Formatted),
    // Numbers.
    given("abs"), given("acos"), given("acosh"), given("asin"), given("asinh"), given("atan"), given("atan2"),
    given("atanh"), given("cbrt"), given("ceil"), given("cos"), given("cosh"), given("cot"), given("degrees"),
    given("exp"), given("factorial"), given("floor"), given("gcd"), given("isnan"), given("iszero"), given("lcm"),
    given("ln"), given("log"), given("log10"), given("log2"), given("nanvl"), given("pi"), given("power"),
    given("radians"), given("random"), given("round"), given("signum"), given("sin"), given("sinh"), given("sqrt"),
    given("tan"), given("tanh"), given("trunc"),
    // Texts and bytes.
    given("ascii"), given("bit_length"), given("btrim"), given("character_length"), given("chr"), given("contains"),
    given("decode"), given("digest"), given("encode"), given("ends_with"), given("find_in_set"), given("initcap"),
    given("left"), given("lower"), given("ltrim"), given("md5"), given("octet_length"), given("reverse"),
    given("right"), given("rtrim"), given("sha224"), given("sha256"), given("sha384"), given("sha512"),
    given("split_part"), given("starts_with"), given("strpos"), given("substr"), given("substr_index"),
    given("to_hex"), given("translate"), given("upper"), given("uuid"),
    scalar("concat", Bound::Sum), scalar("concat_ws", Bound::Joined), scalar("overlay", Bound::Sum),
    scalar("repeat", Bound::Times), scalar("lpad", Bound::Padded), scalar("rpad", Bound::Padded),
    scalar("replace", Bound::Replaced), scalar("levenshtein", Bound::Compared),
    scalar("regexp_count", Bound::Pattern), scalar("regexp_instr", Bound::Pattern),
    scalar("regexp_like", Bound::Pattern), scalar("regexp_match", Bound::Pattern),
    scalar("regexp_replace", Bound::PatternReplaced),
    // Arrays and maps.
    given("array_any_value"), given("array_avg"), given("array_compact"), given("array_dims"),
    given("array_distinct"), given("array_element"), given("array_except"), given("array_intersect"),
    given("array_length"), given("array_max"), given("array_min"), given("array_ndims"), given("array_normalize"),
    given("array_pop_back"), given("array_pop_front"), given("array_position"), given("array_positions"),
    given("array_product"), given("array_remove"), given("array_remove_all"), given("array_remove_n"),
    given("array_reverse"), given("array_scale"), given("array_slice"), given("array_sort"), given("array_sum"),
    given("array_add"), given("array_subtract"), given("array_distance"), given("arrays_zip"), given("cardinality"),
    given("cosine_distance"), given("inner_product"), given("empty"), given("flatten"), given("map"),
    given("map_entries"), given("map_extract"), given("map_keys"), given("map_values"), given("string_to_array"),
    scalar("make_array", Bound::Sum), scalar("array_append", Bound::Sum), scalar("array_prepend", Bound::Sum),
    scalar("array_concat", Bound::Sum), scalar("array_union", Bound::Sum),
    scalar("array_has", Bound::Compared), scalar("array_has_all", Bound::Compared),
    scalar("array_has_any", Bound::Compared), scalar("array_repeat", Bound::Elements),
    scalar("array_resize", Bound::Resized), scalar("array_replace", Bound::ElementsReplaced),
    scalar("array_replace_n", Bound::ElementsReplaced), scalar("array_replace_all", Bound::ElementsReplaced),
    scalar("array_to_string", Bound::Joined), scalar("range", Bound::Series),
    scalar("generate_series", Bound::Series),
    // Aggregates.
    aggregate("any_value", Bound::Given), aggregate("approx_distinct", Bound::Given),
    aggregate("approx_median", Bound::Given), aggregate("approx_percentile_cont", Bound::Centroids(2)),
    aggregate("approx_percentile_cont_with_weight", Bound::Centroids(3)), aggregate("array_agg", Bound::Kept),
    aggregate("avg", Bound::Given), aggregate("bit_and", Bound::Given), aggregate("bit_or", Bound::Given),
    aggregate("bit_xor", Bound::Given), aggregate("bool_and", Bound::Given), aggregate("bool_or", Bound::Given),
    aggregate("corr", Bound::Given), aggregate("count", Bound::Given), aggregate("covar_pop", Bound::Given),
    aggregate("covar_samp", Bound::Given), aggregate("first_value", Bound::Given),
    aggregate("grouping", Bound::Given), aggregate("last_value", Bound::Given), aggregate("max", Bound::Given),
    aggregate("median", Bound::Given), aggregate("min", Bound::Given), aggregate("nth_value", Bound::Given),
    aggregate("percentile_cont", Bound::Given), aggregate("regr_avgx", Bound::Given),
    aggregate("regr_avgy", Bound::Given), aggregate("regr_count", Bound::Given),
    aggregate("regr_intercept", Bound::Given), aggregate("regr_r2", Bound::Given),
    aggregate("regr_slope", Bound::Given), aggregate("regr_sxx", Bound::Given), aggregate("regr_sxy", Bound::Given),
    aggregate("regr_syy", Bound::Given), aggregate("stddev", Bound::Given), aggregate("stddev_pop", Bound::Given),
    aggregate("string_agg", Bound::Kept), aggregate("sum", Bound::Given), aggregate("var", Bound::Given),
    aggregate("var_pop", Bound::Given),
    // With OVER.
    window("cume_dist"), window("dense_rank"), window("first_value"), window("lag"), window("last_value"),
    window("lead"), window("nth_value"), window("ntile"), window("percent_rank"), window("rank"),
    window("row_number"),
    // In FROM.
    table("generate_series"), table("range"),
];

/// ksqlDB's names for what DataFusion calls otherwise.
const ALIASES: [(&str, &str); 3] = [("upper", "ucase"), ("lower", "lcase"), ("character_length", "len")];

/// The entry of a function.
pub(crate) fn allowed(name: &str, sort: Sort) -> Option<&'static Allowed> {
    ALLOWED.iter().find(|f| f.name == name && f.sort == sort)
}

/// The scalar functions, bounded.
pub(crate) fn scalars() -> Vec<Arc<ScalarUDF>> {
    let known = SessionStateDefaults::default_scalar_functions().into_iter();
    let bounded = known.filter_map(|f| call::bounded(f, allowed));
    let aliased = |f: Arc<ScalarUDF>| match ALIASES.iter().find(|(name, _)| *name == f.name()) {
        Some((_, alias)) => Arc::new(f.as_ref().clone().with_aliases([*alias])),
        None => f,
    };
    bounded.map(aliased).collect()
}

fn external(e: Error) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(e))
}
