//! Planning: what each rule accepts, refuses and makes of a statement.

use std::collections::BTreeMap;
use tidegate::catalog::{Catalog, Effect, Format, Source};
use tidegate::error::Result;
use tidegate::execute::compile;
use tidegate::execute::pipeline::{InputColumn, Pipeline};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, BatchPlan, Created, Facts, InsertPlan, Settings, TopicFact};

/// A catalogue that grows by statements.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) facts: Facts,
    pub(crate) settings: Settings,
    queries: u32,
}

/// What a statement came to.
#[derive(Debug)]
pub(crate) enum Done {
    Made(Box<Source>, Option<plan::TopicRequest>),
    Query(Box<plan::QueryPlan>),
    Push(plan::TransientPlan),
    Batch(BatchPlan),
    Insert(InsertPlan),
    Exists(String),
}

impl World {
    pub(crate) fn new(statements: &str) -> World {
        let mut world = World::default();
        world.run(statements).expect("the fixture is planned");
        world
    }

    /// Plans all statements, and returns the last.
    pub(crate) fn run(&mut self, text: &str) -> Result<Done> {
        let mut last = None;
        for parsed in tidegate::parse::parse(text)? {
            last = Some(self.one(&parsed.statement, &parsed.text)?);
        }
        Ok(last.expect("there is a statement"))
    }

    fn one(&mut self, statement: &Statement, sql: &str) -> Result<Done> {
        let (catalog, facts, settings) = (&self.catalog, &self.facts, &self.settings);
        Ok(match statement {
            Statement::CreateSource(stmt) => match plan::create_source(stmt, catalog, facts, settings, sql)? {
                Created::Exists(text) => Done::Exists(text),
                Created::New(made) => {
                    self.topic(&made.source);
                    self.catalog.apply(&Effect::CreateSource(Box::new(made.source.clone())));
                    Done::Made(Box::new(made.source), made.create_topic)
                }
            },
            Statement::CreateAs(stmt) => {
                let id = format!("Q_{}", self.queries);
                match plan::create_as(stmt, &id, catalog, facts, settings, sql)? {
                    Created::Exists(text) => Done::Exists(text),
                    Created::New(made) => {
                        self.queries += 1;
                        self.topic(&made.sink);
                        self.catalog.apply(&Effect::CreateSource(Box::new(made.sink.clone())));
                        Done::Query(Box::new(made))
                    }
                }
            }
            Statement::InsertValues(stmt) => {
                Done::Insert(plan::insert_values(stmt, catalog, &settings.topics)?.remove(0))
            }
            Statement::InsertSelect(stmt) => {
                Done::Query(Box::new(plan::insert_select(stmt, "INSERTQUERY_0", catalog, settings)?))
            }
            Statement::Select(select) if select.emit.is_some() => {
                Done::Push(plan::push_query(select, catalog, settings)?)
            }
            Statement::Select(select) => Done::Batch(plan::batch_query(select, catalog, settings)?),
            Statement::Relational(query) => Done::Batch(plan::relational_query(query, catalog, settings)?),
            other => panic!("not planned here: {other:?}"),
        })
    }

    fn topic(&mut self, source: &Source) {
        let fact = TopicFact { partitions: source.partitions, replicas: 1 };
        self.facts.topics.insert(source.topic.clone(), fact);
    }

    fn query(&mut self, sql: &str) -> plan::QueryPlan {
        match self.run(sql).unwrap() {
            Done::Query(query) => *query,
            other => panic!("not a query: {other:?}"),
        }
    }

    fn pipeline(&mut self, sql: &str) -> Pipeline {
        match self.run(sql).unwrap() {
            Done::Query(query) => compile::pipeline(&query.logical).unwrap(),
            Done::Push(push) => compile::pipeline(&push.logical).unwrap(),
            other => panic!("not continuous: {other:?}"),
        }
    }

    fn error(&mut self, sql: &str) -> String {
        match self.run(sql) {
            Ok(done) => panic!("{sql}\nwas planned: {done:?}"),
            Err(e) => e.to_string(),
        }
    }
}

