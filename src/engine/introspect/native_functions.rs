//! DataFusion's functions in SHOW FUNCTIONS and DESCRIBE FUNCTION: those of the allow-list that a query may call, with the first
//! sentence of their own documentation.
//!
//! ```text
//! MEDIAN(expression)            AGGREGATE, over history only
//! LAG(expression, offset, default)   WINDOW, over history only: with OVER
//! DATE_TRUNC(precision, expression)  SCALAR, in continuous queries, too
//! ```

use crate::engine::result::entity::{FunctionHelp, Signature};
use crate::functions::bounded::named;
use crate::plan::scalar::native;
use datafusion::logical_expr::Documentation;

/// Kind of a function that needs OVER.
pub(in crate::engine) const WINDOW: &str = "WINDOW";
/// Category of functions that a continuous query does not have.
const HISTORY: &str = "HISTORY";
/// What their descriptions end with.
const ONLY: &str = "Over history only.";
/// Functions that DataFusion's documentation describes as others.
const MENDED: [(&str, &str); 2] = [
    ("BOOL_OR", "Returns true if one of the non-null input values is true, otherwise false."),
    ("COVAR_POP", "Returns the population covariance of a set of number pairs."),
];
/// What DataFusion's documentation leaves open: it depends on the arguments.
const ANY: &str = "ANY";

/// A function by any of its names, in upper case.
pub(in crate::engine) fn find(name: &str) -> Option<FunctionHelp> {
    if let Some(function) = native::find(name) {
        return Some(help(function.name(), "SCALAR", "SCALAR", function.documentation()));
    }
    if let Some(function) = named::aggregate(name) {
        return Some(help(function.name(), "AGGREGATE", HISTORY, function.documentation()));
    }
    named::window(name).map(|function| help(function.name(), WINDOW, HISTORY, function.documentation()))
}

/// The names of all of them, in upper case, without their other names.
pub(in crate::engine) fn names() -> impl Iterator<Item = String> {
    let own = |name: &str| find(name).is_some_and(|help| help.name == name);
    let all = native::names().chain(named::names());
    all.filter(move |name| own(name)).map(str::to_owned)
}

fn help(name: &str, kind: &'static str, category: &'static str, documented: Option<&Documentation>) -> FunctionHelp {
    let name = name.to_uppercase();
    let own = MENDED.iter().find(|(mended, _)| *mended == name).map(|(_, said)| (*said).to_owned());
    let said = own.or_else(|| documented.map(|documented| first_sentence(&documented.description)));
    let said = said.unwrap_or_else(|| format!("{name} of DataFusion."));
    let description = if category == HISTORY { format!("{said} {ONLY}") } else { said };
    let arguments = documented.and_then(|documented| documented.arguments.as_ref());
    let arguments =
        arguments.into_iter().flatten().map(|(argument, _)| argument.trim_matches('`').to_owned()).collect();
    let signature = Signature { arguments, variadic: false, returns: ANY.to_owned() };
    let (signatures, examples) = (vec![signature], Vec::new());
    FunctionHelp { name, kind, category, description: description.into(), signatures, examples }
}

/// One line of a text in Markdown.
fn first_sentence(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = without_links(&words.join(" ").replace('`', ""));
    let end = line.find(". ").unwrap_or(line.len());
    format!("{}.", line[..end].trim_end_matches(['.', ':']))
}

/// `[text](address)` as `text`.
fn without_links(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(middle) = out.find("](") {
        let (Some(begin), Some(end)) = (out[..middle].rfind('['), out[middle..].find(')')) else { break };
        out = format!("{}{}{}", &out[..begin], &out[begin + 1..middle], &out[middle + end + 1..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::bounded::{ALLOWED, Sort};

    #[test]
    fn a_description_is_one_line() {
        assert_eq!(first_sentence("Returns the `n`th\n   value. NULL without one."), "Returns the nth value.");
        assert_eq!(first_sentence("Ranks"), "Ranks.");
        assert_eq!(
            first_sentence("By a [Chrono format](https://docs.rs/chrono) as text."),
            "By a Chrono format as text."
        );
    }

    #[test]
    fn aggregates_and_window_functions_of_the_allow_list_are_found() {
        // GROUPING is planned with its grouping sets.
        for allowed in ALLOWED.iter().filter(|allowed| allowed.name != "grouping") {
            let name = allowed.name.to_uppercase();
            match allowed.sort {
                Sort::Aggregate => assert_eq!(find(&name).unwrap().kind, "AGGREGATE", "{name}"),
                Sort::Window => assert!(find(&name).is_some(), "{name}"),
                Sort::Scalar | Sort::Table => {}
            }
        }
        let kinds = ["MEDIAN", "LAG", "DATE_TRUNC"].map(|name| find(name).unwrap().kind);
        assert_eq!(kinds, ["AGGREGATE", "WINDOW", "SCALAR"]);
        assert!(names().any(|name| name == "STRING_AGG") && !names().any(|name| name == "LISTAGG"), "other names");
    }
}
