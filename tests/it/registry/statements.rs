//! Statements: inference, ids, registration, compatibility, deletion, ASSERT, SHOW and DESCRIBE, with ksqlDB's messages.

use super::{BIGINT, INT, STRING, World, columns, entity, json_object, refused, run, schema};
use tidegate::catalog::SchemaType;
use tidegate::engine::Engine;
use tidegate::engine::result::entity::{Entity, SchemaRow};
use tidegate::engine::session::Session;
use tidegate::registry::{RegistryError, Schemas};

/// A topic, made by a statement of no consequence.
fn topic(engine: &Engine, name: &str) {
    run(
        engine,
        &format!("CREATE STREAM of_{name} (x INT) WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"),
    );
}

#[test]
fn columns_come_from_the_latest_version_in_upper_case() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-value", 3, &json_object(&[("a", INT)]));
    world.registry.put("t-value", 5, &json_object(&[("a", INT), ("bC", BIGINT)]));
    topic(&engine, "t");
    run(&engine, "CREATE STREAM s (k STRING KEY) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON_SR');");
    assert_eq!(columns(&engine, "S"), "`K` STRING KEY, `A` INTEGER, `BC` BIGINT");
    let wire = engine.catalog().source("S").unwrap().value_wire.schema.clone().unwrap();
    assert_eq!((wire.subject.as_str(), wire.version, wire.id, wire.by_id), ("t-value", 2, 5, false));
    // What is inferred is frozen.
    world.registry.put("t-value", 6, &json_object(&[("z", INT)]));
    assert_eq!(columns(&engine, "S"), "`K` STRING KEY, `A` INTEGER, `BC` BIGINT");
}

#[test]
fn with_an_id_names_are_as_they_are() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("other", 3, &json_object(&[("a", INT), ("B", STRING)]));
    topic(&engine, "t");
    run(&engine, "CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON_SR', VALUE_SCHEMA_ID=3);");
    assert_eq!(columns(&engine, "S"), "`a` INTEGER, `B` STRING");
    // The schema of the id is registered for the topic, below which it keeps its id.
    assert_eq!(world.registry.latest("t-value").unwrap().id, 3);
}

#[test]
fn a_key_is_inferred_whole_and_an_unwrapped_value_is_rowval() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-key", 1, &schema(SchemaType::Json, INT));
    world.registry.put("t-value", 2, &schema(SchemaType::Json, STRING));
    topic(&engine, "t");
    let with = "KAFKA_TOPIC='t', FORMAT='JSON_SR'";
    let error = refused(&engine, &format!("CREATE STREAM s WITH ({with});"));
    assert!(error.message().contains("Schema returned from schema registry is anonymous type."), "{error}");
    run(&engine, &format!("CREATE STREAM s WITH ({with}, WRAP_SINGLE_VALUE=false);"));
    assert_eq!(columns(&engine, "S"), "`ROWKEY` INTEGER KEY, `ROWVAL` STRING");
    world.registry.put("u-key", 3, &json_object(&[("A", INT)]));
    world.registry.put("u-value", 4, &json_object(&[("V", INT)]));
    topic(&engine, "u");
    run(&engine, "CREATE TABLE u WITH (KAFKA_TOPIC='u', FORMAT='JSON_SR');");
    assert_eq!(columns(&engine, "U"), "`ROWKEY` STRUCT<`A` INTEGER> KEY, `V` INTEGER");
}

#[test]
fn a_default_key_format_without_schemas_is_not_inferred() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-value", 1, &json_object(&[("A", INT)]));
    topic(&engine, "t");
    run(&engine, "CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON_SR');");
    assert_eq!(columns(&engine, "S"), "`A` INTEGER");
    run(&engine, "CREATE STREAM n WITH (KAFKA_TOPIC='t', KEY_FORMAT='NONE', VALUE_FORMAT='JSON_SR');");
    let error = refused(&engine, "CREATE STREAM m WITH (KAFKA_TOPIC='t', FORMAT='JSON_SR');");
    assert!(error.message().starts_with("Schema for message keys on topic 't' does not exist in the Schema Registry."));
}

