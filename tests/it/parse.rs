//! Text to statements and back.

use std::collections::BTreeMap;
use tidegate::error::Span;
use tidegate::parse::statement::{Emit, SelectItem, Statement};
use tidegate::parse::{self, is_complete, parse, span_of, split, substitute};
use tidegate::types::SqlType;
use tidegate::types::clock::SystemClock;

fn one(text: &str) -> Statement {
    let mut all = parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0).statement
}

fn error(text: &str) -> String {
    match parse(text) {
        Ok(read) => panic!("{text} was read as {read:?}"),
        Err(e) => match e.hint() {
            Some(hint) => format!("{e} ({hint})"),
            None => e.to_string(),
        },
    }
}

/// Printed and read again it is the same; the printed form is `printed`.
fn check(text: &str, printed: &str) {
    let statement = one(text);
    let again = statement.to_string();
    assert_eq!(again, printed, "{text}");
    assert_eq!(one(&again), statement, "{text}");
}

#[test]
fn statements_end_at_semicolons_outside_quotes_and_comments() {
    let text = "a ';' b ; -- no; end\n `x;``y` \"c;\" /* ; */ d;\n\n ;; last";
    let pieces = split(text);
    let texts: Vec<_> = pieces.iter().map(|p| (p.text, p.complete)).collect();
    assert_eq!(texts, [("a ';' b", true), ("`x;``y` \"c;\" /* ; */ d", true), ("last", false)]);
    for piece in pieces {
        assert_eq!(&text[piece.span.start..piece.span.end], piece.text);
    }
    assert_eq!(split("it''s 'it''s;' ;").len(), 1);
    assert!(split(" -- nothing\n/* here */ ; ").is_empty());
}

#[test]
fn a_prompt_knows_when_a_statement_is_finished() {
    for done in ["", "  ", "select 1;", "a; b;", "a; -- trailing", "/* c */"] {
        assert!(is_complete(done), "{done}");
    }
    for open in ["select 1", "a; b", "select ';", "select `a;", "a; /* b;", "/* open"] {
        assert!(!is_complete(open), "{open}");
    }
}

#[test]
fn variables_are_put_in_as_text() {
    let variables = BTreeMap::from([("NAME".to_owned(), "s1".to_owned()), ("x".to_owned(), "${NAME}".to_owned())]);
    let put = |text: &str| substitute(text, &variables).unwrap();
    assert_eq!(put("SELECT * FROM ${name} WHERE a = '${NAME}${x}'"), "SELECT * FROM s1 WHERE a = 's1${NAME}'");
    assert_eq!(put("${unknown} ${ $ }"), "${unknown} ${ $ }");
    assert_eq!(put("${"), "${");
    let long = BTreeMap::from([("V".to_owned(), "x".repeat(100_000))]);
    assert!(substitute(&"${v}".repeat(1_000), &long).is_err());
}

