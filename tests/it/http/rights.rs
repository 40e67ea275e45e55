//! Rights: every route against every role, topics by name and prefix, whose query it is, a server that only reads.

use super::*;
use std::collections::BTreeMap;
use tidegate::serve::routes::Needs;

/// Users who bring tokens, which cost nothing to check.
pub(super) struct Users {
    file: tempfile::NamedTempFile,
    headers: BTreeMap<String, String>,
}

impl Users {
    /// `name role [topics=...]`, a line each.
    pub(super) fn new(lines: &[&str]) -> Users {
        let (mut file, mut headers) = (tempfile::NamedTempFile::new().unwrap(), BTreeMap::new());
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let topics: Vec<&str> =
                words.get(2).iter().flat_map(|w| ["--topics", w.strip_prefix("topics=").unwrap()]).collect();
            let made = tidegate(&[], &[&["user", words[0], words[1], "--token"], &topics[..]].concat(), "");
            assert!(made.status.success(), "{}", text(&made.stderr));
            let token = text(&made.stderr).trim().rsplit(' ').next().unwrap().to_owned();
            file.write_all(&made.stdout).unwrap();
            headers.insert(words[0].to_owned(), format!("Bearer {token}"));
        }
        Users { file, headers }
    }

    pub(super) fn file(&self) -> &str {
        self.file.path().to_str().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A server and its users.
pub(super) struct House {
    pub(super) users: Users,
    pub(super) server: Server,
}

impl House {
    pub(super) fn new(lines: &[&str], flags: &[&str]) -> House {
        let users = Users::new(lines);
        let flags = [&["--temp", "--users", users.file()], flags].concat();
        let server = Server::at(&flags);
        House { users, server }
    }

    pub(super) fn post(&self, who: &str, path: &str, body: &str) -> (u16, Value) {
        let request = self.server.agent.post(format!("http://{}{path}", self.server.address));
        answer(request.header("authorization", self.users.header(who)).send(body).unwrap())
    }

    /// A statement's status and answer, wherever it has to be sent.
    pub(super) fn say(&self, who: &str, statement: &str) -> (u16, Value) {
        let is_query =
            ["SELECT", "PRINT", "VERIFY", "WITH", "EXPLAIN ANALYZE"].iter().any(|word| statement.starts_with(word));
        match is_query {
            true => self.post(who, "/query-stream", &json!({ "sql": statement, "properties": earliest() }).to_string()),
            false => {
                self.post(who, "/ksql", &json!({ "ksql": statement, "streamsProperties": earliest() }).to_string())
            }
        }
    }

    /// A statement that is carried out.
    pub(super) fn done(&self, who: &str, statement: &str) -> Value {
        let (status, body) = self.say(who, statement);
        assert_eq!(status, 200, "{who}: {statement}: {body}");
        body
    }

    /// A statement that is refused for what the user may not do; its message.
    pub(super) fn forbidden(&self, who: &str, statement: &str) -> String {
        let (status, body) = self.say(who, statement);
        assert_eq!((status, &body["error_code"]), (403, &json!(40300)), "{who}: {statement}: {body}");
        body["message"].as_str().unwrap().to_owned()
    }
}

/// What becomes of each user at each route: `-` = asked for a name (401), `x` = refused (403), `+` = let in.
const MATRIX: &str = "
route                                   nobody  reader  writer  admin  reader-of-some  admin-of-some
GET /                                   +       +       +       +      +               +
GET /info                               -       +       +       +      +               +
GET /v1/metadata                        -       +       +       +      +               +
GET /v1/metadata/id                     -       +       +       +      +               +
GET /healthcheck                        -       +       +       +      +               +
GET /livez                              +       +       +       +      +               +
GET /readyz                             +       +       +       +      +               +
GET /chc/live                           +       +       +       +      +               +
GET /chc/ready                          +       +       +       +      +               +
GET /clusterStatus                      -       +       +       +      x               x
GET /status                             -       +       +       +      x               x
GET /status/{kind}/{entity}/{action}    -       +       +       +      +               +
GET /is_valid_property/{name}           -       +       +       +      +               +
POST /heartbeat                         -       +       +       +      +               +
POST /cluster/lookup                    -       -       -       -      -               -
POST /lag                               -       +       +       +      +               +
POST /ksql                              -       +       +       +      +               +
POST /ksql/terminate                    -       x       x       +      x               x
POST /query                             -       +       +       +      +               +
POST /query-stream                      -       +       +       +      +               +
POST /close-query                       -       +       +       +      +               +
POST /inserts-stream                    -       x       +       +      x               +
GET /ws/query                           -       +       +       +      +               +
GET /metrics                            -       +       +       +      x               x
GET /openapi.json                       -       +       +       +      +               +
GET /api/v1                             -       +       +       +      +               +
GET /api/v1/session                     -       +       +       +      +               +
POST /api/v1/session                    +       +       +       +      +               +
DELETE /api/v1/session                  -       +       +       +      +               +
GET /api/v1/overview                    -       +       +       +      +               +
GET /api/v1/queries                     -       +       +       +      +               +
GET /api/v1/queries/{id}                -       +       +       +      +               +
GET /api/v1/graph                       -       +       +       +      +               +
GET /api/v1/history                     -       +       +       +      +               +
POST /api/v1/check                      -       +       +       +      +               +
POST /api/v1/complete                   -       +       +       +      +               +
POST /api/v1/format                     -       +       +       +      +               +
POST /api/v1/plan                       -       +       +       +      +               +
GET /api/v1/queries/{id}/plan           -       +       +       +      +               +
GET /api/v1/sources                     -       +       +       +      +               +
GET /api/v1/topics                      -       +       +       +      +               +
GET /api/v1/topics/{topic}              -       +       +       +      x               x
GET /api/v1/topics/{topic}/records      -       +       +       +      x               x
POST /api/v1/topics/{topic}/records     -       x       +       +      x               x
GET /api/v1/problems                    -       +       +       +      +               +
GET /api/v1/settings                    -       +       +       +      +               +
GET /api/v1/statements                  -       +       +       +      x               x
POST /arrow.flight.protocol.FlightService/Handshake - + + + + +
POST /arrow.flight.protocol.FlightService/ListFlights - + + + + +
POST /arrow.flight.protocol.FlightService/GetFlightInfo - + + + + +
POST /arrow.flight.protocol.FlightService/PollFlightInfo - + + + + +
POST /arrow.flight.protocol.FlightService/GetSchema - + + + + +
POST /arrow.flight.protocol.FlightService/DoGet - + + + + +
POST /arrow.flight.protocol.FlightService/DoPut - + + + + +
POST /arrow.flight.protocol.FlightService/DoExchange - + + + + +
POST /arrow.flight.protocol.FlightService/DoAction - + + + + +
POST /arrow.flight.protocol.FlightService/ListActions - + + + + +
GET /console                            +       +       +       +      +               +
GET /console/                           +       +       +       +      +               +
GET /console/{*file}                    +       +       +       +      +               +
GET /schema-registry                    -       +       +       +      +               +
GET /schema-registry/                   -       +       +       +      +               +
GET /schema-registry/subjects           -       +       +       +      +               +
POST /schema-registry/subjects/{subject} -      +       +       +      x               x
DELETE /schema-registry/subjects/{subject} -    x       x       +      x               x
GET /schema-registry/subjects/{subject}/versions - +    +       +      x               x
POST /schema-registry/subjects/{subject}/versions - x   +       +      x               x
GET /schema-registry/subjects/{subject}/versions/{version} - + + + x x
DELETE /schema-registry/subjects/{subject}/versions/{version} - x x + x x
GET /schema-registry/subjects/{subject}/versions/{version}/schema - + + + x x
GET /schema-registry/subjects/{subject}/versions/{version}/referencedby - + + + x x
GET /schema-registry/schemas            -       +       +       +      +               +
GET /schema-registry/schemas/types      -       +       +       +      +               +
GET /schema-registry/schemas/ids/{id}   -       +       +       +      +               +
GET /schema-registry/schemas/ids/{id}/schema -  +       +       +      +               +
GET /schema-registry/schemas/ids/{id}/subjects - +      +       +      +               +
GET /schema-registry/schemas/ids/{id}/versions - +      +       +      +               +
GET /schema-registry/schemas/guids/{guid} -     +       +       +      +               +
GET /schema-registry/schemas/guids/{guid}/ids - +       +       +      +               +
POST /schema-registry/compatibility/subjects/{subject}/versions - + + + x x
POST /schema-registry/compatibility/subjects/{subject}/versions/{version} - + + + x x
GET /schema-registry/config             -       +       +       +      +               +
PUT /schema-registry/config             -       x       x       +      x               x
DELETE /schema-registry/config          -       x       x       +      x               x
GET /schema-registry/config/{subject}   -       +       +       +      x               x
PUT /schema-registry/config/{subject}   -       x       x       +      x               x
DELETE /schema-registry/config/{subject} -      x       x       +      x               x
GET /schema-registry/mode               -       +       +       +      +               +
PUT /schema-registry/mode               -       x       x       +      x               x
DELETE /schema-registry/mode            -       x       x       +      x               x
GET /schema-registry/mode/{subject}     -       +       +       +      x               x
PUT /schema-registry/mode/{subject}     -       x       x       +      x               x
DELETE /schema-registry/mode/{subject}  -       x       x       +      x               x
GET /schema-registry/contexts           -       +       +       +      +               +
GET /schema-registry/v1/metadata/id     -       +       +       +      +               +
GET /schema-registry/v1/metadata/version -      +       +       +      +               +
GET /schema-registry/associations/{*path} -     +       +       +      +               +
GET /session                            -       +       +       +      +               +
GET /session/alive                      -       +       +       +      +               +
GET /session/names                      -       +       +       +      +               +
POST /session/check                     -       +       +       +      +               +
POST /session/statement                 -       +       +       +      +               +
POST /topics                            -       x       x       +      x               x
";

#[test]
fn every_route_has_a_decision_about_every_role() {
    let lines = [
        "reader reader",
        "writer writer",
        "admin admin",
        "reader-of-some reader topics=a*",
        "admin-of-some admin topics=a*",
    ];
    let house = House::new(&lines, &[]);
    let mut rows = MATRIX.trim().lines();
    let who: Vec<&str> = rows.next().unwrap().split_whitespace().skip(1).collect();
    let mut rows: BTreeMap<String, Vec<&str>> = rows
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .map(|row| (format!("{} {}", row[0], row[1]), row[2..].to_vec()))
        .collect();
    for route in tidegate::serve::routes() {
        let name = format!("{} {}", route.method, route.path);
        let row = rows.remove(&name).unwrap_or_else(|| panic!("{name} has no row: who may ask it?"));
        let url = format!("http://{}{}", house.server.address, route.path.replace(['{', '}'], ""));
        // What is let in must not end the service.
        let body = match route.path {
            "/ksql/terminate" => "{\"deleteTopicList\":[\"(\"]}",
            "/api/v1/topics/{topic}/records" => "{\"records\":[]}",
            _ => "{}",
        };
        let cells = who.iter().map(|user| {
            let header = house.users.header(user);
            let answered = match route.method.as_str() {
                // `/` and `/console` lead to what is asked for itself.
                "GET" => {
                    let request = house.server.agent.get(&url).header("authorization", header);
                    request.config().max_redirects(0).max_redirects_will_error(false).build().call()
                }
                "PUT" => house.server.agent.put(&url).header("authorization", header).send(body),
                "DELETE" => house.server.agent.delete(&url).header("authorization", header).call(),
                _ => house.server.agent.post(&url).header("authorization", header).send(body),
            };
            match answered.unwrap().status().as_u16() {
                401 => "-",
                403 => "x",
                _ => "+",
            }
        });
        assert_eq!(cells.collect::<Vec<_>>(), row, "{name} for {who:?}");
        assert_eq!(route.needs == Needs::Nothing, row[0] == "+", "{name}");
    }
    assert!(rows.is_empty(), "rows without a route: {rows:?}");
}

#[test]
fn a_refusal_says_what_is_required() {
    let house = House::new(&["rita reader", "walter writer", "ada admin"], &[]);
    house.done("walter", CREATE);
    let said = house.forbidden("rita", "TERMINATE ALL;");
    assert!(said.contains("TERMINATE requires role writer") && said.contains("rita has role reader"), "{said}");
    assert!(house.forbidden("walter", "DROP STREAM s;").contains("DROP STREAM requires role admin"));
    assert!(house.forbidden("rita", "VERIFY QUERY csas_x_1;").contains("VERIFY QUERY requires role writer"));
    // What no role may do is not a question of roles.
    let (status, body) = house.say("rita", "ALTER SYSTEM 'a' = 'b';");
    assert!(status == 400 && body["message"].as_str().unwrap().contains("not supported"), "{body}");
    // Roles are asked of all statements before the first is carried out.
    let (status, _) =
        house.say("walter", "CREATE STREAM t (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON'); DROP STREAM s;");
    assert_eq!(status, 403);
    assert_eq!(house.done("rita", "SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 1);
}

/// Two teams: each works with the topics of its own prefix, `ada` with all.
fn teams() -> House {
    let lines = [
        "anna writer topics=a-*",
        "bert writer topics=b-*,shared",
        "ada admin",
        "boss admin topics=a-*",
        "rita reader",
    ];
    let house = House::new(&lines, &[]);
    let source = |name: &str, topic: &str| {
        format!(
            "CREATE STREAM {name} (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='{topic}', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
    };
    house.done("anna", &source("a_in", "a-in"));
    house.done("bert", &source("b_in", "b-in"));
    house.done("ada", &source("shared", "shared"));
    house.done(
        "anna",
        "CREATE TABLE a_count WITH (KAFKA_TOPIC='a-count') AS SELECT k, COUNT(*) AS n FROM a_in GROUP BY k;",
    );
    house.done("anna", "INSERT INTO a_in VALUES ('x', 1);");
    house.done("ada", "CREATE STREAM b_out WITH (KAFKA_TOPIC='b-out') AS SELECT * FROM a_in;");
    house
}

#[test]
fn a_user_works_with_the_topics_that_the_file_names() {
    let house = teams();
    let count = "SELECT * FROM a_count WHERE k = 'x';";
    until("the table has its row", || house.say("anna", count).1.as_str().is_some_and(|rows| rows.contains("\"x\",1")));
    // By every way to a topic: as text, as a name that resolves to it, in a join, a sub-query, a WITH, a plan, a lookup that
    // was planned for another user.
    for statement in [
        "PRINT 'a-in' FROM BEGINNING LIMIT 1;",
        "SELECT * FROM a_in EMIT CHANGES LIMIT 1;",
        "SELECT * FROM a_in;",
        count,
        "SELECT nosuch FROM a_in;",
        "SELECT n FROM b_in UNION ALL SELECT n FROM a_in;",
        "SELECT * FROM b_in WHERE n IN (SELECT n FROM a_in);",
        "WITH x AS (SELECT n FROM a_in) SELECT * FROM x;",
        "SELECT b.n FROM b_in b JOIN a_count a ON b.k = a.k EMIT CHANGES LIMIT 1;",
        "EXPLAIN SELECT * FROM a_in EMIT CHANGES;",
        "EXPLAIN SELECT n FROM a_in ORDER BY n;",
        "EXPLAIN ANALYZE SELECT n FROM a_in ORDER BY n;",
        "EXPLAIN ANALYZE SELECT * FROM a_count WHERE k = 'x';",
        "EXPLAIN SELECT * FROM a_count WHERE k = 'x';",
        "EXPLAIN CTAS_A_COUNT_3;",
        "DESCRIBE a_in;",
        "DESCRIBE a_count EXTENDED;",
        "ASSERT TOPIC 'a-in';",
        "INSERT INTO a_in VALUES ('y', 2);",
        "INSERT INTO a_in SELECT * FROM b_in;",
        "INSERT INTO b_in SELECT * FROM a_in;",
        "CREATE STREAM c (n INT) WITH (KAFKA_TOPIC='a-in', VALUE_FORMAT='JSON');",
        "CREATE STREAM c (n INT) WITH (KAFKA_TOPIC='new', VALUE_FORMAT='JSON', PARTITIONS=1);",
        "CREATE STREAM c WITH (KAFKA_TOPIC='b-c') AS SELECT * FROM a_in;",
        "CREATE STREAM c WITH (KAFKA_TOPIC='a-c') AS SELECT * FROM b_in;",
        "CREATE STREAM c AS SELECT * FROM b_in;",
        "CREATE OR REPLACE STREAM a_in (n INT) WITH (KAFKA_TOPIC='b-in', VALUE_FORMAT='JSON');",
        "ALTER STREAM a_in ADD COLUMN m INT;",
        "TERMINATE CTAS_A_COUNT_3;",
        "TERMINATE ALL;",
        "PAUSE CTAS_A_COUNT_3;",
        "RESUME ALL;",
        "VERIFY QUERY CSAS_B_OUT_4;",
        "SHOW STREAMS; INSERT INTO a_in VALUES ('y', 2);",
        "CREATE STREAM c (n INT) WITH (KAFKA_TOPIC='b-c', VALUE_FORMAT='JSON', PARTITIONS=1); INSERT INTO a_in VALUES ('y', 2);",
    ] {
        let said = house.forbidden("bert", statement);
        assert!(said.contains("permission denied for topic"), "{statement}: {said}");
    }
    let rows = |target: &str| format!("{{\"target\":\"{target}\"}}\n{{\"K\":\"z\",\"N\":2}}\n");
    assert_eq!(house.post("bert", "/inserts-stream", &rows("a_in")).0, 403);
    assert_eq!(house.post("bert", "/inserts-stream", &rows("b_in")).0, 200);
    // Nothing of the refused texts was carried out, and what is their own works.
    assert_eq!(house.done("ada", "SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 4);
    assert_eq!(house.done("ada", "SELECT n FROM a_in;").as_str().unwrap().lines().count(), 2);
    house.done("bert", "CREATE STREAM b_c WITH (KAFKA_TOPIC='b-c') AS SELECT b.k, b.n FROM b_in b;");
    house.done("bert", "INSERT INTO shared SELECT * FROM b_in; SHOW QUERIES;");
    house.done("bert", "SELECT * FROM b_out;");
    // An administrator of some topics drops what lies in them.
    house.forbidden("boss", "DROP STREAM b_c;");
}

#[test]
fn lists_show_what_their_reader_may_work_with() {
    let house = teams();
    let names = |who: &str, statement: &str, list: &str, name: &str| -> Vec<String> {
        let body = house.done(who, statement);
        body[0][list].as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("anna", "SHOW STREAMS;", "streams", "name"), ["A_IN"]);
    assert_eq!(names("bert", "SHOW STREAMS;", "streams", "name"), ["B_IN", "B_OUT", "SHARED"]);
    assert_eq!(names("anna", "SHOW TABLES;", "tables", "name"), ["A_COUNT"]);
    assert!(names("bert", "SHOW TABLES;", "tables", "name").is_empty());
    assert_eq!(names("anna", "SHOW TOPICS;", "topics", "name"), ["a-count", "a-in"]);
    assert_eq!(names("anna", "SHOW QUERIES;", "queries", "id"), ["CTAS_A_COUNT_3"]);
    assert_eq!(names("bert", "SHOW QUERIES;", "queries", "id"), ["CSAS_B_OUT_4"]);
    assert_eq!(names("ada", "SHOW QUERIES;", "queries", "id").len(), 2);
    // The query that writes for the other team reads here.
    let described = house.done("anna", "DESCRIBE a_in;")[0]["sourceDescription"]["readQueries"].clone();
    assert!(described.as_array().unwrap().iter().all(|query| query["id"] == "CTAS_A_COUNT_3"), "{described}");
    let offered = house.server.agent.get(format!("http://{}/session/names", house.server.address));
    let offered = answer(offered.header("authorization", house.users.header("bert")).call().unwrap()).1;
    assert!(!offered.to_string().contains("A_IN") && offered.to_string().contains("B_OUT"), "{offered}");
}

#[test]
fn topics_of_the_engine_are_for_administrators() {
    let house = teams();
    let command_log = "PRINT '_confluent-ksql-default__command_topic' FROM BEGINNING LIMIT 2;";
    assert!(house.forbidden("rita", command_log).contains("role admin"));
    house.forbidden("anna", command_log);
    house.forbidden("boss", command_log);
    assert!(house.done("ada", command_log).as_str().unwrap().contains("A_IN"));
    let source = "CREATE SOURCE STREAM log (v VARCHAR) \
                  WITH (KAFKA_TOPIC='_confluent-ksql-default__command_topic', VALUE_FORMAT='KAFKA');";
    house.forbidden("anna", source);
    house.done("ada", source);
    assert!(house.done("ada", "SELECT v FROM log;").as_str().unwrap().contains("A_IN"));
    for statement in [
        "SELECT v FROM log;",
        "SELECT v FROM log EMIT CHANGES LIMIT 1;",
        "SELECT v FROM log ORDER BY v;",
        "EXPLAIN SELECT v FROM log EMIT CHANGES;",
        "DESCRIBE log;",
    ] {
        house.forbidden("rita", statement);
    }
    house.forbidden("bert", "CREATE STREAM b_log WITH (KAFKA_TOPIC='b-log') AS SELECT v FROM log;");
    let shown = |who: &str| house.done(who, "SHOW STREAMS;").to_string().contains("\"LOG\"");
    assert_eq!([shown("ada"), shown("rita"), shown("anna")], [true, false, false]);
}

#[test]
fn a_query_is_ended_by_the_one_who_opened_it() {
    let house = House::new(&["rita reader", "rolf reader", "walter writer", "ada admin"], &[]);
    house.done("walter", CREATE);
    let open = |who: &str| {
        let body = json!({ "sql": "SELECT * FROM s EMIT CHANGES;", "properties": earliest() }).to_string();
        let url = format!("http://{}/query-stream", house.server.address);
        let request = house.server.agent.post(url).header("authorization", house.users.header(who));
        let mut lines = BufReader::new(request.send(body).unwrap().into_body().into_reader()).lines();
        let header: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let id = header["queryId"].as_str().unwrap().to_owned();
        assert!(id.starts_with("transient_S_") && id.len() > 24, "{id}");
        (id, lines)
    };
    let close = |who: &str, id: &str| house.post(who, "/close-query", &json!({ "queryId": id }).to_string());
    let (one, mut rows) = open("rita");
    let (two, _rows) = open("rita");
    assert_ne!(one, two);
    for who in ["rolf", "walter"] {
        let (status, body) = close(who, &one);
        assert!(status == 403 && body["message"].as_str().unwrap().contains("another user"), "{body}");
    }
    house.forbidden("rolf", &format!("TERMINATE {one};"));
    house.forbidden("walter", &format!("TERMINATE {one};"));
    assert_eq!(close("rita", &one).0, 200);
    // Its rows end.
    assert!(rows.all(|line| line.is_ok()));
    house.done("rita", &format!("TERMINATE {two};"));
    let (three, _rows) = open("rolf");
    assert_eq!(close("ada", &three).0, 200);
    assert_eq!(close("ada", "transient_0").0, 400);
}