#[test]
fn header_columns_are_no_columns_of_the_value() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-value", 1, &json_object(&[("A", INT)]));
    topic(&engine, "t");
    run(&engine, "CREATE STREAM s (h BYTES HEADER('x'), k INT KEY) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON_SR');");
    assert_eq!(columns(&engine, "S"), "`K` INTEGER KEY, `H` BYTES HEADER('x'), `A` INTEGER");
}

#[test]
fn a_schema_that_is_not_there_or_not_usable_says_why() {
    let world = World::new();
    let engine = world.engine();
    topic(&engine, "t");
    let sql = "CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO');";
    let error = refused(&engine, sql);
    let text = error.message();
    assert!(text.starts_with("Schema for message values on topic 't' does not exist in the Schema Registry.\nSubject: t-value\nPossible causes include:\n"), "{text}");
    world.registry.put("t-value", 1, &schema(SchemaType::Json, "{\"type\":\"null\"}"));
    let error = refused(&engine, sql);
    assert_eq!(
        error.message(),
        "Value schema is not in the expected format. You may want to set VALUE_FORMAT to 'JSON'.\ntopic: t\nexpected format: \
         AVRO\nactual format from Schema Registry: JSON"
    );
    let error = refused(&engine, "CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON_SR');");
    assert!(
        error
            .message()
            .starts_with("Unable to verify if the value schema for topic: t is compatible with ksqlDB.\nReason: ")
    );
    world.registry.go_away(Some("connection refused"));
    let error = refused(&engine, sql);
    assert_eq!(error.message(), "Schema registry fetch for topic value request failed for topic: t");
    assert_eq!(error.detail(), Some("connection refused"));
    let error = refused(&engine, "CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO', VALUE_SCHEMA_ID=4);");
    assert!(error.message().ends_with("for topic: t, schema id: 4"), "{error}");
}

#[test]
fn one_of_several_messages_is_chosen_by_its_name() {
    let world = World::new();
    let engine = world.engine();
    let text = "syntax = \"proto3\"; package p; message A { int32 x = 1; } message B { string y = 1; }";
    world.registry.put("t-value", 1, &schema(SchemaType::Protobuf, text));
    topic(&engine, "t");
    let with = "KAFKA_TOPIC='t', VALUE_FORMAT='PROTOBUF'";
    let error = refused(&engine, &format!("CREATE STREAM s WITH ({with});"));
    assert!(error.message().contains("Value schema has multiple schema definitions."), "{error}");
    assert!(error.message().contains("- p.A\n- p.B") && error.message().contains("using VALUE_SCHEMA_FULL_NAME"));
    let error = refused(&engine, &format!("CREATE STREAM s WITH ({with}, VALUE_SCHEMA_FULL_NAME='p.C');"));
    assert!(error.message().starts_with("Schema for message values on topic 't' does not exist"), "{error}");
    run(&engine, &format!("CREATE STREAM s WITH ({with}, VALUE_SCHEMA_FULL_NAME='p.B');"));
    assert_eq!(columns(&engine, "S"), "`Y` STRING");
    let wire = engine.catalog().source("S").unwrap().value_wire.clone();
    assert_eq!((wire.full_name.as_deref(), wire.schema.unwrap().message.clone()), (Some("p.B"), vec![1]));
}

#[test]
fn properties_of_schemas_belong_to_formats_with_schemas() {
    let world = World::new();
    let engine = world.engine();
    for (columns, with, message) in [
        (
            "",
            "VALUE_FORMAT='JSON', VALUE_SCHEMA_ID=1",
            "VALUE_FORMAT should support schema inference when VALUE_SCHEMA_ID is provided. Current format is JSON.",
        ),
        (
            "",
            "VALUE_FORMAT='AVRO', KEY_SCHEMA_ID=1",
            "KEY_FORMAT should support schema inference when KEY_SCHEMA_ID is provided. Current format is KAFKA.",
        ),
        (
            "(a INT)",
            "VALUE_FORMAT='AVRO', VALUE_SCHEMA_ID=1",
            "Table elements and VALUE_SCHEMA_ID cannot both exist for create statement.",
        ),
        (
            "(a INT)",
            "VALUE_FORMAT='AVRO', VALUE_SCHEMA_FULL_NAME=''",
            "fullSchemaName cannot be empty. Format configuration: {fullSchemaName=}",
        ),
        (
            "(a INT)",
            "VALUE_FORMAT='JSON', VALUE_AVRO_SCHEMA_FULL_NAME='x'",
            "JSON does not support the following configs: [fullSchemaName]",
        ),
        (
            "(a INT)",
            "VALUE_FORMAT='AVRO', VALUE_PROTOBUF_NULLABLE_REPRESENTATION='OPTIONAL'",
            "Property VALUE_PROTOBUF_NULLABLE_REPRESENTATION can only be enabled with protobuf format",
        ),
    ] {
        let error =
            refused(&engine, &format!("CREATE STREAM s {columns} WITH (KAFKA_TOPIC='t', PARTITIONS=1, {with});"));
        assert_eq!(error.message(), message);
    }
    let error = refused(
        &engine,
        "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='t', PARTITIONS=1, VALUE_FORMAT='PROTOBUF', VALUE_PROTOBUF_NULLABLE_REPRESENTATION='X');",
    );
    assert!(error.message().contains("OPTIONAL, WRAPPER"), "{error}");
}

