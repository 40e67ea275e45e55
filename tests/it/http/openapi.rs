//! `/openapi.json` is true: what it allows is sent to a running server by schemathesis, no response is a fault of the server,
//! and each has the shape that is described. Skipped by name without Python or the registry.

use super::*;
use crate::clients::prepared;
use std::path::Path;

/// How long requests are made up.
const SECONDS: &str = "12";
/// What is looked at in each response.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[test]
fn responses_have_the_shapes_that_are_described() {
    let server = Server::start();
    server.ksql(CREATE);
    server.ksql(INSERT);
    server.ksql(COUNT);
    let (status, document) = server.get("/openapi.json");
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let (_, page) = server.get("/api/v1");
    assert!(page.as_str().unwrap().contains("/api/v1/topics/{topic}/records?partition"));
    let Some(python) = prepared("openapi", &["python", "requirements-openapi.txt"]) else { return };
    let url = format!("http://{}/openapi.json", server.address);
    // It leaves what it found in the folder in which it runs.
    let folder = tempfile::tempdir().unwrap();
    // One worker: CPython before 3.12 shares the depth of `ast.parse` between threads and fails now and then with two.
    let output = Command::new("timeout")
        .current_dir(folder.path())
        .arg("120")
        .arg(Path::new(&python).with_file_name("st"))
        .args(["run", &url, "--phases", "coverage,fuzzing", "--max-examples", "5", "--max-time", SECONDS])
        .args(["--checks", CHECKS, "--suppress-health-check", "all", "--workers", "1", "--no-color"])
        .args(["--warnings", "off", "--generation-database", "none", "--seed", "1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(server.get("/api/v1/session").0, 200, "the server lives");
}
