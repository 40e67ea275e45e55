//! Queries inside of queries: in FROM, in WITH and in expressions.
//!
//! ```text
//! relations   what the names of sources mean, queries among them
//! subquery    a query in an expression becomes a column of the rows that the expression sees
//! asked       the rows around a query, and those of the query
//! correlate   which columns of those rows it names
//! quantified  ANY and ALL
//! pairs       IN, and rows of values beside those of a query
//! around      groups of a query that names some
//! sides       two plans joined by DataFusion
//! series      numbers in FROM
//! values      VALUES
//! ```

pub(super) mod around;
mod asked;
pub(super) mod correlate;
mod pairs;
mod quantified;
pub(in crate::plan) mod relations;
mod series;
pub(super) mod sides;
pub(super) mod subquery;
pub(super) mod values;