/// Sources that most tests use.
pub(crate) const SOURCES: &str = "
    CREATE STREAM s (id INT KEY, name STRING, a INT, b BIGINT, d DOUBLE, st STRUCT<f INT, g STRING>)
      WITH (kafka_topic='s', partitions=4, value_format='JSON');
    CREATE STREAM nokey (v INT, w STRING) WITH (kafka_topic='nokey', partitions=2, value_format='JSON');
    CREATE STREAM two (k1 INT KEY, k2 STRING KEY, v INT) WITH (kafka_topic='two', partitions=3, format='JSON');
    CREATE STREAM raw (k STRING KEY, v INT) WITH (kafka_topic='raw', partitions=1, format='KAFKA');
    CREATE TABLE t (id STRING PRIMARY KEY, n INT) WITH (kafka_topic='t', partitions=4, value_format='JSON');
    CREATE STREAM win (k STRING KEY, v INT)
      WITH (kafka_topic='win', partitions=1, value_format='JSON', window_type='tumbling', window_size='10 seconds');
    CREATE TABLE wint (k STRING PRIMARY KEY, v INT)
      WITH (kafka_topic='wint', partitions=1, value_format='JSON', window_type='SESSION');
    CREATE STREAM \"lower\" (id INT KEY, v INT) WITH (kafka_topic='lower', partitions=1, value_format='JSON');
    CREATE SOURCE STREAM ro (k INT KEY, v INT) WITH (kafka_topic='ro', partitions=1, value_format='JSON');
";

#[test]
fn create_source_refuses_what_ksqldb_refuses() {
    let cases = [
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', partitions=1);", "missing the 'VALUE_FORMAT' property"),
        (
            "CREATE STREAM x (a INT) WITH (value_format='JSON', partitions=1);",
            "Missing required property \"KAFKA_TOPIC\"",
        ),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', value_format='JSON');", "Topic 'x' does not exist."),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', value_format='FOO');", "Unknown format: FOO"),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', value_format='AVRO');", "Topic 'x' does not exist."),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', format='JSON', key_format='KAFKA');", "Cannot supply both"),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', value_format='JSON', foo='1');", "Invalid config variable(s)"),
        ("CREATE STREAM x (a INT) WITH (kafka_topic='x', value_format='JSON', partitions=0);", "larger than 0"),
        (
            "CREATE STREAM x (a INT) WITH (kafka_topic='s', value_format='JSON', partitions=9);",
            "expects 9 partitions (topic has 4)",
        ),
        (
            "CREATE STREAM x (a INT PRIMARY KEY) WITH (kafka_topic='s', value_format='JSON');",
            "Column `A` is a 'PRIMARY KEY' column: please use 'KEY' for streams.",
        ),
        ("CREATE TABLE x (a INT) WITH (kafka_topic='s', value_format='JSON');", "Tables require a PRIMARY KEY."),
        (
            "CREATE STREAM x (a INT, a INT) WITH (kafka_topic='s', value_format='JSON');",
            "Failed to prepare statement: Duplicate column names: `A`",
        ),
        (
            "CREATE STREAM x (rowtime INT) WITH (kafka_topic='s', value_format='JSON');",
            "'ROWTIME' is a reserved column name. You cannot use it as a name for a column.",
        ),
        ("CREATE STREAM x WITH (kafka_topic='s', value_format='JSON');", "No columns supplied."),
        (
            "CREATE STREAM x (a INT, b INT) WITH (kafka_topic='s', value_format='KAFKA');",
            "The 'KAFKA' format only supports a single field. Got: [`A` INTEGER, `B` INTEGER]",
        ),
        (
            "CREATE STREAM x (k BOOLEAN KEY, b INT) WITH (kafka_topic='s', value_format='JSON');",
            "Key format does not support schema.\nformat: KAFKA\nschema: Persistence{columns=[`K` BOOLEAN KEY], features=[]}\nreason: The 'KAFKA' format does not support type 'BOOLEAN'",
        ),
        (
            "CREATE STREAM x (k INT KEY, b INT) WITH (kafka_topic='s', key_format='NONE', value_format='JSON');",
            "The 'NONE' format can only be used when no columns are defined. Got: [`K` INTEGER KEY]",
        ),
        (
            "CREATE STREAM x (k MAP<STRING, INT> KEY, b INT) WITH (kafka_topic='s', format='JSON');",
            "Map keys, including types that contain maps, are not supported",
        ),
        (
            "CREATE STREAM x (a MAP<INT, INT>) WITH (kafka_topic='s', value_format='JSON');",
            "JSON only supports MAP types with STRING keys",
        ),
        (
            "CREATE STREAM x (a INT, b INT) WITH (kafka_topic='s', value_format='JSON', wrap_single_value=false);",
            "'WRAP_SINGLE_VALUE' is only valid for single-field value schemas",
        ),
        (
            "CREATE STREAM x (a INT) WITH (kafka_topic='s', value_format='KAFKA', wrap_single_value=true);",
            "Format 'KAFKA' does not support 'WRAP_SINGLE_VALUE' set to 'true'.",
        ),
        (
            "CREATE STREAM x (a INT) WITH (kafka_topic='s', value_format='JSON', timestamp='zz');",
            "The TIMESTAMP column set in the WITH clause does not exist in the schema: 'ZZ'",
        ),
        (
            "CREATE STREAM x (a STRING KEY, b INT) WITH (kafka_topic='s', value_format='JSON', window_type='session', window_size='1 second');",
            "'WINDOW_SIZE' should not be set for SESSION windows.",
        ),
        (
            "CREATE STREAM x (a STRING KEY, b INT) WITH (kafka_topic='s', value_format='JSON', window_type='tumbling', window_size='30 bobs');",
            "Configuration WINDOW_SIZE is invalid: Invalid duration: '30 bobs'. Unknown time unit: 'BOBS'",
        ),
        (
            "CREATE STREAM s (a INT) WITH (kafka_topic='s', value_format='JSON');",
            "Cannot add stream 'S': A stream with the same name already exists",
        ),
        (
            "CREATE OR REPLACE STREAM ro (k INT KEY, v INT) WITH (kafka_topic='ro', value_format='JSON');",
            "Cannot add stream 'RO': CREATE OR REPLACE is not supported on source streams.",
        ),
    ];
    for (sql, wanted) in cases {
        let got = World::new(SOURCES).error(sql);
        assert!(got.contains(wanted), "{sql}\n  wanted: {wanted}\n  got: {got}");
    }
}

