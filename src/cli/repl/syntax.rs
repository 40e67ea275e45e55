//! `\h`: how statements are written, in a line or a few each.

/// Statements and their form. A word in capitals is written so, one in small letters is for the user to choose.
const FORMS: &[(&str, &str)] = &[
    ("ALTER STREAM", "ALTER STREAM|TABLE name ADD [COLUMN] column type, ...;"),
    ("ASSERT TOPIC", "ASSERT [NOT EXISTS] TOPIC name [WITH (PARTITIONS = n)] [TIMEOUT n SECONDS];"),
    ("COPY", "COPY (SELECT ...) TO 'file' [(FORMAT csv|json|arrow, HEADER true, OVERWRITE true)];"),
    (
        "CREATE STREAM",
        "CREATE [OR REPLACE] STREAM [IF NOT EXISTS] name (column type [KEY], ...)\n  WITH (KAFKA_TOPIC = 'topic', VALUE_FORMAT = 'JSON', PARTITIONS = n);\n\
         CREATE STREAM name WITH (SOURCE = 'datagen', QUICKSTART = 'orders', RATE = 10);",
    ),
    (
        "CREATE STREAM AS SELECT",
        "CREATE [OR REPLACE] STREAM name [WITH (...)] AS\n  SELECT ... FROM stream [WHERE ...] [PARTITION BY ...] [EMIT CHANGES];",
    ),
    (
        "CREATE TABLE",
        "CREATE [OR REPLACE] TABLE [IF NOT EXISTS] name (column type PRIMARY KEY, ...)\n  WITH (KAFKA_TOPIC = 'topic', VALUE_FORMAT = 'JSON');",
    ),
    (
        "CREATE TABLE AS SELECT",
        "CREATE [OR REPLACE] TABLE name [WITH (...)] AS\n  SELECT key, aggregate(...) FROM stream\n  [WINDOW TUMBLING (SIZE 10 SECONDS)] GROUP BY key [HAVING ...] [EMIT CHANGES|FINAL];",
    ),
    ("CREATE TYPE", "CREATE TYPE name AS type;"),
    ("DEFINE", "DEFINE name = 'value';     ${name} stands for it in statements"),
    ("DESCRIBE", "DESCRIBE name [EXTENDED];\nDESCRIBE FUNCTION name;"),
    ("DROP", "DROP STREAM|TABLE [IF EXISTS] name [DELETE TOPIC];\nDROP TYPE [IF EXISTS] name;"),
    ("EXPLAIN", "EXPLAIN query_id;\nEXPLAIN [ANALYZE] SELECT ...;     ANALYZE runs it"),
    ("INSERT", "INSERT INTO name [(column, ...)] VALUES (value, ...);\nINSERT INTO stream SELECT ...;"),
    ("PAUSE", "PAUSE query_id|ALL;\nRESUME query_id|ALL;"),
    ("PRINT", "PRINT topic [FROM BEGINNING] [INTERVAL n] [LIMIT n];"),
    ("RUN SCRIPT", "RUN SCRIPT 'file';"),
    (
        "SELECT",
        "SELECT ... FROM name [JOIN other [WITHIN 1 HOUR] ON ...] [WINDOW ...] [WHERE ...]\n  [GROUP BY ...] [HAVING ...] EMIT CHANGES [LIMIT n];     watches\n\
         SELECT ... [ORDER BY ...] [LIMIT n];     asks the history that is there",
    ),
    ("SET", "SET 'property' = 'value';\nUNSET 'property';"),
    ("SHOW", "SHOW STREAMS|TABLES|QUERIES|TOPICS|FUNCTIONS|PROPERTIES|TYPES|VARIABLES [EXTENDED];"),
    ("TERMINATE", "TERMINATE query_id|ALL;"),
    ("VERIFY", "VERIFY query_id;     compares a query's result with its batch answer"),
];

/// The forms of the statements that begin so; all names without a word.
pub(crate) fn forms(wanted: &str) -> String {
    let wanted = wanted.trim_end_matches(';').trim().to_uppercase();
    if wanted.is_empty() {
        let names: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
        return format!("\\h STATEMENT shows how one is written:\n  {}", names.join("\n  "));
    }
    let found: Vec<&str> = FORMS.iter().filter(|(name, _)| name.starts_with(&wanted)).map(|(_, form)| *form).collect();
    match found.is_empty() {
        true => format!("no statement begins with {wanted}; \\h lists them"),
        false => found.join("\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_the_statements_that_begin_with_it() {
        assert!(forms("create table").contains("PRIMARY KEY") && forms("create table").contains("aggregate"));
        assert!(forms("").contains("\n  VERIFY"));
        assert!(forms("fly").contains("\\h lists them"));
    }
}
