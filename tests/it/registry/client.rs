//! The client over HTTP: requests, headers, retries, references, the cache; and the laws of every registry.

use super::server::Server;
use super::{BIGINT, INT, json_object, schema};
use std::path::Path;
use std::time::Duration;
use tidegate::catalog::{Guid, SchemaType};
use tidegate::config::{Config, LogConfig};
use tidegate::registry::client::Client;
use tidegate::registry::fixed::{Fixed, guid_of};
use tidegate::registry::{
    Compatibility, RegistryError, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, Schemas, VERSION_NOT_FOUND,
};
use tidegate::types::clock::SystemClock;

fn client(settings: &[(&str, &str)], directory: Option<&Path>) -> Client {
    let mut config = Config::new(LogConfig::Temporary);
    for (name, value) in [("retries.wait.ms", "10")].iter().chain(settings) {
        config.set(&format!("ksql.schema.registry.{name}"), value).unwrap();
    }
    Client::new(&config.registry().unwrap().unwrap(), directory).unwrap()
}

fn code(error: RegistryError) -> i32 {
    match error {
        RegistryError::Refused(error) => error.code,
        RegistryError::Unreachable(reason) => panic!("{reason}"),
    }
}

/// The laws of [`Schemas`].
fn laws(registry: &dyn Schemas) {
    assert_eq!(code(registry.latest("a-value").unwrap_err()), SUBJECT_NOT_FOUND);
    assert_eq!(code(registry.by_id(77, None).unwrap_err()), SCHEMA_NOT_FOUND);
    assert_eq!(code(registry.by_guid(Guid([7; 16])).unwrap_err()), SCHEMA_NOT_FOUND);
    let (one, two) = (json_object(&[("A", INT)]), json_object(&[("A", INT), ("B", BIGINT)]));
    let first = registry.register("a-value", &one).unwrap();
    assert_eq!((first.version, &*first.schema), (1, &one));
    assert_eq!(registry.register("a-value", &one).unwrap(), first, "registered twice, one version");
    assert_eq!(registry.register("b-value", &one).unwrap().id, first.id, "equal schemas have equal ids");
    let second = registry.register("a-value", &two).unwrap();
    assert_eq!(second.version, 2);
    assert_eq!(registry.versions("a-value").unwrap(), [1, 2]);
    assert_eq!(registry.latest("a-value").unwrap(), second);
    assert_eq!(registry.version("a-value", 1).unwrap(), first);
    assert_eq!(code(registry.version("a-value", 9).unwrap_err()), VERSION_NOT_FOUND);
    assert_eq!(registry.lookup("a-value", &one).unwrap(), first);
    assert_eq!(code(registry.lookup("b-value", &two).unwrap_err()), SCHEMA_NOT_FOUND);
    assert_eq!(registry.subjects_of(first.id).unwrap(), ["a-value", "b-value"]);
    assert_eq!(registry.subjects().unwrap(), ["a-value", "b-value"]);
    assert_eq!(registry.is_compatible("none", &one).unwrap(), Compatibility::Compatible);
    assert_eq!(registry.delete_subject("a-value").unwrap(), [1, 2]);
    assert_eq!(code(registry.latest("a-value").unwrap_err()), SUBJECT_NOT_FOUND);
    assert_eq!(code(registry.delete_subject("a-value").unwrap_err()), SUBJECT_NOT_FOUND);
    assert_eq!(*registry.by_id(second.id, Some("a-value")).unwrap(), two, "ids resolve after a deletion");
    assert_eq!(*registry.by_guid(guid_of(&two)).unwrap(), two);
}

#[test]
fn a_registry_in_memory_obeys_the_laws() {
    laws(&Fixed::default());
}

#[test]
fn a_registry_over_http_obeys_the_laws() {
    let server = Server::open();
    laws(&client(&[("url", &server.url)], None));
}

#[test]
fn requests_carry_what_the_settings_say() {
    let server = Server::open();
    let last = || server.shared.requests.lock().unwrap().last().unwrap().1.clone();
    client(&[("url", &server.url)], None).subjects().unwrap();
    assert_eq!(last()["content-type"], "application/vnd.schemaregistry.v1+json");
    assert!(last()["accept"].to_str().unwrap().contains("application/json"));
    assert!(last().get("authorization").is_none());
    let with_user = server.url.replace("http://", "http://u:p%40s@");
    client(&[("url", &with_user)], None).subjects().unwrap();
    assert_eq!(last()["authorization"], "Basic dTpwQHM=");
    let token = [
        ("url", server.url.as_str()),
        ("bearer.auth.credentials.source", "STATIC_TOKEN"),
        ("bearer.auth.token", "t0k"),
        ("bearer.auth.logical.cluster", "lsrc-1"),
    ];
    client(&token, None).subjects().unwrap();
    assert_eq!(last()["authorization"], "Bearer t0k");
    assert_eq!(last()["target-sr-cluster"], "lsrc-1");
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let server = Server::open();
    let client = client(&[("url", &server.url), ("max.retries", "2")], None);
    server.fail(&[503, 429]);
    assert_eq!(client.subjects().unwrap(), [""; 0]);
    assert_eq!(server.requests().len(), 3);
    server.fail(&[500, 500, 500]);
    let error = client.subjects().unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unreachable(reason) if reason.contains("500: <html>overloaded")),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3);
    server.fail(&[503]);
    assert!(client.without_retries().subjects().is_err());
    assert_eq!(server.requests().len(), 1);
    server.fail(&[401]);
    assert_eq!(code(client.subjects().unwrap_err()), 401);
    assert_eq!(server.requests().len(), 1, "a refusal is final");
}