#[test]
fn create_source_registers_what_was_declared() {
    let mut world = World::default();
    let Done::Made(source, topic) = world
        .run("CREATE TABLE x (k INT PRIMARY KEY, \"v\" STRING, ts BIGINT) WITH (kafka_topic='X1', partitions=3, replicas=2, value_format='json', timestamp='ts');")
        .unwrap()
    else {
        panic!("nothing was made")
    };
    assert_eq!(source.schema.to_string(), "`K` INTEGER KEY, `v` STRING, `TS` BIGINT");
    assert_eq!((source.key_format, source.value_format, source.partitions), (Format::Kafka, Format::Json, 3));
    assert_eq!(source.timestamp.unwrap().column, "TS");
    let topic = topic.unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions, topic.replicas), ("X1", 3, Some(2)));
    assert_eq!(topic.config, BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]));
    let again = "CREATE TABLE IF NOT EXISTS x (k INT PRIMARY KEY) WITH (kafka_topic='X1', value_format='JSON');";
    let Done::Exists(text) = world.run(again).unwrap() else { panic!("it was made again") };
    assert_eq!(text, "Cannot add table 'X': A table with the same name already exists.");
    // A stream without key columns has no key at all.
    let Done::Made(source, topic) =
        world.run("CREATE STREAM y (v INT) WITH (kafka_topic='X1', value_format='KAFKA');").unwrap()
    else {
        panic!("nothing was made")
    };
    assert_eq!((source.key_format, source.unwrapped_value, topic), (Format::None, true, None));
}

