//! The rows of COMPATIBILITY.md: what of ksqlDB is there, what of it is not, and statements that show it.

/// Does it work?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Works {
    Yes,
    /// The remark says what is missing.
    Partial,
    No,
}
use Works::{No, Partial, Yes};

/// One row of a table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) works: Works,
    pub(crate) remark: &'static str,
    /// Statements that are carried out, but for a row with [`No`]: there the last one is refused.
    pub(crate) probes: &'static [&'static str],
}

const fn row(what: &'static str, works: Works, remark: &'static str, probes: &'static [&'static str]) -> Row {
    Row { what, works, remark, probes }
}

/// What every probe finds.
pub(crate) const FIXTURE: &str = "
    CREATE STREAM s (id STRING KEY, n INT, l BIGINT, d DOUBLE, c DECIMAL(9, 2), b BOOLEAN, t TIMESTAMP, a ARRAY<INT>,
      m MAP<STRING, INT>, st STRUCT<f INT, g STRING>) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE STREAM r (id STRING KEY, n INT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE TABLE t (id STRING PRIMARY KEY, n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE TABLE u (id STRING PRIMARY KEY, ref STRING) WITH (KAFKA_TOPIC='u', VALUE_FORMAT='JSON', PARTITIONS=2);";

pub(crate) const STATEMENTS: &[Row] = &[
    row(
        "CREATE [SOURCE] STREAM, TABLE (columns)",
        Yes,
        "formats below; columns cannot be inferred",
        &["CREATE SOURCE TABLE x (id STRING PRIMARY KEY, n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON')"],
    ),
    row(
        "CREATE STREAM AS SELECT",
        Yes,
        "WHERE, expressions, JOIN, PARTITION BY, table functions",
        &["CREATE STREAM x AS SELECT id, n + 1 AS m FROM s WHERE n > 1"],
    ),
    row(
        "CREATE TABLE AS SELECT",
        Yes,
        "over streams: no window, TUMBLING, HOPPING, SESSION; EMIT CHANGES, EMIT FINAL; HAVING. Over tables: WHERE, expressions, JOIN, GROUP BY, HAVING",
        &["CREATE TABLE x AS SELECT id, COUNT(*) AS c FROM s GROUP BY id"],
    ),
    row(
        "CREATE OR REPLACE",
        Yes,
        "a query keeps its id and continues at its committed offsets: filters, expressions and columns at the end may change; not joins, windows, groupings over tables, and no filter may be added over a table",
        &["CREATE STREAM x AS SELECT id, n FROM s", "CREATE OR REPLACE STREAM x AS SELECT id, n, l FROM s WHERE n > 1"],
    ),
    row("INSERT INTO ... VALUES", Yes, "", &["INSERT INTO s (id, n) VALUES ('a', 1 + 1)"]),
    row(
        "INSERT INTO ... SELECT",
        Yes,
        "names must be those of the target, numbers widen to its types; WITH (QUERY_ID)",
        &["INSERT INTO r WITH (QUERY_ID='mine') SELECT id, n FROM s"],
    ),
    row(
        "SELECT ... EMIT CHANGES [LIMIT]",
        Yes,
        "the shapes of CREATE AS SELECT",
        &["SELECT * FROM s EMIT CHANGES LIMIT 1"],
    ),
    row(
        "SELECT without EMIT",
        Partial,
        "from a table that a query keeps: its committed rows, by key, window, range or scan, from one commit; everything else over history, see Batch",
        &[
            "SELECT id, COUNT(*) FROM s GROUP BY id",
            "SELECT id FROM s ORDER BY n",
            "VALUES (1)",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ],
    ),
    row(
        "SHOW, LIST STREAMS, TABLES, TOPICS, QUERIES, PROPERTIES, FUNCTIONS, TYPES, VARIABLES, SCHEMAS",
        Yes,
        "TOPICS EXTENDED counts the queries of this service that read a topic, not other consumers",
        &[
            "SHOW STREAMS EXTENDED",
            "LIST TABLES",
            "SHOW ALL TOPICS",
            "SHOW QUERIES",
            "SHOW PROPERTIES",
            "SHOW FUNCTIONS",
            "SHOW TYPES",
            "SHOW VARIABLES",
            "SHOW SCHEMAS",
        ],
    ),
    row(
        "SHOW [SOURCE, SINK] CONNECTORS, SHOW CONNECTOR PLUGINS",
        Yes,
        "",
        &["SHOW CONNECTORS", "LIST SOURCE CONNECTORS", "SHOW SINK CONNECTORS", "SHOW CONNECTOR PLUGINS"],
    ),
    row("DESCRIBE name [EXTENDED]", Yes, "", &["DESCRIBE s", "DESCRIBE t EXTENDED"]),
    row("DESCRIBE FUNCTION", Yes, "", &["DESCRIBE FUNCTION ucase"]),
    row("EXPLAIN", Yes, "also EXPLAIN ANALYZE of a query over history", &["EXPLAIN SELECT * FROM s EMIT CHANGES"]),
    row(
        "TERMINATE, PAUSE, RESUME, DROP",
        Yes,
        "",
        &[
            "CREATE STREAM x AS SELECT * FROM s",
            "PAUSE ALL",
            "RESUME ALL",
            "TERMINATE ALL",
            "DROP STREAM x DELETE TOPIC",
        ],
    ),
    row(
        "SET, UNSET, DEFINE, UNDEFINE",
        Yes,
        "",
        &["SET 'auto.offset.reset'='earliest'", "UNSET 'auto.offset.reset'", "DEFINE x = '1'", "UNDEFINE x"],
    ),
    row(
        "PRINT",
        Yes,
        "formats are guessed record by record; numbers say their type",
        &["PRINT s FROM BEGINNING INTERVAL 2 LIMIT 3"],
    ),
    row("CREATE TYPE, DROP TYPE", Yes, "", &["CREATE TYPE x AS STRUCT<a INT>", "DROP TYPE x"]),
    row("ALTER STREAM, TABLE ... ADD", Yes, "", &["ALTER STREAM s ADD COLUMN x INT, ADD y STRING"]),
    row("ASSERT [NOT EXISTS] TOPIC", Yes, "", &["ASSERT TOPIC s WITH (PARTITIONS=2)", "ASSERT NOT EXISTS TOPIC x"]),
    row("ALTER SYSTEM", No, "", &["ALTER SYSTEM 'a'='b'"]),
    row(
        "ASSERT [NOT EXISTS] SCHEMA",
        Yes,
        "",
        &["ASSERT NOT EXISTS SCHEMA SUBJECT x ID 3 TIMEOUT 1 SECOND", "ASSERT SCHEMA ID 1"],
    ),
    row(
        "CREATE SOURCE, SINK CONNECTOR; DROP, DESCRIBE CONNECTOR",
        Yes,
        "carried out by the workers of Kafka Connect that `ksql.connect.url` names",
        &[
            "CREATE SOURCE CONNECTOR c WITH ('connector.class'='x.Y')",
            "CREATE SINK CONNECTOR IF NOT EXISTS x WITH ('connector.class'='x.Y', 'tasks.max'=1)",
            "DESCRIBE CONNECTOR x",
            "DROP CONNECTOR x",
        ],
    ),
    row("RUN SCRIPT", Yes, "at the prompt and in `tidegate sql`; the file is the client's", &["RUN SCRIPT 'x'"]),
    row(
        "COPY (query) TO file",
        Yes,
        "beyond ksqlDB; CSV, JSON, Arrow, at the prompt and in `tidegate sql`: a server writes no files",
        &["COPY (SELECT n FROM s) TO 'x.csv' (HEADER false)", "COPY t TO 'x.json'"],
    ),
    row(
        "VERIFY QUERY",
        Partial,
        "beyond ksqlDB; says why not for EMIT FINAL, outer joins of streams, several writers and a history with gaps",
        &["CREATE STREAM v AS SELECT * FROM s EMIT CHANGES", "VERIFY QUERY CSAS_V_4"],
    ),
];

pub(crate) const CLAUSES: &[Row] = &[
    row(
        "WHERE, HAVING",
        Yes,
        "over a table a row that leaves the condition is a tombstone, if it was there",
        &[
            "CREATE TABLE x AS SELECT id, COUNT(*) AS c FROM s WHERE n > 1 GROUP BY id HAVING COUNT(*) > 1",
            "CREATE TABLE y AS SELECT * FROM t WHERE n > 1",
        ],
    ),
    row(
        "GROUP BY",
        Yes,
        "over a table: the aggregates that can take a value back; a group that all rows have left stays, with nothing in it (a SELECT without EMIT has no such group)",
        &["CREATE TABLE x AS SELECT n, COUNT(*) AS c FROM t GROUP BY n"],
    ),
    row(
        "WINDOW TUMBLING, HOPPING, SESSION, GRACE PERIOD, RETENTION",
        Yes,
        "EMIT FINAL loses no window, however time jumps (in ksqlDB's dialect it does, and RETENTION then says how long they are kept)",
        &[
            "CREATE TABLE x AS SELECT id, COUNT(*) AS c FROM s WINDOW HOPPING (SIZE 2 SECONDS, ADVANCE BY 1 SECOND, RETENTION 1 DAY, GRACE PERIOD 1 HOUR) GROUP BY id EMIT FINAL",
            "CREATE TABLE y AS SELECT id, COUNT(*) AS c FROM s WINDOW SESSION (5 SECONDS) GROUP BY id",
            "CREATE TABLE z AS SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 5 SECONDS) GROUP BY id",
        ],
    ),
    row(
        "WITH (LATE_TOPIC = 'name')",
        Yes,
        "not in ksqlDB: the records of late rows go to a topic",
        &[
            "CREATE TABLE x WITH (LATE_TOPIC='late') AS SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 5 SECONDS) GROUP BY id",
        ],
    ),
    row(
        "Joins of streams WITHIN: INNER, LEFT, RIGHT, FULL OUTER, GRACE PERIOD, several in one statement",
        Yes,
        "rows beyond `tidegate.join.memory.bytes` (128 MiB for all joins of a process) go to files in `ksql.streams.state.dir` (`--set`), by default a folder of the data directory",
        &[
            "CREATE STREAM x AS SELECT s.id AS id, r.n FROM s JOIN r WITHIN (1 SECOND, 2 SECONDS) GRACE PERIOD 1 SECOND ON s.id = r.id",
            "CREATE STREAM y AS SELECT ROWKEY, s.n, r.n FROM s FULL JOIN r WITHIN 1 SECOND ON s.id = r.id",
        ],
    ),
    row(
        "Joins with tables: stream-table INNER, LEFT; table-table INNER, LEFT, RIGHT, FULL OUTER; by foreign key INNER, LEFT",
        Yes,
        "a stream's row without key or value meets nothing",
        &[
            "CREATE STREAM x AS SELECT s.id AS id, t.n FROM s LEFT JOIN t ON s.id = t.id",
            "CREATE TABLE y AS SELECT t.id AS id, t.n, u.ref FROM t JOIN u ON t.id = u.id",
            "CREATE TABLE z AS SELECT u.id AS id, u.ref, t.n FROM u JOIN t ON u.ref = t.id",
        ],
    ),
    row(
        "Self-joins",
        No,
        "rejected with ksqlDB's message",
        &["CREATE STREAM x AS SELECT a.id AS id, b.n FROM s a JOIN s b WITHIN 1 SECOND ON a.id = b.id"],
    ),
    row(
        "Joins by several conditions",
        No,
        "rejected with ksqlDB's message",
        &["CREATE STREAM x AS SELECT s.id AS id, r.n FROM s JOIN r WITHIN 1 SECOND ON s.id = r.id AND s.n = r.n"],
    ),
    row("PARTITION BY", Yes, "", &["CREATE STREAM x AS SELECT n, id FROM s PARTITION BY n"]),
    row("EXPLODE, CUBE_EXPLODE", Yes, "", &["CREATE STREAM x AS SELECT id, EXPLODE(a) AS i FROM s"]),
    row(
        "ROWTIME, ROWPARTITION, ROWOFFSET, WINDOWSTART, WINDOWEND",
        Yes,
        "",
        &[
            "CREATE STREAM x AS SELECT id, ROWTIME AS a, ROWPARTITION AS p, ROWOFFSET AS o FROM s",
            "CREATE TABLE y AS SELECT id, WINDOWSTART AS a, WINDOWEND AS e, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 5 SECONDS) GROUP BY id",
        ],
    ),
    row(
        "HEADERS, HEADER('key') columns",
        Yes,
        "headers travel from source to sink",
        &[
            "CREATE STREAM x (h ARRAY<STRUCT<key STRING, value BYTES>> HEADERS, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON')",
        ],
    ),
    row("LIMIT", Yes, "of a SELECT", &["SELECT * FROM s LIMIT 2", "SELECT * FROM s EMIT CHANGES LIMIT 2"]),
];

pub(crate) const EXPRESSIONS: &[Row] = &[
    row(
        "the ten scalar types, ARRAY, MAP, STRUCT",
        Yes,
        "DECIMAL up to 76 digits",
        &["CREATE STREAM x AS SELECT id, a[1] AS e, m['k'] AS v, st->f AS f FROM s"],
    ),
    row(
        "arithmetic, comparisons, AND OR NOT, CASE, CAST, LIKE, BETWEEN, IN, IS DISTINCT FROM",
        Yes,
        "two-valued NULL logic and error state as in ksqlDB",
        &[
            "CREATE STREAM x AS SELECT id, CASE WHEN n + 1 > 2 AND NOT (id LIKE 'a%') THEN CAST(n AS STRING) END AS y FROM s WHERE n IN (1, 2) OR n BETWEEN 3 AND 4 OR n IS DISTINCT FROM 5",
        ],
    ),
    row(
        "lambdas: TRANSFORM, FILTER, REDUCE",
        Yes,
        "",
        &["CREATE STREAM x AS SELECT id, REDUCE(a, 0, (x, y) => x + y) AS y FROM s"],
    ),
    row(
        "the 129 scalar functions",
        Yes,
        "regular expressions have at most 64 KiB, with a text at most 256 Mi bytes of one times bytes of the other, and give up after 200,000 steps back; half of a character beyond U+FFFF is U+FFFD; constant patterns, zones, encodings and paths are checked when the statement is; DataFusion's functions are callable where the name is free",
        &["CREATE STREAM x AS SELECT id, UCASE(id) AS y, STRPOS(id, 'a') AS z FROM s"],
    ),
    row(
        "the 18 aggregates",
        Yes,
        "SUM, MIN and MAX of DECIMAL up to 38 digits, which every SUM has (in ksqlDB's dialect its argument's); a SUM beyond them stops the query; ranks of STRING by UTF-16 unit, as Java; COUNT_DISTINCT is ksqlDB's estimate for numbers and STRING",
        &["CREATE TABLE x AS SELECT id, SUM(c) AS y, TOPK(n, 3) AS z FROM s GROUP BY id"],
    ),
    row("user-defined functions", No, "", &["CREATE FUNCTION f(x) AS x"]),
];

/// Properties of WITH: a value, and a remark.
pub(crate) const PROPERTIES: &[(&str, &str, &str)] = &[
    ("KAFKA_TOPIC", "'p'", ""),
    ("PARTITIONS", "2", ""),
    ("REPLICAS", "1", ""),
    ("RETENTION_MS", "1000", ""),
    ("FORMAT", "'JSON'", ""),
    ("KEY_FORMAT", "'JSON'", ""),
    ("VALUE_FORMAT", "'JSON'", ""),
    ("KEY_DELIMITER", "';'", "of DELIMITED keys; inherited by a sink of the same format"),
    ("VALUE_DELIMITER", "'TAB'", "of DELIMITED values; inherited by a sink of the same format"),
    ("WRAP_SINGLE_VALUE", "true", ""),
    ("TIMESTAMP", "'l'", ""),
    ("TIMESTAMP_FORMAT", "'yyyy-MM-dd'", "DateTimeFormatter patterns of Java 11 in English"),
    ("WINDOW_TYPE", "'SESSION'", ""),
    ("WINDOW_SIZE", "'1 SECOND'", "beside WINDOW_TYPE"),
    ("LATE_TOPIC", "'late'", "not in ksqlDB; windowed groupings"),
    ("QUERY_ID", "'q'", "of INSERT INTO ... SELECT only"),
    ("KEY_SCHEMA_ID", "1", ""),
    ("VALUE_SCHEMA_ID", "2", ""),
    ("KEY_SCHEMA_FULL_NAME", "'x'", "of AVRO and PROTOBUF; JSON_SR takes and ignores it, as in ksqlDB"),
    ("VALUE_SCHEMA_FULL_NAME", "'x'", "of AVRO and PROTOBUF; JSON_SR takes and ignores it, as in ksqlDB"),
    ("VALUE_AVRO_SCHEMA_FULL_NAME", "'x'", ""),
    ("KEY_PROTOBUF_NULLABLE_REPRESENTATION", "'WRAPPER'", ""),
    ("VALUE_PROTOBUF_NULLABLE_REPRESENTATION", "'WRAPPER'", ""),
    ("SOURCED_BY_CONNECTOR", "'x'", ""),
    ("CLEANUP_POLICY", "'compact'", "chosen by the engine, as in ksqlDB"),
];

/// Formats, and what is missing in those that work.
pub(crate) const FORMATS: &[(&str, &str)] = &[
    ("JSON", "a byte order mark, UTF-16 and invalid UTF-8 make a record bad; MAP keeps the document's order"),
    ("KAFKA", ""),
    ("NONE", ""),
    ("DELIMITED", "KEY_DELIMITER, VALUE_DELIMITER"),
    (
        "PROTOBUF_NOSR",
        "an ARRAY or MAP cannot stand alone: not as the only key column, nor with WRAP_SINGLE_VALUE=FALSE",
    ),
    ("AVRO", ""),
    ("PROTOBUF", ""),
    ("JSON_SR", ""),
];

/// Endpoints by method and path; the path is that of the route.
pub(crate) const ENDPOINTS: &[(&str, &str, Works, &str)] = &[
    ("POST", "/ksql", Yes, "all statements are planned on a copy before the first is carried out"),
    (
        "POST",
        "/query-stream",
        Partial,
        "delimited, JSON array, and ksqlDB's row objects; not `application/vnd.ksql.v1+protobuf`, which no client of ksqlDB asks for: 406",
    ),
    ("POST", "/query", Yes, ""),
    ("POST", "/inserts-stream", Yes, "streams and tables without windows; each row is acknowledged when it is durable"),
    ("POST", "/close-query", Yes, "by the user who opened the query, or an administrator"),
    ("GET", "/info", Yes, ""),
    ("GET", "/", Yes, "leads to /info, and a browser to the console"),
    ("GET", "/healthcheck", Yes, ""),
    ("GET", "/livez", Yes, ""),
    ("GET", "/readyz", Yes, ""),
    ("GET", "/chc/live", Yes, ""),
    ("GET", "/chc/ready", Yes, ""),
    ("GET", "/v1/metadata", Yes, ""),
    ("GET", "/v1/metadata/id", Yes, ""),
    ("GET", "/status", Yes, "a statement is complete when its response arrives"),
    (
        "GET",
        "/status/{kind}/{entity}/{action}",
        Yes,
        "a statement is complete when its response arrives; back quotes of a name come as `%60` or are left out: a raw one is no URI (RFC 3986)",
    ),
    ("GET", "/clusterStatus", Partial, "one host, without lags"),
    ("GET", "/is_valid_property/{name}", Yes, ""),
    ("GET", "/ws/query", Yes, "HTTP/1.1"),
    ("GET", "/metrics", Yes, "not in ksqlDB: Prometheus' text format"),
    ("POST", "/ksql/terminate", Yes, "afterwards statements fail with 50304; the process runs until it is stopped"),
    ("POST", "/heartbeat", Yes, "accepted without effect: there is one node"),
    ("POST", "/lag", Yes, "the same"),
    (
        "GET",
        "/schema-registry",
        Yes,
        "not in ksqlDB, as all below: the built-in schema registry, with the API of Confluent's",
    ),
    ("GET", "/schema-registry/", Yes, ""),
    ("GET", "/schema-registry/subjects", Yes, "`subjectPrefix`, `deleted`, `deletedOnly`, `offset`, `limit`"),
    ("POST, DELETE", "/schema-registry/subjects/{subject}", Yes, "`normalize`, `deleted`, `permanent`"),
    (
        "GET, POST",
        "/schema-registry/subjects/{subject}/versions",
        Partial,
        "`normalize`; `id` and `version` in mode IMPORT; `metadata` and `ruleSet` are refused",
    ),
    (
        "GET, DELETE",
        "/schema-registry/subjects/{subject}/versions/{version}",
        Yes,
        "`deleted`, `permanent`, `format=serialized`",
    ),
    ("GET", "/schema-registry/subjects/{subject}/versions/{version}/schema", Yes, ""),
    ("GET", "/schema-registry/subjects/{subject}/versions/{version}/referencedby", Yes, ""),
    ("GET", "/schema-registry/schemas", Yes, "`subjectPrefix`, `deleted`, `latestOnly`, `offset`, `limit`"),
    ("GET", "/schema-registry/schemas/types", Yes, ""),
    ("GET", "/schema-registry/schemas/ids/{id}", Yes, "`format=serialized`, `fetchMaxId`"),
    ("GET", "/schema-registry/schemas/ids/{id}/schema", Yes, ""),
    ("GET", "/schema-registry/schemas/ids/{id}/subjects", Yes, ""),
    ("GET", "/schema-registry/schemas/ids/{id}/versions", Yes, ""),
    ("GET", "/schema-registry/schemas/guids/{guid}", Yes, ""),
    ("GET", "/schema-registry/schemas/guids/{guid}/ids", Yes, ""),
    (
        "POST",
        "/schema-registry/compatibility/subjects/{subject}/versions",
        Partial,
        "`verbose`; of JSON schemas some keywords are not compared: a difference in them is incompatible",
    ),
    ("POST", "/schema-registry/compatibility/subjects/{subject}/versions/{version}", Partial, "the same"),
    ("GET, PUT, DELETE", "/schema-registry/config", Partial, "the level alone"),
    ("GET, PUT, DELETE", "/schema-registry/config/{subject}", Partial, "the level alone; `defaultToGlobal`"),
    ("GET, PUT, DELETE", "/schema-registry/mode", Yes, "READWRITE, READONLY, IMPORT; `force`"),
    ("GET, PUT, DELETE", "/schema-registry/mode/{subject}", Yes, "the same; `defaultToGlobal`"),
    ("GET", "/schema-registry/contexts", Partial, "one context, `.`"),
    ("GET", "/schema-registry/v1/metadata/id", Yes, ""),
    ("GET", "/schema-registry/v1/metadata/version", Yes, ""),
    (
        "GET",
        "/schema-registry/associations/{*path}",
        Partial,
        "there are none: 404 with 40410, after which clients go by the name of the topic",
    ),
];