#[test]
fn the_next_url_takes_over_and_stays_preferred() {
    let (one, two) = (Server::open(), Server::open());
    let gone = one.url.clone();
    drop(one);
    let client = client(&[("url", &format!("{gone}, {}", two.url)), ("max.retries", "0")], None);
    client.subjects().unwrap();
    client.subjects().unwrap();
    assert_eq!(two.requests(), ["GET /subjects", "GET /subjects"]);
    drop(two);
    let error = client.subjects().unwrap_err().to_string();
    assert!(error.contains("the schema registry does not respond") && error.contains(&gone), "{error}");
}

#[test]
fn a_registry_that_hangs_is_given_up() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(&[("url", &url), ("max.retries", "0"), ("http.read.timeout.ms", "100")], None);
    let clock = SystemClock::shared();
    let begin = clock.monotonic();
    let error = client.subjects().unwrap_err().to_string();
    assert!(error.contains("no response within 100 ms"), "{error}");
    assert!(clock.monotonic() - begin < Duration::from_secs(20));
}

#[test]
fn a_response_of_something_else_is_none_of_a_registry() {
    let server = Server::open();
    server.shared.schemas.put("t-value", 7, &json_object(&[("A", INT)]));
    let client = client(&[("url", &server.url), ("max.retries", "0")], None);
    // A proxy that responds with a page.
    server.fail(&[200]);
    let error = client.latest("t-value").unwrap_err().to_string();
    assert!(error.contains("the response is none of a schema registry"), "{error}");
}

#[test]
fn ids_are_asked_for_once_and_survive_the_process() {
    let (server, directory) = (Server::open(), tempfile::tempdir().unwrap());
    server.shared.schemas.put("t-value", 7, &json_object(&[("A", INT)]));
    let first = client(&[("url", &server.url)], Some(directory.path()));
    for _ in 0..3 {
        assert_eq!(*first.by_id(7, Some("t-value")).unwrap(), json_object(&[("A", INT)]));
    }
    assert_eq!(server.requests(), ["GET /schemas/ids/7?subject=t-value"]);
    let second = client(&[("url", &server.url)], Some(directory.path()));
    second.by_id(7, None).unwrap();
    assert_eq!(server.requests(), [""; 0]);
    assert!(second.by_id(8, None).unwrap_err().is_missing());
    assert!(second.by_id(8, None).unwrap_err().is_missing());
    assert_eq!(server.requests().len(), 2, "what does not exist may exist later");
}

#[test]
fn references_are_resolved_in_order_and_once() {
    let server = Server::open();
    let proto = |text: &str| schema(SchemaType::Protobuf, text);
    let (deep, middle, top) = (
        proto("syntax = \"proto3\"; message Deep {}"),
        proto("syntax = \"proto3\"; import \"deep.proto\"; message Middle {}"),
        proto("syntax = \"proto3\"; import \"middle.proto\"; import \"deep.proto\"; message Top {}"),
    );
    server.shared.schemas.put("deep", 1, &deep);
    server.shared.schemas.put("middle", 2, &middle);
    server.shared.schemas.put("t-value", 3, &top);
    let reference = |name: &str| (format!("{name}.proto"), name.to_owned(), 1);
    *server.shared.references.lock().unwrap() = vec![
        (top.text.to_string(), vec![reference("middle"), reference("deep")]),
        // A loop, which no registry should have.
        (middle.text.to_string(), vec![reference("deep"), reference("middle")]),
    ];
    let found = client(&[("url", &server.url)], None).by_id(3, None).unwrap();
    let names: Vec<_> = found.references.iter().map(|r| (r.name.as_str(), r.text.clone())).collect();
    assert_eq!(names, [("deep.proto", deep.text.clone()), ("middle.proto", middle.text.clone())]);
}

/// A server with TLS that requires a client certificate, and responds to one request.
fn tls_server(certificate: &str, key: &str) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read, Write};
    use std::sync::Arc;
    let chain = || vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain().remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain(), PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n[\"a-value\"]");
            }
        }
    });
    url
}

#[test]
fn a_client_certificate_is_presented_over_tls() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http/tls");
    let (certificate, key) = (format!("{folder}/test-cert.pem"), format!("{folder}/test-key.pem"));
    let url = tls_server(&certificate, &key);
    // One file with both, as Kafka's PEM keystores.
    let store = tempfile::NamedTempFile::new().unwrap();
    let both = [std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap()].concat();
    std::fs::write(store.path(), both).unwrap();
    let trust = [("url", url.as_str()), ("max.retries", "0"), ("ssl.truststore.location", certificate.as_str())];
    let with_identity = [&trust[..], &[("ssl.keystore.location", store.path().to_str().unwrap())]].concat();
    assert_eq!(client(&with_identity, None).subjects().unwrap(), ["a-value"]);
    assert!(client(&trust, None).subjects().is_err(), "the server requires a certificate");
    assert!(client(&trust[..2], None).subjects().is_err(), "the server's certificate is not trusted");
}