#[test]
fn create_as_refuses_what_ksqldb_refuses() {
    let cases = [
        ("CREATE STREAM o AS SELECT * FROM nowhere;", "NOWHERE does not exist."),
        ("CREATE STREAM o AS SELECT id, bob FROM s;", "SELECT column 'BOB' cannot be resolved."),
        (
            "CREATE STREAM o AS SELECT id, x.a FROM s;",
            "Failed to prepare statement: 'X' is not a valid stream/table name or alias.",
        ),
        ("CREATE STREAM o AS SELECT x.* FROM s;", "'X' is not a valid stream/table name or alias."),
        (
            "CREATE STREAM o AS SELECT a FROM s;",
            "The query used to build `O` must include the key column ID in its projection (eg, SELECT ID...).",
        ),
        (
            "CREATE STREAM o AS SELECT k1, v FROM two;",
            "must include the key columns K1 and K2 in its projection (eg, SELECT K1, K2...).",
        ),
        (
            "CREATE STREAM o AS SELECT id, id AS id2, a FROM s;",
            "The projection contains a key column (`ID`) more than once, aliased as: ID and ID2.",
        ),
        ("CREATE STREAM o AS SELECT id FROM s;", "The projection contains no value columns."),
        ("CREATE STREAM o AS SELECT id, a, b AS a FROM s;", "Duplicate value columns found in schema: `A` BIGINT"),
        (
            "CREATE STREAM o AS SELECT id, rowtime FROM s;",
            "Reserved column name in select: `ROWTIME`. Please remove or alias the column.",
        ),
        (
            "CREATE STREAM o AS SELECT id, a AS rowtime FROM s;",
            "`ROWTIME` is a reserved column name. You cannot use it as an alias for a column.",
        ),
        (
            "CREATE STREAM o AS SELECT id, a FROM s WHERE a + 1;",
            "Type error in WHERE expression: Should evaluate to boolean but is (A + 1) (INTEGER) instead.",
        ),
        (
            "CREATE TABLE o AS SELECT * FROM s;",
            "Invalid result type. Your SELECT query produces a STREAM. Please use CREATE STREAM AS SELECT statement instead.",
        ),
        (
            "CREATE STREAM o AS SELECT id, count(*) FROM s GROUP BY id;",
            "Invalid result type. Your SELECT query produces a TABLE. Please use CREATE TABLE AS SELECT statement instead.",
        ),
        (
            "CREATE TABLE o AS SELECT count(*) FROM s;",
            "CREATE TABLE AS SELECT statement does not support aggregate function [COUNT(ROWTIME)] without a GROUP BY clause.",
        ),
        (
            "CREATE TABLE o AS SELECT id, count(*) FROM s;",
            "Non-aggregate SELECT expression(s) not part of GROUP BY: ID",
        ),
        (
            "CREATE TABLE o AS SELECT name, a, count(*) FROM s GROUP BY name;",
            "Non-aggregate SELECT expression(s) not part of GROUP BY: A\nEither add the column(s) to the GROUP BY or remove them from the SELECT.",
        ),
        (
            "CREATE TABLE o AS SELECT a - b, count(*) FROM s GROUP BY b - a;",
            "Non-aggregate SELECT expression(s) not part of GROUP BY: (A - B)",
        ),
        (
            "CREATE TABLE o AS SELECT name, nope, count(*) FROM s GROUP BY name;",
            "SELECT column 'NOPE' cannot be resolved.",
        ),
        (
            "CREATE TABLE o AS SELECT name FROM s GROUP BY name;",
            "GROUP BY requires aggregate functions in either the SELECT or HAVING clause.",
        ),
        (
            "CREATE TABLE o AS SELECT count(*) FROM s GROUP BY 1 + sum(a);",
            "GROUP BY does not support aggregate functions: SUM is an aggregate function.",
        ),
        (
            "CREATE TABLE o AS SELECT count(*) AS name FROM s GROUP BY name;",
            "must include the grouping expression NAME in its projection (eg, SELECT NAME...).",
        ),
        (
            "CREATE TABLE o AS SELECT count(*) FROM s GROUP BY id, name, a;",
            "must include the grouping expressions ID, NAME and A in its projection (eg, SELECT ID, NAME, A...).",
        ),
        (
            "CREATE TABLE o WITH (key_format='JSON') AS SELECT name, a, name AS n2, count(*) FROM s GROUP BY name, a;",
            "The projection contains a key column more than once: `NAME` and `N2`.",
        ),
        (
            "CREATE TABLE o AS SELECT name, a, count(*) FROM s GROUP BY name, a;",
            "The 'KAFKA' format only supports a single field. Got: [`NAME` STRING KEY, `A` INTEGER KEY]",
        ),
        (
            "CREATE TABLE o AS SELECT name AS n, count(*) AS n FROM s GROUP BY name;",
            "Duplicate value columns found in schema: `N` BIGINT",
        ),
        (
            "CREATE TABLE o AS SELECT name FROM s GROUP BY name HAVING count(*) = 1;",
            "The projection contains no value columns.",
        ),
        (
            "CREATE TABLE o AS SELECT id, count(*) FROM s WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY id, windowstart;",
            "Window bounds column WINDOWSTART can only be used in the SELECT clause of windowed aggregations",
        ),
        (
            "CREATE TABLE o AS SELECT k, count(*) FROM raw GROUP BY k;",
            "Source(s) RAW are using the 'KAFKA' value format. This format does not yet support GROUP BY.",
        ),
        (
            "CREATE TABLE o AS SELECT id, count(*) FROM s WINDOW TUMBLING (SIZE 10 SECONDS, RETENTION 11 SECONDS, GRACE PERIOD 2 SECONDS) GROUP BY id;",
            "cannot be smaller than the window size",
        ),
        ("CREATE TABLE o AS SELECT * FROM wint;", "KSQL does not support persistent queries on windowed tables."),
        (
            "CREATE STREAM o AS SELECT id, name, a FROM s PARTITION BY something;",
            "PARTITION BY column 'SOMETHING' cannot be resolved.",
        ),
        (
            "CREATE STREAM o AS SELECT id, name AS something, a FROM s PARTITION BY something;",
            "'SOMETHING' must be a column in the source schema since PARTITION BY is applied on the input.",
        ),
        (
            "CREATE STREAM o AS SELECT name, name AS name2, id FROM s PARTITION BY name;",
            "The projection contains a key column (`NAME`) more than once, aliased as: NAME and NAME2.",
        ),
        (
            "CREATE STREAM o WITH (key_format='KAFKA') AS SELECT * FROM s PARTITION BY NULL;",
            "Key format specified for stream without key columns.",
        ),
        ("CREATE STREAM o WITH (timestamp='zz') AS SELECT * FROM s;", "does not exist in the schema: 'ZZ'"),
        ("CREATE STREAM o AS SELECT * FROM s LIMIT 1;", "LIMIT"),
        (
            "CREATE STREAM o AS SELECT s.id, t.n FROM s JOIN t ON s.name = t.id;",
            "must include the join expressions S.NAME or T.ID",
        ),
        (
            "CREATE TABLE o AS SELECT id, min(n) FROM t GROUP BY id;",
            "The aggregation function MIN cannot be applied to a table source",
        ),
        ("INSERT INTO t SELECT * FROM s;", "INSERT INTO can only be used to insert into a stream. T is a table."),
        ("INSERT INTO ro SELECT * FROM s;", "Cannot insert into read-only stream: RO"),
        (
            "INSERT INTO raw SELECT id, a FROM s;",
            "Incompatible schema between results and sink.\nResult schema is `ID` INTEGER KEY, `A` INTEGER\nSink schema is `K` STRING KEY, `V` INTEGER",
        ),
    ];
    for (sql, wanted) in cases {
        let got = World::new(SOURCES).error(sql);
        assert!(got.contains(wanted), "{sql}\n  wanted: {wanted}\n  got: {got}");
    }
}

