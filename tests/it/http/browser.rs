//! What a browser needs: a login that leaves a cookie, requests with it, and what a page of another site cannot do with it.

use super::rights::{House, Users};
use super::*;

/// A request as a browser sends it: the status, the body, and the headers of the response.
pub(super) fn send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value, ureq::http::HeaderMap) {
    let url = format!("http://{}{path}", server.address);
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let headers = response.headers().clone();
    let (status, body) = answer(response);
    (status, body, headers)
}

/// What of a `set-cookie` goes into `cookie`.
fn cookie_of(headers: &ureq::http::HeaderMap) -> String {
    headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn without_users_a_session_needs_no_login() {
    let server = Server::start();
    let local = json!({ "user": "local", "role": "admin", "authentication": "none" });
    assert_eq!(server.get("/api/v1/session"), (200, local.clone()));
    let (status, body, headers) = send(&server, "POST", "/api/v1/session", &[], r#"{"user":"x","password":"y"}"#);
    assert_eq!((status, body, headers.get("set-cookie")), (200, local, None));
    let (status, body) = server.get("/api/v1/nosuch");
    assert_eq!((status, &body["code"], &body["span"]), (404, &json!(40400), &Value::Null));
    assert_eq!(send(&server, "PUT", "/api/v1/session", &[], "{}").1["code"], 40500);
}

#[test]
fn a_login_leaves_a_cookie_that_stands_for_the_user() {
    let house = House::new(&["walter writer", "rita reader"], &[]);
    let server = &house.server;
    let origin = format!("http://{}", server.address);
    let token = |name: &str| house.users.header(name).trim_start_matches("Bearer ").to_owned();

    let (status, refused, headers) = send(server, "GET", "/api/v1/session", &[], "");
    assert_eq!((status, &refused["code"]), (401, &json!(40100)));
    assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "no dialogue of the browser's own");
    for wrong in [r#"{"token":"wrong"}"#, r#"{"user":"rita","password":"wrong"}"#] {
        assert_eq!(send(server, "POST", "/api/v1/session", &[], wrong).0, 401, "{wrong}");
    }
    for unreadable in ["{}", "[]", "", r#"{"user":"rita"}"#, r#"{"user":"a","password":"b","token":"c"}"#] {
        assert_eq!(send(server, "POST", "/api/v1/session", &[], unreadable).0, 400, "{unreadable}");
    }
    assert_eq!(send(server, "POST", "/api/v1/session", &[], &" ".repeat(20_000)).0, 413);

    let login = json!({ "token": token("rita") }).to_string();
    let (status, body, headers) = send(server, "POST", "/api/v1/session", &[("origin", &origin)], &login);
    assert_eq!((status, body), (200, json!({ "user": "rita", "role": "reader", "authentication": "users" })));
    let set = headers["set-cookie"].to_str().unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Strict") && set.contains("Max-Age=43200") && !set.contains("Secure"));
    let rita = cookie_of(&headers);
    // The port is part of its name: a browser sends it to the other servers of the host, too.
    let own = format!("tidegate-{}=", server.address.rsplit(':').next().unwrap());
    assert!(rita.starts_with(&own), "{rita}");
    let login = json!({ "token": token("walter") }).to_string();
    let walter = cookie_of(&send(server, "POST", "/api/v1/session", &[], &login).2);

    assert_eq!(send(server, "GET", "/api/v1/session", &[("cookie", &rita)], "").1["user"], "rita");
    // A header counts before the cookie.
    let both = [("cookie", rita.as_str()), ("authorization", house.users.header("walter"))];
    assert_eq!(send(server, "GET", "/api/v1/session", &both, "").1["user"], "walter");
    let create =
        json!({ "ksql": "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);" });
    let create = |headers: &[(&str, &str)]| send(server, "POST", "/ksql", headers, &create.to_string()).0;
    assert_eq!(create(&[("cookie", &walter)]), 403, "a request that may change something says where it comes from");
    assert_eq!(create(&[("cookie", &walter), ("origin", "http://elsewhere.example")]), 403);
    assert_eq!(create(&[("cookie", &rita), ("origin", &origin)]), 403, "a reader creates nothing");
    assert_eq!(create(&[("cookie", &walter), ("origin", &origin)]), 200);

    let (status, body, headers) =
        send(server, "DELETE", "/api/v1/session", &[("cookie", &rita), ("origin", &origin)], "");
    assert_eq!((status, &body["user"], cookie_of(&headers).as_str()), (200, &Value::Null, own.as_str()));
    assert_eq!(send(server, "GET", "/api/v1/session", &[("cookie", &rita)], "").0, 401);
    assert_eq!(send(server, "GET", "/info", &[("cookie", &walter)], "").0, 200);
}

#[test]
fn a_read_only_server_says_that_every_user_is_a_reader() {
    let users = Users::new(&["ada admin"]);
    let server = Server::at(&["--temp", "--read-only", "--users", users.file()]);
    let headers = [("authorization", users.header("ada"))];
    assert_eq!(send(&server, "GET", "/api/v1/session", &headers, "").1["role"], "reader");
}