#[test]
fn create_registers_where_there_is_no_schema_and_create_as_always() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (k INT KEY, a INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON_SR', PARTITIONS=1);");
    assert_eq!(world.registry.subjects().unwrap(), ["s-key", "s-value"]);
    let wire = engine.catalog().source("S").unwrap().value_wire.schema.clone().unwrap();
    assert_eq!((wire.version, wire.id), (1, world.registry.latest("s-value").unwrap().id));
    // The same topic with other columns: the subject has a schema.
    run(&engine, "CREATE STREAM s2 (k INT KEY, b STRING) WITH (KAFKA_TOPIC='s', FORMAT='JSON_SR');");
    assert_eq!(world.registry.versions("s-value").unwrap(), [1]);
    assert!(engine.catalog().source("S2").unwrap().value_wire.schema.is_none());
    // The same columns in another order of the text: the same schema.
    let text = "{\"properties\":{\"A\":{\"oneOf\":[{\"type\":\"null\"},{\"connect.type\":\"int32\",\"type\":\"integer\"}],\"connect.index\":0}},\"type\":\"object\"}";
    world.registry.put("S3-value", 90, &schema(SchemaType::Json, text));
    run(&engine, "CREATE STREAM s3 WITH (VALUE_FORMAT='JSON_SR') AS SELECT k, a FROM s;");
    assert_eq!(world.registry.versions("S3-value").unwrap(), [1]);
    assert_eq!(engine.catalog().source("S3").unwrap().value_wire.schema.clone().unwrap().id, 90);
    world.registry.put("S4-value", 91, &json_object(&[("Z", STRING)]));
    run(&engine, "CREATE STREAM s4 AS SELECT k, a + 1 AS b FROM s;");
    assert_eq!(world.registry.versions("S4-value").unwrap(), [1, 2]);
}

#[test]
fn an_incompatible_schema_creates_nothing() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    world.registry.put("O-value", 1, &json_object(&[("A", STRING)]));
    world.registry.refuse("O-value", Some(RegistryError::refused(409, 40901, "{errorType:'X'}")));
    let error = refused(&engine, "CREATE STREAM o WITH (VALUE_FORMAT='JSON_SR') AS SELECT * FROM s;");
    assert_eq!(
        error.message(),
        "Could not register schema for topic: Could not register schema for topic: Schema being registered is incompatible \
         with an earlier schema for subject \"O-value\", details: [{errorType:'X'}]; error code: 409"
    );
    assert!(engine.catalog().source("O").is_none() && engine.log().topic("O").unwrap().is_none());
}

#[test]
fn without_a_url_the_built_in_registry_is_used() {
    let engine = World::new().with_builtin();
    run(&engine, "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO', PARTITIONS=1);");
    run(&engine, "ASSERT SCHEMA SUBJECT 't-value' ID 1 TIMEOUT 0 SECONDS;");
    let error = refused(&engine, "ASSERT SCHEMA SUBJECT 't-key' TIMEOUT 0 SECONDS;");
    assert_eq!(error.message(), "Schema with subject name t-key does not exist");
    run(&engine, "CREATE STREAM o WITH (VALUE_FORMAT='AVRO') AS SELECT a, a + 1 AS b FROM s;");
    let registry = engine.builtin_registry().unwrap();
    assert_eq!(registry.subjects().unwrap(), ["O-value", "t-value"]);
    // The next columns are compared with the last ones.
    run(&engine, "DROP STREAM o;");
    let error = refused(&engine, "CREATE STREAM o WITH (VALUE_FORMAT='AVRO') AS SELECT 'x' AS a FROM s;");
    assert!(error.message().contains("MISSING_UNION_BRANCH"), "{error}");
    run(&engine, "DROP STREAM s DELETE TOPIC;");
    assert_eq!(registry.subjects().unwrap(), ["O-value"]);
}