#[test]
fn columns_are_named_as_ksqldb_names_them() {
    let cases = [
        (
            "CREATE STREAM o AS SELECT * FROM s;",
            "`ID` INTEGER KEY, `NAME` STRING, `A` INTEGER, `B` BIGINT, `D` DOUBLE, `ST` STRUCT<`F` INTEGER, `G` STRING>",
        ),
        (
            "CREATE STREAM o AS SELECT x.id, x.a + 1, a * 2 AS twice, b - 1 FROM s x;",
            "`ID` INTEGER KEY, `KSQL_COL_0` INTEGER, `TWICE` INTEGER, `KSQL_COL_1` BIGINT",
        ),
        (
            "CREATE STREAM o AS SELECT id AS k, st->f, st->g AS gg, st->f FROM s;",
            "`K` INTEGER KEY, `F` INTEGER, `GG` STRING, `F_1` INTEGER",
        ),
        ("CREATE STREAM o AS SELECT id, st->* FROM s;", "`ID` INTEGER KEY, `F` INTEGER, `G` STRING"),
        ("CREATE STREAM o AS SELECT a, id, rowtime AS t FROM s;", "`ID` INTEGER KEY, `A` INTEGER, `T` BIGINT"),
        ("CREATE STREAM o AS SELECT v, k2, k1 FROM two;", "`K1` INTEGER KEY, `K2` STRING KEY, `V` INTEGER"),
        (
            "CREATE STREAM o AS SELECT id, name, a FROM s PARTITION BY name;",
            "`NAME` STRING KEY, `ID` INTEGER, `A` INTEGER",
        ),
        ("CREATE STREAM o AS SELECT a + 1, id FROM s PARTITION BY a + 1;", "`KSQL_COL_0` INTEGER KEY, `ID` INTEGER"),
        ("CREATE STREAM o AS SELECT id, a FROM s PARTITION BY NULL;", "`ID` INTEGER, `A` INTEGER"),
        ("CREATE TABLE o AS SELECT count(*), name FROM s GROUP BY name;", "`NAME` STRING KEY, `KSQL_COL_0` BIGINT"),
        (
            "CREATE TABLE o AS SELECT ucase(name), count(*), sum(a) + 1 AS x FROM s GROUP BY ucase(name);",
            "`KSQL_COL_0` STRING KEY, `KSQL_COL_1` BIGINT, `X` INTEGER",
        ),
        ("CREATE TABLE o AS SELECT st->f, avg(a) FROM s GROUP BY st->f;", "`F` INTEGER KEY, `KSQL_COL_0` DOUBLE"),
        (
            "CREATE TABLE o AS SELECT id, windowstart AS ws, windowend AS we, max(d) AS m FROM s WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY id;",
            "`ID` INTEGER KEY, `WS` BIGINT, `WE` BIGINT, `M` DOUBLE",
        ),
    ];
    for (sql, wanted) in cases {
        let plan = World::new(SOURCES).query(sql);
        assert_eq!(plan.sink.schema.to_string(), wanted, "{sql}");
    }
}

