//! The text of a statement for the audit log, without data and secrets.
//!
//! ```text
//! INSERT INTO s (a, b) VALUES (1, 'x')    INSERT INTO S (A, B) VALUES (?, ?)
//! DEFINE pw = 'hunter2'                   DEFINE PW = ?
//! CREATE SINK CONNECTOR c WITH (...)      the same, with '[string]' for each value that may be a secret
//! ```

use crate::parse::statement::{Parsed, Statement};

/// Longest text; the rest is cut off.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// A setting whose name contains one of these may hold a secret.
const SECRETS: [&str; 6] = ["password", "secret", "token", "credential", "jaas", "key"];

/// Whether the statement contains data, which an error message may quote as well.
pub(super) fn holds_data(statement: &Statement) -> bool {
    matches!(statement, Statement::InsertValues(_) | Statement::CreateConnector(_))
}

/// The text of the record.
pub(super) fn recorded(parsed: &Parsed) -> String {
    let text = match &parsed.statement {
        Statement::InsertValues(insert) => {
            let columns: Vec<&str> = insert.columns.iter().map(|column| column.value.as_str()).collect();
            let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
            let row = |values: &Vec<_>| format!("({})", vec!["?"; values.len()].join(", "));
            let rows = insert.rows.iter().map(row).collect::<Vec<_>>().join(", ");
            format!("INSERT INTO {}{columns} VALUES {rows}", insert.target.value)
        }
        Statement::Define { name, .. } => format!("DEFINE {name} = ?"),
        Statement::Set { name, .. } if is_secret(name) => format!("SET '{name}' = ?"),
        Statement::Unsupported { what, .. } => what.clone(),
        _ => parsed.masked(),
    };
    shortened(&text)
}

/// The beginning of a long text.
pub(super) fn shortened(text: &str) -> String {
    match text.len() > TEXT_BYTES_MAX {
        true => format!("{}...", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
        false => text.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_data_nor_secrets_are_recorded() {
        for (text, kept) in [
            ("INSERT INTO s (a, b) VALUES (1, 'hunter2');", "INSERT INTO S (A, B) VALUES (?, ?)"),
            ("INSERT INTO s VALUES ('hunter2');", "INSERT INTO S VALUES (?)"),
            ("DEFINE pw = 'hunter2';", "DEFINE PW = ?"),
            ("SET 'ksql.x.password' = 'hunter2';", "SET 'ksql.x.password' = ?"),
            ("SET 'auto.offset.reset' = 'latest';", "SET 'auto.offset.reset' = 'latest'"),
            (
                "create sink connector c with ('topics' = 't', 'password' = 'hunter2');",
                "CREATE SINK CONNECTOR C WITH ('topics' = 't', 'password' = '[string]')",
            ),
            ("DROP STREAM s;", "DROP STREAM s"),
        ] {
            let parsed = crate::parse::parse(text).unwrap().remove(0);
            assert_eq!(recorded(&parsed), kept);
        }
        let long = format!("SELECT '{}' AS x;", "é".repeat(TEXT_BYTES_MAX));
        let parsed = crate::parse::parse(&long).unwrap().remove(0);
        assert!(recorded(&parsed).len() <= TEXT_BYTES_MAX + 3);
    }
}