#[test]
fn every_kind_of_statement_reads_back_as_printed() {
    check(
        "create or replace source stream if not exists s (id string key, `MiXed` int, n array<struct<f int, `g` map<string, decimal(4,2)>>>, h bytes header('k'), hs array<struct<key string, value bytes>> headers) with (kafka_topic='t', partitions=3, wrap_single_value=false);",
        "CREATE OR REPLACE SOURCE STREAM IF NOT EXISTS S (ID STRING KEY, `MiXed` INTEGER, N ARRAY<STRUCT<`F` INTEGER, `g` MAP<STRING, DECIMAL(4, 2)>>>, H BYTES HEADER('k'), HS ARRAY<STRUCT<`KEY` STRING, `VALUE` BYTES>> HEADERS) WITH (KAFKA_TOPIC = 't', PARTITIONS = 3, WRAP_SINGLE_VALUE = false)",
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR ARRAY) WITH ('kafka_topic'='it''s')",
        "CREATE TABLE T (ID INTEGER PRIMARY KEY, V ARRAY<STRING>) WITH (KAFKA_TOPIC = 'it''s')",
    );
    check("CREATE STREAM s WITH (kafka_topic='t')", "CREATE STREAM S WITH (KAFKA_TOPIC = 't')");
    check(
        "create table c with (partitions=1) as select car, count(*) n, avg(speed) as a from r window tumbling (size 10 seconds, grace period 1 minute) where speed > 0 group by car having count(*) > 1 emit final;",
        "CREATE TABLE C WITH (PARTITIONS = 1) AS SELECT CAR, COUNT(*) AS N, AVG(SPEED) AS A FROM R WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 1 MINUTES) WHERE SPEED > 0 GROUP BY CAR HAVING COUNT(*) > 1 EMIT FINAL",
    );
    check(
        "CREATE STREAM j AS SELECT l.*, r.b->*, r.b->c[1]->d x FROM l l LEFT OUTER JOIN r AS r WITHIN (1 HOUR, 90 MINUTES) GRACE PERIOD 5 MINUTES ON l.id = r.id PARTITION BY l.k EMIT CHANGES",
        "CREATE STREAM J AS SELECT L.*, R.B -> *, R.B -> C[1] -> D AS X FROM L AS L LEFT OUTER JOIN R AS R WITHIN (1 HOURS, 90 MINUTES) GRACE PERIOD 5 MINUTES ON L.ID = R.ID PARTITION BY L.K EMIT CHANGES",
    );
    check("INSERT INTO s (a, `b`) VALUES (1, 'x')", "INSERT INTO S (A, `b`) VALUES (1, 'x')");
    check(
        "INSERT INTO s VALUES (-1, 1.50, 1e3, .5, 1., NULL, TRUE, ARRAY[1, 2], MAP('k' := 1), STRUCT(f := 'v', `g` := 2))",
        "INSERT INTO S VALUES (-1, 1.50, 1e3, .5, 1., NULL, true, ARRAY[1, 2], MAP('k' := 1), STRUCT(F := 'v', `g` := 2))",
    );
    check("INSERT INTO s WITH (query_id='q') SELECT * FROM t", "INSERT INTO S WITH (QUERY_ID = 'q') SELECT * FROM T");
    check("select * from s emit changes limit 5;", "SELECT * FROM S EMIT CHANGES LIMIT 5");
    check("select a from s where k = 'x' limit 1", "SELECT A FROM S WHERE K = 'x' LIMIT 1");
    check("drop table if exists t delete topic", "DROP TABLE IF EXISTS T DELETE TOPIC");
    check("DROP STREAM `my s`", "DROP STREAM `my s`");
    check("terminate CSAS_A_1;", "TERMINATE CSAS_A_1");
    check("TERMINATE QUERY q", "TERMINATE Q");
    check("TERMINATE ALL", "TERMINATE ALL");
    check("TERMINATE `ALL`", "TERMINATE `ALL`");
    check("PAUSE ALL", "PAUSE ALL");
    check("RESUME q1", "RESUME Q1");
    for what in ["STREAMS", "TABLES EXTENDED", "ALL TOPICS EXTENDED", "TOPICS", "QUERIES", "FUNCTIONS", "PROPERTIES"] {
        check(&format!("list {what}"), &format!("SHOW {what}"));
    }
    for what in ["SHOW TYPES", "SHOW VARIABLES", "DESCRIBE S EXTENDED", "DESCRIBE `stream`", "DESCRIBE FUNCTION LCASE"]
    {
        check(what, what);
    }
    check("EXPLAIN csas_a_1", "EXPLAIN CSAS_A_1");
    check("EXPLAIN select * from s emit changes", "EXPLAIN SELECT * FROM S EMIT CHANGES");
    check("set 'auto.offset.reset' = 'earliest'", "SET 'auto.offset.reset' = 'earliest'");
    check("UNSET 'a'", "UNSET 'a'");
    check("DEFINE x = 'it''s'", "DEFINE X = 'it''s'");
    check("UNDEFINE x", "UNDEFINE X");
    check("print my-topic.v1 from beginning sample 2 limit 3", "PRINT 'my-topic.v1' FROM BEGINNING INTERVAL 2 LIMIT 3");
    check("PRINT 'T x'", "PRINT 'T x'");
    check("run script 'a b.sql'", "RUN SCRIPT 'a b.sql'");
    check("verify csas_x_1", "VERIFY QUERY CSAS_X_1");
    check(
        "copy s to 'x.csv' (header, delimiter ';')",
        "COPY (SELECT * FROM S) TO 'x.csv' (HEADER 'true', DELIMITER ';')",
    );
    check("COPY (select (1 + 2) from s) TO 'x.csv'", "COPY (select (1 + 2) from s) TO 'x.csv'");
    check(
        "assert schema subject a-b.value id 3 timeout 10 seconds",
        "ASSERT SCHEMA SUBJECT 'a-b.value' ID 3 TIMEOUT 10 SECONDS",
    );
    check("ASSERT NOT EXISTS SCHEMA ID 7", "ASSERT NOT EXISTS SCHEMA ID 7");
    assert!(error("ASSERT SCHEMA TIMEOUT 1 SECOND").contains("needs a SUBJECT, an ID or both"));
    assert!(matches!(one("ALTER SYSTEM x y z"), Statement::Unsupported { what, .. } if what == "ALTER SYSTEM"));
    check("ALTER SYSTEM", "ALTER SYSTEM");
    check(
        "create source connector if not exists c with ('a.B' = 'it''s', n = -1.50, `k` = true)",
        "CREATE SOURCE CONNECTOR IF NOT EXISTS C WITH ('a.B' = 'it''s', 'N' = -1.50, 'k' = true)",
    );
    check("CREATE SINK CONNECTOR `a-b` WITH ('x'='')", "CREATE SINK CONNECTOR `a-b` WITH ('x' = '')");
    check("drop connector if exists `a-b`", "DROP CONNECTOR IF EXISTS `a-b`");
    check("list connectors", "SHOW CONNECTORS");
    check("SHOW all CONNECTORS", "SHOW CONNECTORS");
    check("SHOW sink CONNECTORS", "SHOW SINK CONNECTORS");
    check("LIST CONNECTOR PLUGINS", "SHOW CONNECTOR PLUGINS");
    check("DESCRIBE CONNECTOR c", "DESCRIBE CONNECTOR C");
    check("DESCRIBE connector", "DESCRIBE `CONNECTOR`");
    assert!(error("CREATE SOURCE CONNECTOR c WITH ('a' = 'x', 'a' = 'y')").contains("a is given twice"));
    assert!(error("CREATE OR REPLACE SINK CONNECTOR c WITH ('a' = 'x')").contains("expected STREAM or TABLE"));
}