#[test]
fn with_an_id_create_as_has_the_columns_of_its_schema() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (a INT, b STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    world.registry.put("x", 7, &json_object(&[("A", INT), ("B", BIGINT)]));
    let with = "WITH (VALUE_FORMAT='JSON_SR', VALUE_SCHEMA_ID=7)";
    let error = refused(&engine, &format!("CREATE STREAM o {with} AS SELECT * FROM s;"));
    assert_eq!(
        error.message(),
        "The following value columns are changed, missing or reordered: [`B` STRING]. Schema from schema registry is [`A` \
         INTEGER, `B` BIGINT]"
    );
    run(&engine, &format!("CREATE STREAM o {with} AS SELECT a FROM s;"));
    let wire = engine.catalog().source("O").unwrap().value_wire.schema.clone().unwrap();
    assert_eq!((wire.id, wire.by_id, wire.subject.as_str()), (7, true, "O-value"));
    assert_eq!(world.registry.latest("O-value").unwrap().id, 7);
    let error =
        refused(&engine, "CREATE STREAM p WITH (VALUE_FORMAT='JSON_SR', VALUE_SCHEMA_ID=8) AS SELECT a FROM s;");
    assert!(
        error.message().starts_with("Schema for message values on topic 'P' with schema id: 8 does not exist"),
        "{error}"
    );
}

#[test]
fn drop_with_its_topic_deletes_the_subjects() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (k INT KEY, a INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON_SR', PARTITIONS=1);");
    run(&engine, "CREATE STREAM o AS SELECT * FROM s;");
    run(&engine, "DROP STREAM o;");
    assert_eq!(world.registry.subjects().unwrap(), ["O-key", "O-value", "s-key", "s-value"]);
    world.registry.delete_subject("s-key").unwrap();
    run(&engine, "DROP STREAM s DELETE TOPIC;");
    assert_eq!(world.registry.subjects().unwrap(), ["O-key", "O-value"], "a subject that is gone is no error");
}

#[test]
fn a_request_infers_what_its_first_statement_registers() {
    let world = World::new();
    let engine = world.engine();
    let sql = "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON_SR', PARTITIONS=1);\
               CREATE STREAM t WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON_SR');";
    let parsed = engine.parse(sql, &Session::default()).unwrap();
    engine.validate(&parsed, &Session::default()).unwrap();
    assert_eq!(world.registry.subjects().unwrap(), [""; 0], "a sandbox registers nothing");
    run(&engine, sql);
    assert_eq!(columns(&engine, "T"), "`A` INTEGER");
    let wrong = "DROP STREAM t; DROP STREAM s DELETE TOPIC; \
                 CREATE STREAM u WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON_SR', PARTITIONS=1);";
    let parsed = engine.parse(wrong, &Session::default()).unwrap();
    let (at, error) = engine.validate(&parsed, &Session::default()).unwrap_err();
    assert_eq!(at, 2, "{error}");
    assert!(engine.catalog().source("T").is_some());
}

#[test]
fn a_restart_needs_no_registry() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (k INT KEY, a INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON_SR', PARTITIONS=1);");
    world.registry.put("x", 70, &json_object(&[("A", INT), ("B", INT)]));
    run(&engine, "CREATE STREAM o WITH (VALUE_SCHEMA_ID=70) AS SELECT * FROM s;");
    let before = engine.catalog().source("O").unwrap().clone();
    drop(engine);
    world.registry.go_away(Some("away"));
    let engine = world.engine();
    assert_eq!(**engine.catalog().source("O").unwrap(), *before);
    let states: Vec<_> = engine.query_rows(&Session::default()).into_iter().map(|row| (row.id, row.state)).collect();
    assert_eq!(states, [("CSAS_O_1".to_owned(), "RUNNING".to_owned())]);
}