#[test]
fn a_sink_takes_formats_partitions_and_policy_from_its_query() {
    let mut world = World::new(SOURCES);
    let plan = world.query("CREATE TABLE o AS SELECT name, count(*) AS n FROM s WINDOW TUMBLING (SIZE 1 SECOND, RETENTION 2 DAYS) GROUP BY name;");
    assert_eq!((plan.sink.topic.as_str(), plan.sink.partitions), ("O", 4));
    assert_eq!((plan.sink.key_format, plan.sink.value_format), (Format::Kafka, Format::Json));
    assert!(plan.sink.window.is_some());
    assert_eq!(plan.reads, ["S"]);
    let topic = plan.create_topic.unwrap();
    assert_eq!(topic.config["cleanup.policy"], "compact,delete");
    assert_eq!(topic.config["retention.ms"], (2 * 24 * 3600 * 1000).to_string());
    let plan = world.query("CREATE STREAM p WITH (kafka_topic='pp', partitions=7, format='JSON') AS SELECT * FROM s;");
    assert_eq!((plan.sink.topic.as_str(), plan.sink.partitions, plan.sink.key_format), ("pp", 7, Format::Json));
    assert_eq!(plan.create_topic.unwrap().config["cleanup.policy"], "delete");
    // A key where the source had none is written as the session says.
    let plan = world.query("CREATE STREAM q AS SELECT v, w FROM nokey PARTITION BY w;");
    assert_eq!(plan.sink.key_format, Format::Kafka);
    world.settings.topic_prefix = "pre-".to_owned();
    assert_eq!(world.query("CREATE STREAM r AS SELECT * FROM s;").sink.topic, "pre-R");
}