#[test]
fn quotes_in_names_read_back_as_printed() {
    for text in [
        "SELECT a AS '''x'''''",
        "SELECT `a````b`, f.`c``d`, `e``f`.* FROM `g````h` AS `i``j` JOIN k AS `l````` ON TRUE",
        "WITH `a````` (`b````c`) AS (SELECT 1) SELECT * FROM `a`````",
        "SELECT `f``g`(`x`````) FROM (SELECT 1) AS `y``z` ORDER BY `u````v`",
        "SELECT `a````b` + \"c\"\"\"\"d\" AS `e````f` FROM `g````h` WHERE `i````j` > 0 EMIT CHANGES",
    ] {
        let statement = one(text);
        let printed = statement.to_string();
        assert_eq!(one(&printed), statement, "{text} is printed as {printed}");
    }
}

#[test]
fn expressions_read_back_as_printed() {
    for (text, printed) in [
        ("a -> b -> c + 1", "A -> B -> C + 1"),
        ("s.a[1]->`x`[m['k']]", "S.A[1] -> `x`[M['k']]"),
        ("transform(a, x => x * 2)", "TRANSFORM(A, X => X * 2)"),
        ("reduce(m, 0, (s, k, v) => s + v->n)", "REDUCE(M, 0, (S, K, V) => S + V -> N)"),
        ("case when a = 1 then 'x' else 'y' end", "CASE WHEN A = 1 THEN 'x' ELSE 'y' END"),
        ("case a when 1 then 'x' end", "CASE A WHEN 1 THEN 'x' END"),
        ("cast(a as decimal(4, 2))", "CAST(A AS DECIMAL(4, 2))"),
        ("cast(a as map<string, array<struct<x int>>>)", "CAST(A AS MAP<STRING, ARRAY<STRUCT<`X` INTEGER>>>)"),
        ("a like 'x!%' escape '!'", "A LIKE 'x!%' ESCAPE '!'"),
        ("a not like '_'", "A NOT LIKE '_'"),
        ("a not between 1 and 2 and b in (1, 2)", "A NOT BETWEEN 1 AND 2 AND B IN (1, 2)"),
        ("a is distinct from b and c is not distinct from d", "A IS DISTINCT FROM B AND C IS NOT DISTINCT FROM D"),
        ("a is null or not b is not null", "A IS NULL OR NOT B IS NOT NULL"),
        ("dateadd(days, 1, d)", "DATEADD(DAYS, 1, D)"),
        ("decimal '1.20'", "DECIMAL '1.20'"),
        ("substring(a, 1, 2)", "SUBSTRING(A, 1, 2)"),
        ("trim(a) || ceil(b)", "TRIM(A) || CEIL(B)"),
        ("-a * -1 - -2", "-A * -1 - -2"),
        // Behind the point the digit would begin a number.
        ("r. 1car + 2b", "R.`1CAR` + 2B"),
        // The body of a lambda would reach behind AND and OR.
        ("a between symmetric 3 and 1 + x => 2", "(A BETWEEN 3 AND (1 + X => 2) OR A BETWEEN (1 + X => 2) AND 3)"),
        ("a != b", "A <> B"),
        ("((a))", "((A))"),
        ("1r + 2", "1R + 2"),
        ("floor + interval + position", "FLOOR + INTERVAL + POSITION"),
        ("left(a, 1)", "LEFT(A, 1)"),
        ("count(distinct a)", "COUNT(DISTINCT A)"),
        ("\"MiXed\"", "\"MiXed\""),
        ("'it''s'", "'it''s'"),
        ("map(a || 'x' := array[1], 'b' := null)", "MAP(A || 'x' := ARRAY[1], 'b' := NULL)"),
    ] {
        check(&format!("SELECT {text} FROM s EMIT CHANGES"), &format!("SELECT {printed} FROM S EMIT CHANGES"));
    }
}

