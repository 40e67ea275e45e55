//! The parameters of a request: `?name=value&...`, each known and given once.

use crate::error::{Error, Result};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::Uri;
use std::collections::BTreeMap;

/// Code of a request whose parameters cannot be read.
pub(super) const BAD_REQUEST: u32 = 40_000;

/// The parameters of a request; each may be given once, and only these.
pub(super) fn parameters(uri: &Uri, known: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let unreadable = |e: QueryRejection| bad("the parameters cannot be read".to_owned()).with_detail(e.body_text());
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    for (name, value) in given {
        if !known.contains(&name.as_str()) {
            let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(bad(format!("there is no parameter {name}")).with_hint(format!("parameters are: {list}")));
        }
        if all.insert(name.clone(), value).is_some() {
            return Err(bad(format!("parameter {name} is given twice")));
        }
    }
    Ok(all)
}

/// A parameter that is a number.
pub(super) fn number<T: std::str::FromStr>(parameters: &BTreeMap<String, String>, name: &str, default: T) -> Result<T> {
    match parameters.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| bad(format!("parameter {name} is a whole number, not {text}"))),
    }
}

/// The error of a parameter that is wrong.
pub(super) fn bad(message: String) -> Error {
    Error::statement(message).with_code(BAD_REQUEST)
}