#[test]
fn a_bound_plan_reads_as_a_tree() {
    let plan = World::new(SOURCES).query(
        "CREATE TABLE o AS SELECT name, count(*) AS n, sum(a + 1) AS x FROM s WINDOW TUMBLING (SIZE 10 SECONDS)
         WHERE a > 5 AND b < 3 GROUP BY name HAVING count(*) > 1;",
    );
    assert_eq!(
        plan::explain::explain(&plan.logical),
        "\
Sink: table O
└─ Compute: NAME, N = KSQL_AGG_VARIABLE_0, X = KSQL_AGG_VARIABLE_1
   └─ Keep: HAVING (KSQL_AGG_VARIABLE_0 > 1)
      └─ Aggregate: KSQL_AGG_VARIABLE_0 = COUNT(*), KSQL_AGG_VARIABLE_1 = SUM(KSQL_INTERNAL_COL_0) by NAME, WINDOWSTART, WINDOWEND
         └─ TimeWindow: TUMBLING (SIZE 10 SECONDS)
            └─ Rekey: NAME as KAFKA, into 4 partitions
               └─ Compute: NAME, KSQL_INTERNAL_COL_0 = (A + 1), ROWTIME, ROWPARTITION, #ordinal, #present
                  └─ Keep: WHERE (B < 3)
                     └─ Keep: WHERE (A > 5)
                        └─ Scan: stream S (topic s, 4 partitions, key KAFKA, value JSON)
"
    );
}

#[test]
fn a_stateless_query_compiles_to_one_stage_that_reads_what_it_uses() {
    let pipeline = World::new(SOURCES)
        .pipeline("CREATE STREAM o AS SELECT id, d * 2 AS dd, rowtime AS t FROM s WHERE a > 1 AND b > 2;");
    assert_eq!((pipeline.scans[0].key.as_slice(), pipeline.scans[0].value.as_slice()), (&[0][..], &[1, 2, 3][..]));
    assert!(pipeline.rows.same_key && pipeline.rows.key.is_empty() && pipeline.rows.drop_null_values);
    assert_eq!(
        pipeline.rows.slots,
        [InputColumn::Value(0), InputColumn::Value(1), InputColumn::Value(2), InputColumn::Rowtime]
    );
    let keep: Vec<String> = pipeline.rows.keep.iter().map(ToString::to_string).collect();
    assert_eq!(keep, ["(A > 1)", "(B > 2)"]);
    assert!(pipeline.hop.is_none() && pipeline.aggregate.is_none() && pipeline.after.is_none());
    assert!(!pipeline.output.table);
    let pipeline = World::new(SOURCES).pipeline("CREATE STREAM o AS SELECT * FROM s;");
    assert!(!pipeline.rows.drop_null_values, "a null value passes a plain projection");
    let pipeline = World::new(SOURCES).pipeline("CREATE STREAM o AS SELECT name, a FROM s PARTITION BY name;");
    assert!(!pipeline.rows.same_key && !pipeline.rows.drop_null_keys && pipeline.hop.is_none());
    assert_eq!(pipeline.rows.key.len(), 1);
}

#[test]
fn a_grouping_hops_unless_its_key_is_the_sources() {
    let mut world = World::new(SOURCES);
    let same = world.pipeline("CREATE TABLE o AS SELECT id, count(*) AS n FROM s GROUP BY id;");
    assert!(same.hop.is_none() && same.rows.same_key);
    let aggregate = same.aggregate.unwrap();
    assert_eq!((aggregate.name.as_str(), aggregate.key_format), ("Aggregate-Aggregate-Materialize", Format::Kafka));
    let moved = world.pipeline("CREATE TABLE p AS SELECT name, sum(a) AS x, count(a) AS n FROM s GROUP BY name;");
    let hop = moved.hop.unwrap();
    assert_eq!((hop.name.as_str(), hop.partitions, hop.key_format), ("Aggregate-GroupBy", 4, Format::Kafka));
    assert!(!moved.rows.same_key && moved.rows.drop_null_keys);
    assert_eq!(moved.rows.value.len(), 1, "one argument serves two aggregates");
    let after = moved.after.unwrap();
    assert_eq!(after.slots, [InputColumn::Value(0), InputColumn::Value(1)]);
    // A key of several columns cannot be written as KAFKA bytes.
    let wide = world
        .pipeline("CREATE TABLE q WITH (key_format='JSON') AS SELECT name, a, count(*) AS n FROM s GROUP BY name, a;");
    assert_eq!(wide.hop.unwrap().key_format, Format::Json);
    let windowed = world.pipeline(
        "SELECT name, windowstart, count(*), windowend FROM s WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY name EMIT CHANGES LIMIT 3;",
    );
    assert!(windowed.aggregate.unwrap().window.is_some());
    assert_eq!(
        windowed.after.unwrap().slots,
        [InputColumn::Key(0), InputColumn::WindowStart, InputColumn::WindowEnd, InputColumn::Value(0)]
    );
    let names: Vec<&str> = windowed.output.value.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["NAME", "WINDOWSTART", "KSQL_COL_0", "WINDOWEND"]);
}

