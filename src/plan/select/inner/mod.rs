//! Queries inside of queries: in FROM, in WITH and in expressions.
//!
//! ```text
//! relations   what the names of sources mean, queries among them
//! subquery    a query in an expression becomes a column of the rows that the expression sees
//! correlate   which columns of those rows it names
//! quantified  ANY and ALL
//! around      groups of a query that names some
//! sides       two plans joined by DataFusion
//! series      numbers in FROM
//! values      VALUES
//! ```

pub(super) mod around;
pub(super) mod correlate;
mod quantified;
pub(in crate::plan) mod relations;
mod series;
pub(super) mod sides;
pub(super) mod subquery;
pub(super) mod values;