#[test]
fn altered_columns_are_registered_by_the_next_writer() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON_SR', PARTITIONS=1);");
    run(&engine, "ALTER STREAM s ADD COLUMN b STRING;");
    assert_eq!(world.registry.versions("s-value").unwrap(), [1]);
    run(&engine, "CREATE STREAM i (a INT, b STRING) WITH (KAFKA_TOPIC='i', VALUE_FORMAT='JSON', PARTITIONS=1);");
    run(&engine, "INSERT INTO s SELECT * FROM i;");
    assert_eq!(world.registry.versions("s-value").unwrap(), [1, 2]);
    let wire = engine.catalog().source("S").unwrap().value_wire.schema.clone().unwrap();
    assert_eq!(wire.version, 2);
}

#[test]
fn assertions_hold_or_say_what_does_not() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-value", 7, &json_object(&[("A", INT)]));
    for (what, exists) in [
        ("SUBJECT 't-value'", true),
        ("ID 7", true),
        ("SUBJECT 't-value' ID 7", true),
        ("SUBJECT 'u-value'", false),
        ("ID 8", false),
        ("SUBJECT 't-value' ID 8", false),
        ("SUBJECT 'u-value' ID 7", false),
        ("ID 9999999999", false),
    ] {
        let (holds, fails) = if exists { ("", "NOT EXISTS ") } else { ("NOT EXISTS ", "") };
        let Entity::AssertedSchema { exists: found, .. } = entity(&engine, &format!("ASSERT {holds}SCHEMA {what};"))
        else {
            panic!("{what}")
        };
        assert_eq!(found, exists);
        let error = refused(&engine, &format!("ASSERT {fails}SCHEMA {what} TIMEOUT 1 SECOND;"));
        let state = if exists { "exists" } else { "does not exist" };
        assert!(error.message().starts_with("Schema with ") && error.message().ends_with(state), "{what}: {error}");
        assert_eq!(error.code(), 41_700);
    }
    let error = refused(&engine, "ASSERT SCHEMA SUBJECT 'X' ID 1 TIMEOUT 0 SECONDS;");
    assert_eq!(error.message(), "Schema with subject name X id 1 does not exist");
    world.registry.go_away(Some("connection refused"));
    let error = refused(&engine, "ASSERT NOT EXISTS SCHEMA ID 1;");
    assert_eq!(error.message(), "Cannot check schema existence: connection refused");
}

#[test]
fn schemas_are_shown_and_a_newer_version_is_noticed() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON_SR', PARTITIONS=1);");
    let id = world.registry.latest("s-value").unwrap().id;
    let Entity::Schemas(rows) = entity(&engine, "SHOW SCHEMAS;") else { panic!("no schemas") };
    assert_eq!(rows, [SchemaRow { subject: "s-value".to_owned(), latest: Some((1, id, SchemaType::Json)) }]);
    let described = || match entity(&engine, "DESCRIBE s EXTENDED;") {
        Entity::Description(description) => description.schemas,
        other => panic!("{other:?}"),
    };
    let schemas = described();
    assert_eq!((schemas[0].part, schemas[0].version, schemas[0].id, schemas[0].newer), ("value", 1, id, None));
    world.registry.put("s-value", 50, &json_object(&[("A", INT), ("B", INT)]));
    assert_eq!(described()[0].newer, Some(2));
    world.registry.go_away(Some("away"));
    assert_eq!(described()[0].newer, None, "DESCRIBE does not need the registry");
}

#[test]
fn only_protobuf_sinks_inherit_full_names() {
    let world = World::new();
    let engine = world.engine();
    for (format, inherited) in [("PROTOBUF", Some("p.M")), ("JSON_SR", None)] {
        let name = format.replace('_', "");
        let with = format!("KAFKA_TOPIC='{name}', VALUE_FORMAT='{format}', VALUE_SCHEMA_FULL_NAME='p.M', PARTITIONS=1");
        run(&engine, &format!("CREATE STREAM s{name} (a INT) WITH ({with});"));
        run(&engine, &format!("CREATE STREAM o{name} AS SELECT * FROM s{name};"));
        let sink = engine.catalog().source(&format!("O{name}")).unwrap().clone();
        assert_eq!(sink.value_wire.full_name.as_deref(), inherited, "{format}");
    }
}
