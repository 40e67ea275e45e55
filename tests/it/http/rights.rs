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
            let made = tidegate(&[], &["user", words[0], words[1], "--token"], "");
            assert!(made.status.success(), "{}", text(&made.stderr));
            let token = text(&made.stderr).trim().rsplit(' ').next().unwrap().to_owned();
            let topics = words.get(2).copied().unwrap_or_default();
            writeln!(file, "{} {topics}", text(&made.stdout).trim()).unwrap();
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
        let is_query = ["SELECT", "PRINT", "VERIFY", "WITH"].iter().any(|word| statement.starts_with(word));
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
GET /                                   -       +       +       +      +               +
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
POST /lag                               -       +       +       +      +               +
POST /ksql                              -       +       +       +      +               +
POST /ksql/terminate                    -       x       x       +      x               x
POST /query                             -       +       +       +      +               +
POST /query-stream                      -       +       +       +      +               +
POST /close-query                       -       +       +       +      +               +
POST /inserts-stream                    -       x       +       +      x               +
GET /ws/query                           -       +       +       +      +               +
GET /metrics                            -       +       +       +      x               x
GET /session                            -       +       +       +      +               +
GET /session/alive                      -       +       +       +      +               +
GET /session/names                      -       +       +       +      +               +
POST /session/statement                 -       +       +       +      +               +
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
        let body = if route.path == "/ksql/terminate" { "{\"deleteTopicList\":[\"(\"]}" } else { "{}" };
        let cells = who.iter().map(|user| {
            let header = house.users.header(user);
            let answered = match route.method.as_str() {
                "GET" => house.server.agent.get(&url).header("authorization", header).call(),
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
    assert!(said.contains("TERMINATE requires the role writer") && said.contains("rita has the role reader"), "{said}");
    assert!(house.forbidden("walter", "DROP STREAM s;").contains("DROP STREAM requires the role admin"));
    assert!(house.forbidden("rita", "VERIFY QUERY csas_x_1;").contains("VERIFY QUERY requires the role writer"));
    // What nobody can do is no question of roles.
    let (status, body) = house.say("rita", "SHOW CONNECTORS;");
    assert!(status == 400 && body["message"].as_str().unwrap().contains("not supported"), "{body}");
    // Roles are asked of all statements before the first is carried out.
    let (status, _) =
        house.say("walter", "CREATE STREAM t (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON'); DROP STREAM s;");
    assert_eq!(status, 403);
    assert_eq!(house.done("rita", "SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 1);
}