#[test]
fn push_queries_need_no_key_and_no_group() {
    let mut world = World::new(SOURCES);
    let Done::Push(push) = world.run("SELECT a, a, rowtime FROM s EMIT CHANGES LIMIT 2;").unwrap() else {
        panic!("not a push query")
    };
    assert_eq!(push.limit, Some(2));
    let names: Vec<&str> = push.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["A", "A", "ROWTIME"]);
    let all = world.pipeline("SELECT count(*) FROM s EMIT CHANGES;");
    assert_eq!(all.hop.unwrap().partitions, 1);
    let Done::Push(push) = world.run("SELECT * FROM win EMIT CHANGES;").unwrap() else { panic!("not a push query") };
    let names: Vec<&str> = push.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["K", "WINDOWSTART", "WINDOWEND", "V"]);
}

#[test]
fn insert_values_coerces_and_refuses() {
    let mut world = World::new(SOURCES);
    let Done::Insert(insert) = world.run("INSERT INTO s (rowtime, b, id, name) VALUES (123, 7, 1, 'x');").unwrap()
    else {
        panic!("not an insert")
    };
    assert_eq!(insert.timestamp, Some(123));
    assert_eq!(insert.key.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1"]);
    let values: Vec<String> = insert.value.iter().map(ToString::to_string).collect();
    assert_eq!(values[..4], ["x", "NULL", "7", "NULL"]);
    assert_eq!(insert.value[2].data_type(), arrow::datatypes::DataType::Int64);
    let Done::Insert(insert) = world.run("INSERT INTO two VALUES (1, 'a', 2);").unwrap() else {
        panic!("not an insert")
    };
    assert_eq!((insert.key.len(), insert.value.len(), insert.timestamp), (2, 1, None));
    let cases = [
        (
            "INSERT INTO lower (id, v) VALUES (1, 2);",
            "Cannot insert values into an unknown stream/table: `LOWER`\nDid you mean \"lower\"? Hint: wrap the source name in double quotes to make it case-sensitive.",
        ),
        (
            "INSERT INTO `s` (id, a) VALUES (1, 2);",
            "Cannot insert values into an unknown stream/table: `s`\nDid you mean S? Hint: try removing double quotes from the source name.",
        ),
        ("INSERT INTO s (id, zz) VALUES (1, 2);", "Column name `ZZ` does not exist."),
        ("INSERT INTO s (id, id) VALUES (1, 2);", "Duplicate column names: ID"),
        (
            "INSERT INTO two VALUES (1);",
            "Failed to insert values into 'TWO'. Expected a value for each column. Expected Columns: []. Got [1]",
        ),
        ("INSERT INTO s (id, rowoffset) VALUES (1, 2);", "Inserting into column `ROWOFFSET` is not allowed."),
        ("INSERT INTO t (n) VALUES (1);", "Value for primary key column(s) ID is required for tables"),
        ("INSERT INTO win (k, v) VALUES ('a', 1);", "Cannot insert values into windowed stream/table"),
        ("INSERT INTO ro (k, v) VALUES (1, 1);", "read-only stream: RO"),
    ];
    for (sql, wanted) in cases {
        let got = world.error(sql);
        assert!(got.contains(wanted), "{sql}\n  wanted: {wanted}\n  got: {got}");
    }
}
