//! Aggregates and window functions of DataFusion by any of their names: `STDDEV`, `STRING_AGG` and `LISTAGG`, `LAG`.

use super::{Sort, allowed};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, WindowUDF};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// GROUPING is planned with the grouping sets that it asks about: it aggregates nothing.
const GROUPING: &str = "grouping";

static AGGREGATES: LazyLock<BTreeMap<String, Arc<AggregateUDF>>> = LazyLock::new(|| {
    let known = SessionStateDefaults::default_aggregate_functions().into_iter();
    let known = known.filter(|f| f.name() != GROUPING && allowed(f.name(), Sort::Aggregate).is_some());
    by_name(known, |f| (f.name(), f.aliases()))
});

static WINDOWS: LazyLock<BTreeMap<String, Arc<WindowUDF>>> = LazyLock::new(|| {
    let known = SessionStateDefaults::default_window_functions().into_iter();
    by_name(known.filter(|f| allowed(f.name(), Sort::Window).is_some()), |f| (f.name(), f.aliases()))
});

fn by_name<F>(
    functions: impl Iterator<Item = Arc<F>>,
    names: impl Fn(&F) -> (&str, &[String]),
) -> BTreeMap<String, Arc<F>> {
    let mut out = BTreeMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
            out.insert(name.to_uppercase(), function.clone());
        }
    }
    out
}

/// The aggregate with this name, in upper case.
pub(crate) fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    AGGREGATES.get(name).cloned()
}

/// The window function with this name, in upper case.
pub(crate) fn window(name: &str) -> Option<Arc<WindowUDF>> {
    WINDOWS.get(name).cloned()
}

/// Names of all aggregates and window functions, for hints.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.keys().chain(WINDOWS.keys()).map(String::as_str)
}