fn expr(text: &str) -> sqlparser::ast::Expr {
    match one(&format!("SELECT {text} FROM s EMIT CHANGES")) {
        Statement::Select(select) => match select.items.into_iter().next() {
            Some(SelectItem::Expr { expr, .. }) => expr,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn operators_bind_as_in_ksqldb() {
    use sqlparser::ast::{BinaryOperator as Op, Expr};
    let top = |text: &str| match expr(text) {
        Expr::BinaryOp { op, .. } => op,
        other => panic!("{other:?}"),
    };
    assert_eq!(top("a->b + 1"), Op::Plus);
    assert_eq!(top("'a' || 1 + 2"), Op::StringConcat);
    assert_eq!(top("a || 'x' = b"), Op::Eq);
    assert_eq!(top("a IS DISTINCT FROM b AND c"), Op::And);
    assert_eq!(top("a + 1 = b AND NOT c"), Op::And);
    assert!(matches!(expr("NOT a = b"), Expr::UnaryOp { .. }));
    assert!(
        matches!(expr("x->y[1]"), Expr::CompoundFieldAccess { root, .. } if matches!(*root, Expr::BinaryOp { .. }))
    );
    assert!(
        matches!(expr("s.y[1]"), Expr::CompoundFieldAccess { root, .. } if matches!(*root, Expr::CompoundIdentifier(_)))
    );
    assert!(matches!(expr("substring(a, 1)"), Expr::Function(_)));
}

#[test]
fn casts_carry_sql_types() {
    for ty in
        ["BOOLEAN", "INTEGER", "BIGINT", "DOUBLE", "DECIMAL(10, 2)", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP"]
    {
        for ty in [ty.to_owned(), format!("MAP<STRING, ARRAY<{ty}>>"), format!("STRUCT<`a` {ty}, `B` ARRAY<{ty}>>")] {
            match expr(&format!("CAST(a AS {ty})")) {
                sqlparser::ast::Expr::Cast { data_type, .. } => {
                    let read = parse::sql_type(&data_type).unwrap();
                    assert_eq!(read.to_string(), ty);
                    assert_eq!(parse::data_type(&read), data_type);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(parse::sql_type(&parse::data_type(&SqlType::Date)), Some(SqlType::Date));
}

#[test]
fn what_ksqldb_cannot_read_is_read_as_a_query_over_history() {
    for text in [
        "SELECT * FROM s ORDER BY a LIMIT 3",
        "SELECT a FROM s ORDER BY a DESC NULLS LAST, b + 1 NULLS FIRST, 2 LIMIT 3 OFFSET 1",
        "WITH x AS (SELECT * FROM s), y AS (SELECT a FROM x) SELECT y.a FROM y AS y WHERE y.a > 1",
        "SELECT * FROM (SELECT a FROM s WHERE a -> b = 1) AS d WINDOW TUMBLING (SIZE 1 SECONDS)",
        "SELECT DISTINCT a FROM s",
        "WITH x AS (SELECT * FROM s) SELECT * FROM x JOIN t ON x.a = t.a",
        "SELECT a FROM s UNION ALL SELECT b FROM t INTERSECT SELECT c FROM u",
        "(SELECT a FROM s)",
        "SELECT transform(a, x => x + 1), CAST(m AS MAP<STRING, INT>) FROM s OFFSET 3",
        "SELECT * FROM (SELECT a FROM s) WHERE a IN (SELECT b FROM t) AND (SELECT MAX(c) FROM u) > a + (SELECT 1)",
        "SELECT a FROM s WHERE NOT EXISTS (SELECT * FROM t WHERE t.b = s.a AND EXISTS (SELECT 1)) ORDER BY (SELECT 2)",
        "SELECT f((SELECT 1)), ((SELECT 2)) FROM s WHERE a = ANY((SELECT 1) UNION (SELECT 2)) OR b <> ALL(SELECT 3)",
        "VALUES (1, 'a'), (2, 'b')",
        "WITH x (a, b) AS (VALUES (1, 2)) SELECT * FROM x AS y (c)",
        "SELECT 1 + 1",
        "SELECT * FROM a, b CROSS JOIN c NATURAL LEFT JOIN d JOIN e USING (x, y) JOIN f WITHIN 1 SECONDS ON f.a = (SELECT 1)",
        "SELECT * FROM s, LATERAL (SELECT s.a + 1 AS b) AS t, UNNEST(s.c) AS u (d)",
    ] {
        let statement = one(text);
        assert!(matches!(statement, Statement::Relational(_)), "{text}: {statement:?}");
        assert_eq!(one(&statement.to_string()), statement, "{text}");
    }
    for text in [
        "TABLE s",
        "SELECT a, COUNT(*) OVER (PARTITION BY b ORDER BY c) FROM s",
        "SELECT SUM(a) OVER w, LAG(a) IGNORE NULLS OVER (w ROWS 2 PRECEDING) FROM s WINDOW w AS (ORDER BY b DESC), v AS (w) QUALIFY a > 1",
        "SELECT COUNT(DISTINCT a, b), STRING_AGG(a, ',' ORDER BY b DESC) FILTER (WHERE b > 1) FROM s WINDOW TUMBLING (SIZE 1 SECONDS) \
         GROUP BY a, ROLLUP(b, (c, d)), CUBE(e), GROUPING SETS ((f), (g, h), ()) HAVING x > 1",
        "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a DESC) FROM s GROUP BY 1",
    ] {
        let statement = one(text);
        assert!(matches!(statement, Statement::Select(_)), "{text}: {statement:?}");
        assert_eq!(one(&statement.to_string()), statement, "{text}");
    }
    let Statement::Relational(query) = one("select a as x, `b` from s order by x") else { panic!() };
    assert_eq!(query.to_string(), "SELECT A AS X, `b` FROM S ORDER BY X");
    assert!(matches!(one("SELECT a FROM s JOIN t ON s.a = t.a"), Statement::Select(_)));
}

/// Each line would double what is planned.
#[test]
fn queries_over_history_have_a_bounded_number_of_parts() {
    let doubled = |width: &str| {
        let lines = (1..30).map(|i| format!(", q{i} AS ({})", width.replace('@', &format!("q{}", i - 1))));
        format!("WITH q0 AS (SELECT * FROM s){} SELECT * FROM q29", lines.collect::<String>())
    };
    for text in [
        doubled("SELECT * FROM @ UNION ALL SELECT * FROM @"),
        doubled("SELECT * FROM (SELECT a FROM @ EXCEPT SELECT b FROM @) AS d WINDOW TUMBLING (SIZE 1 SECOND)"),
    ] {
        assert_eq!(parse(&text).unwrap_err().message(), "the query has too many parts");
    }
}

#[test]
fn places_count_from_the_statement() {
    let text = "DROP STREAM a;\n/* é */ SELECT é_not FROM s;";
    assert!(parse(text).is_err());
    let text = "-- é\nSELECT 'é', Abc + 1 AS x FROM sss EMIT CHANGES;";
    let parsed = parse(text).unwrap().remove(0);
    assert_eq!(&text[parsed.span.start..parsed.span.end], parsed.text);
    let Statement::Select(select) = parsed.statement else { panic!() };
    assert_eq!(select.emit, Some(Emit::Changes));
    let at = |span: Span| &parsed.text[span.start..span.end];
    assert_eq!(at(select.from.name.span), "sss");
    let SelectItem::Expr { expr, alias, span } = &select.items[1] else { panic!() };
    assert_eq!(at(*span), "Abc + 1");
    assert_eq!(at(span_of(expr).unwrap()), "Abc + 1");
    assert_eq!(at(alias.as_ref().unwrap().span), "x");
}

#[test]
fn errors_say_where_and_what_was_meant() {
    assert_eq!(
        error("SELCT * FROM s;"),
        "line 1:1: Syntax Error\nUnexpected 'SELCT', expected a statement (did you mean SELECT?)"
    );
    assert_eq!(
        error("DROP STREAM a;\n  SELECT * FORM s;"),
        "line 2:12: Syntax Error\nUnexpected 'FORM', expected FROM or a comma (did you mean FROM?)"
    );
    assert_eq!(
        error("SELECT a FROM s WHRE a = 1 EMIT CHANGES"),
        "line 1:22: Syntax Error\nUnexpected 'a', expected the end of the statement (did you mean WHERE?)"
    );
    assert_eq!(
        error("CREATE STREM s (a INT) WITH (kafka_topic='t')"),
        "line 1:8: Syntax Error\nUnexpected 'STREM', expected STREAM or TABLE (did you mean STREAM?)"
    );
    assert_eq!(error("CREATE STREAM s (a INTT)"), "cannot resolve unknown type INTT: did you mean INT?");
    assert_eq!(
        error("SELECT a FROM s EMIT CHANGS"),
        "line 1:22: Syntax Error\nUnexpected 'CHANGS', expected CHANGES or FINAL (did you mean CHANGES?)"
    );
    assert_eq!(
        error("SELECT a + FROM s EMIT CHANGES"),
        "line 1:12: Syntax Error\nUnexpected 'FROM', expected an expression"
    );
    assert_eq!(
        error("SELECT a FROM"),
        "line 1:14: Syntax Error\nUnexpected the end of the statement, expected a stream or table"
    );
    assert_eq!(error("SELECT 'a FROM s"), "line 1:8: Syntax Error\nunterminated string literal");
    assert_eq!(error("CREATE STREAM s (a DECIMAL(2, 3))"), "DECIMAL precision must be >= scale: DECIMAL(2, 3)");
    assert_eq!(
        error("CREATE STREAM s AS SELECT a FROM (SELECT 1 +)"),
        "line 1:45: Syntax Error\nUnexpected ')', expected an expression"
    );
    assert_eq!(
        error("CREATE STREAM group (a INT)"),
        "line 1:15: Syntax Error\nUnexpected 'group', expected a name (quote it to use it as a name: `group`)"
    );
    assert_eq!(
        error("INSERT INTO s (a) VALUES (1, 2)"),
        "Failed to prepare statement: Expected number columns and values to match: 1, 2"
    );
    assert_eq!(
        error("SELECT f(a->*) FROM s EMIT CHANGES"),
        "->* is not an expression: it is allowed only as an entry of the SELECT list"
    );
    let late = parse("SELECT a FROM s EMIT CHANGES; SELECT b FRM s EMIT CHANGES").unwrap_err();
    assert_eq!(late.span(), Some(Span::new(43, 44)));
}

#[test]
fn no_text_is_too_deep_or_too_long_to_refuse() {
    let parens = |n: usize| format!("SELECT {}a{} FROM s EMIT CHANGES", "(".repeat(n), ")".repeat(n));
    one(&parens(100));
    assert!(error(&parens(1_000)).contains("nested too deeply"));
    assert!(error(&format!("SELECT a{} FROM s EMIT CHANGES", " + 1".repeat(100_000))).contains("too"));
    assert!(error(&format!("SELECT a{} FROM s", " OR a".repeat(990))).contains("too deep"));
    assert!(error(&format!("SELECT {}a FROM s", "NOT ".repeat(10_000))).contains("too"));
    assert!(error(&format!("SELECT {}a FROM s", "- ".repeat(900))).contains("too"));
    assert!(error(&format!("SELECT {}1 FROM s", "CASE WHEN ".repeat(400))).contains("too"));
    assert!(error(&format!("SELECT a{} FROM s", "->a".repeat(10_000))).contains("too"));
    assert!(error(&format!("CREATE STREAM s (a {}INT)", "ARRAY<".repeat(500))).contains("too"));
    assert!(error(&format!("CREATE STREAM s (a {}INT)", "ARRAY<".repeat(50))).contains("too"));
    assert!(error(&format!("CREATE STREAM s (a INT{})", " ARRAY".repeat(300))).contains("too"));
    assert!(error(&format!("SELECT 1{}", " UNION SELECT 1".repeat(10_000))).contains("too many parts"));
    assert!(error(&format!("INSERT INTO s VALUES ('{}')", "x".repeat(1 << 20))).contains("too long"));
    assert!(
        error(&format!("SELECT a IN (1{}) FROM s EMIT CHANGES", ", 1".repeat(100_000))).contains("too many tokens")
    );
    one(&format!("SELECT a IN (1{}) FROM s EMIT CHANGES", ", 1".repeat(40_000)));
    one(&format!("INSERT INTO s VALUES ('{}')", "x".repeat(1_000_000)));
    // Text in quotes and comments is not counted as tokens.
    one(&format!("INSERT INTO s VALUES ('{0}', /* {0} */ 1) -- {0}", "x, ".repeat(110_000)));
    one(&format!("SELECT a{} FROM s EMIT CHANGES", " + 1".repeat(200)));
}

#[test]
fn trying_twice_at_every_level_is_not_exponential() {
    for broken in [
        format!("SELECT {} FROM s", "SUBSTRING(".repeat(100)),
        format!("SELECT {} FROM s", "NOT (".repeat(60)),
        format!("SELECT {} FROM s", "CASE WHEN (".repeat(60)),
        format!("SELECT {} FROM s", "f(MAP('a' := ".repeat(40)),
        format!("SELECT * FROM {} a b c", "(".repeat(100)),
        format!("SELECT * FROM {} a b c", "((SELECT * FROM ".repeat(30)),
        format!("SELECT * FROM {} a b c", "(SELECT * FROM ".repeat(60)),
        format!("SELECT {} a b c", "(SELECT ".repeat(60)),
        format!("SELECT a IN {} a b c", "(SELECT a FROM s WHERE a IN ".repeat(60)),
        format!("SELECT {} FROM s", "CAST(TRIM(INTERVAL ".repeat(40)),
        format!("SELECT {} + {} FROM s", "ARRAY[".repeat(60), "]".repeat(60)),
        format!("SELECT {}+{} FROM s", "POSITION(".repeat(60), " IN a)".repeat(60)),
        format!("SELECT {} FROM s", "CURRENT_DATE(".repeat(60)),
        format!("SELECT {} FROM s", "a IN (f((".repeat(40)),
    ] {
        error(&broken);
    }
}

/// Words that make texts which are nearly statements.
const SOUP: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "PARTITION BY",
    "HAVING",
    "EMIT CHANGES",
    "LIMIT",
    "1",
    "a",
    "`b`",
    "\"c\"",
    "'d'",
    "*",
    ",",
    "(",
    ")",
    "[",
    "]",
    "->",
    "=>",
    ":=",
    ".",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    ">",
    ">>",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "IS NULL",
    "IS DISTINCT FROM",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST(",
    "AS",
    "ARRAY[",
    "MAP(",
    "STRUCT(",
    "ARRAY<",
    "INT",
    "DECIMAL(4,2)",
    "COUNT(*)",
    "f(",
    "x =>",
    "(x, y) =>",
    "INNER JOIN",
    "LEFT JOIN",
    "WITHIN 1 DAY",
    "ON",
    "WINDOW TUMBLING (SIZE 1 HOUR)",
    "CREATE STREAM s",
    "CREATE TABLE t",
    "WITH (",
    "INSERT INTO s",
    "VALUES (",
    "DROP STREAM",
    "SHOW",
    "TOPICS",
    "DESCRIBE",
    "EXPLAIN",
    "PRINT",
    "TERMINATE",
    "ORDER BY",
    "UNION",
    "DISTINCT",
    "INTERVAL",
    "'1' DAY",
    "SUBSTRING(",
    "TRIM(",
    "POSITION(",
    "EXTRACT(YEAR FROM",
    "DATE",
    "TIMESTAMP",
    "1.5",
    ".5",
    "1e3",
    "1x",
    "--c\n",
    "/*c*/",
    ";",
    "é",
    "${v}",
    "$",
    "@",
    "#",
    "::",
    "?",
    "!",
    "~",
    "{",
    "}",
    "\\",
    "AT TIME ZONE",
    "OVER (",
    "NULL",
    "TRUE",
];

/// Expressions that are well formed, to be put together.
fn expression(depth: u32) -> proptest::strategy::BoxedStrategy<String> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("s.`b c`".to_owned()),
        Just("-1".to_owned()),
        Just("2.50".to_owned()),
        Just("'it''s'".to_owned()),
        Just("NULL".to_owned()),
        Just("COUNT(*)".to_owned()),
    ];
    leaf.prop_recursive(depth, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                proptest::sample::select(&["+", "-", "*", "%", "||", "=", "<>", "<", "AND", "OR", "LIKE"][..])
            )
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            two.clone().prop_map(|(a, b)| format!("F({a}, x => x + {b})")),
            two.clone().prop_map(|(a, b)| format!("REDUCE(m, {a}, (s, k, v) => {b})")),
            two.clone().prop_map(|(a, b)| format!("CASE WHEN {a} THEN {b} ELSE 0 END")),
            two.clone().prop_map(|(a, b)| format!("{a} NOT BETWEEN 1 AND {b}")),
            two.clone().prop_map(|(a, b)| format!("({a}) IS NOT DISTINCT FROM {b}")),
            two.clone().prop_map(|(a, b)| format!("MAP('k' := {a}, 'l' := {b})['k']")),
            two.clone().prop_map(|(a, b)| format!("STRUCT(f := {a}, `g` := ARRAY[{b}])->`g`[1]")),
            inner.clone().prop_map(|a| format!("CAST({a} AS MAP<STRING, STRUCT<x INT, `y` DECIMAL(9, 3)>>)")),
            inner.clone().prop_map(|a| format!("NOT {a} IS NULL")),
            inner.clone().prop_map(|a| format!("({a})->f->`G`[2]")),
            inner.prop_map(|a| format!("{a} IN (1, 'x')")),
        ]
    })
    .boxed()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_it_panic_and_what_is_read_reads_back(
        words in proptest::collection::vec(proptest::sample::select(SOUP), 0..24),
        first in proptest::sample::select(&["", "SELECT a FROM s WHERE", "SELECT a", "CREATE STREAM s (a"][..]),
    ) {
        let text = format!("{first} {}", words.join(" "));
        if let Ok(all) = parse(&text) {
            for parsed in all {
                let printed = parsed.statement.to_string();
                let again = parse(&printed).unwrap_or_else(|e| panic!("{text}\n{printed}\n{e:?}"));
                proptest::prop_assert_eq!(&again[0].statement, &parsed.statement, "{}\n{}", text, printed);
            }
        }
    }

    #[test]
    fn every_expression_reads_back_as_itself(a in expression(4), b in expression(2)) {
        let statement = one(&format!("SELECT {a} AS x FROM s WHERE {b} EMIT CHANGES"));
        let printed = statement.to_string();
        proptest::prop_assert_eq!(&one(&printed), &statement, "{}", printed);
    }

    #[test]
    fn pieces_put_together_split_into_the_same_pieces(text in "[a;'\"`\\-/* \n]{0,40}") {
        let mut end = 0;
        for piece in split(&text) {
            proptest::prop_assert!(piece.span.start >= end && piece.span.end <= text.len());
            proptest::prop_assert_eq!(&text[piece.span.start..piece.span.end], piece.text);
            end = piece.span.end;
        }
        let texts: Vec<&str> = split(&text).iter().map(|p| p.text).collect();
        let joined = texts.join("\n;");
        proptest::prop_assert_eq!(split(&joined).iter().map(|p| p.text).collect::<Vec<_>>(), texts);
    }
}

#[test]
fn what_is_too_much_is_refused_soon() {
    let bombs = [
        format!("SELECT {}1{} FROM s EMIT CHANGES", "(".repeat(1_000), ")".repeat(1_000)),
        format!("SELECT a{} FROM s EMIT CHANGES", " + 1".repeat(100_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000)),
        format!("SELECT {} FROM s EMIT CHANGES", "a, ".repeat(350_000) + "a"),
    ];
    for bomb in bombs {
        let clock = SystemClock::shared();
        let start = clock.monotonic();
        assert!(parse(&bomb).is_err(), "{}", &bomb[..60]);
        let took = clock.monotonic() - start;
        // A tenth of a second on a machine that does nothing else; the tests share theirs.
        assert!(took < std::time::Duration::from_secs(1), "{took:?}: {}", &bomb[..60]);
    }
}
