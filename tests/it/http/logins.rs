//! Logins: what a flood of wrong passwords costs others, users that come and go while the server runs, certificates.

use super::doors::from_address;
use super::front::{get, raw};
use super::rights::Users;
use super::*;
use base64::Engine as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http/tls");
const PASSWORD: &str = "correct horse";

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

/// Status, and seconds after which to come again.
fn ask(server: &str, address: &str, authorization: &str) -> (u16, Option<u64>) {
    let mut stream = from_address(server, address);
    let head =
        format!("GET /info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {authorization}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let again = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")?.trim().parse().ok());
    (status.unwrap_or(0), again)
}

/// A file of users with alice, who has a password, and rita, who has a token.
fn with_alice() -> Users {
    let users = Users::new(&["rita reader"]);
    let put = tidegate(&[], &["user", "alice", "admin", "--file", users.file()], &format!("{PASSWORD}\n"));
    assert!(put.status.success() && put.stdout.is_empty(), "{}", text(&put.stderr));
    users
}

#[test]
fn a_flood_of_wrong_passwords_costs_those_who_send_it() {
    let users = with_alice();
    let server = Server::at(&["--temp", "--users", users.file()]);
    let (alice, rita) = (basic("alice", PASSWORD), users.header("rita").to_owned());
    assert_eq!(ask(&server.address, "127.0.0.1", &alice).0, 200);
    let clock = SystemClock::shared();
    let timed = |authorization: &str| {
        let begun = clock.monotonic();
        assert_eq!(ask(&server.address, "127.0.0.1", authorization).0, 200);
        clock.monotonic() - begun
    };
    let answers: Vec<(u16, Option<u64>)> = std::thread::scope(|scope| {
        let flood = |n: usize| {
            let server = server.address.as_str();
            move || {
                (0..10)
                    .map(|m| ask(server, "127.0.0.1", &basic("alice", &format!("hunter{n}-{m}"))))
                    .collect::<Vec<_>>()
            }
        };
        let floods: Vec<_> = (0..20).map(|n| scope.spawn(flood(n))).collect();
        // Who is remembered and who has a token does not wait for any of it.
        for _ in 0..5 {
            assert!(timed(&alice) < Duration::from_secs(2) && timed(&rita) < Duration::from_secs(2));
        }
        floods.into_iter().flat_map(|flood| flood.join().unwrap()).collect()
    });
    let count = |status: u16| answers.iter().filter(|answer| answer.0 == status).count();
    assert!(answers.iter().all(|(status, again)| (*status == 429) == again.is_some_and(|s| s > 0)), "{answers:?}");
    assert_eq!(count(401) + count(429), 200, "{answers:?}");
    assert!(count(401) >= 1 && count(401) < 60, "{} were checked", count(401));
    let lines: Vec<String> = server.errors.try_iter().collect();
    let failed: Vec<&String> = lines.iter().filter(|line| line.contains("auth failed")).collect();
    assert!(!failed.is_empty() && failed.len() < 40, "{} lines", failed.len());
    assert!(failed[0].contains("WARN") && failed[0].contains("name=\"alice\"") && failed[0].contains("127.0.0.1"));
    assert!(lines.iter().all(|line| !line.contains("hunter")), "a secret is in the log");
    let page = server.agent.get(format!("http://{}/metrics", server.address)).header("authorization", &rita);
    let page = page.call().unwrap().into_body().read_to_string().unwrap();
    let metric = |name: &str| -> u64 {
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_else(|| panic!("{page}"))
    };
    assert_eq!(metric("tidegate_auth_failures_total "), count(401) as u64);
    assert_eq!(metric("tidegate_auth_put_off_total "), count(429) as u64);
    // A file that is written anew makes the server forget whom it remembers. The same user gets in from another address,
    // although there were too many failures in the user's name.
    let before = std::fs::read_to_string(users.file()).unwrap();
    std::fs::write(users.file(), format!("{before}# again\n")).unwrap();
    server.says("reloaded the users file");
    assert_eq!(ask(&server.address, "127.0.0.2", &alice).0, 200);
}

impl Server {
    /// Waits for a line of its log with this text.
    fn says(&self, wanted: &str) -> String {
        loop {
            let line =
                self.errors.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the server never says {wanted:?}"));
            if line.contains(wanted) {
                return line;
            }
        }
    }
}

#[test]
fn many_requests_with_one_password_are_one_check() {
    let users = with_alice();
    let server = Server::at(&["--temp", "--users", users.file()]);
    let alice = basic("alice", PASSWORD);
    let to = server.address.as_str();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..40).map(|_| scope.spawn(|| ask(to, "127.0.0.1", &alice).0)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(answers, [200; 40]);
    // A program that repeats a wrong password does not use up what its address has.
    let wrong = basic("alice", "wrong");
    assert!((0..50).all(|_| ask(&server.address, "127.0.0.1", &wrong).0 == 401));
}

#[test]
fn users_come_and_go_while_the_server_runs() {
    let users = with_alice();
    let server = Server::at(&["--temp", "--users", users.file()]);
    let (alice, rita) = (basic("alice", PASSWORD), users.header("rita").to_owned());
    let status = |who: &str| ask(&server.address, "127.0.0.1", who).0;
    assert_eq!((status(&alice), status(&rita)), (200, 200));
    // A new password; the other users are gone.
    let file = Path::new(users.file());
    let with_password = std::fs::read_to_string(file).unwrap();
    let only_alice = with_password.lines().find(|line| line.starts_with("alice")).unwrap().to_owned();
    std::fs::write(file, &only_alice).unwrap();
    let put = tidegate(&[], &["user", "alice", "reader", "--file", users.file()], "another\n");
    assert!(put.status.success(), "{}", text(&put.stderr));
    until("the new password is in force", || status(&rita) == 401 && status(&basic("alice", "another")) == 200);
    assert_eq!(status(&alice), 401);
    // One that cannot be understood changes nothing, and says so.
    std::fs::write(file, "alice admin hunter2\n").unwrap();
    let said = server.says("keeping the previous users");
    assert!(said.contains("ERROR") && said.contains(":1:") && !said.contains("hunter2"), "{said}");
    assert_eq!(status(&basic("alice", "another")), 200);
    std::fs::remove_file(file).unwrap();
    server.says("keeping the previous users");
    assert_eq!(status(&basic("alice", "another")), 200);
    std::fs::write(file, &only_alice).unwrap();
    until("the old one is again", || status(&alice) == 200);
    assert_eq!(status(&basic("alice", "another")), 401);
}

#[test]
fn a_client_is_told_what_is_wrong_with_its_login() {
    let users = with_alice();
    let server = Server::at(&["--temp", "--users", users.file()]);
    let url = format!("http://{}", server.address);
    let say = |set: &[(&str, &str)]| {
        let mut command = Command::new(TIDEGATE);
        let out = command.args(["--server", &url, "sql", "-e", "SHOW STREAMS;"]).envs(set.iter().copied()).output();
        let out = out.unwrap();
        assert_eq!(out.status.code(), Some(3));
        text(&out.stderr)
    };
    let nobody = say(&[]);
    assert!(nobody.contains("requires authentication") && nobody.contains("TIDEGATE_PASSWORD"), "{nobody}");
    let wrong = say(&[("TIDEGATE_USER", "alice"), ("TIDEGATE_PASSWORD", "wrong")]);
    assert!(wrong.contains("rejected the user name or password"), "{wrong}");
    let token = say(&[("TIDEGATE_TOKEN", "0")]);
    assert!(token.contains("rejected the token"), "{token}");
}

#[test]
fn a_password_that_goes_over_a_network_in_the_clear_is_told_of() {
    // Nobody listens there: what counts is said before.
    let said = |url: &str| {
        let mut command = Command::new(TIDEGATE);
        let out = command.args(["--server", url, "sql", "-e", "SHOW STREAMS;"]).env("TIDEGATE_TOKEN", "x").output();
        text(&out.unwrap().stderr)
    };
    let clear = said("http://tidegate.invalid:1");
    assert!(clear.contains("is sent to tidegate.invalid:1 unencrypted"), "{clear}");
    for silent in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://tidegate.invalid:1"] {
        assert!(!said(silent).contains("unencrypted"), "{silent}");
    }
}

#[test]
fn http_to_the_port_of_https_gets_a_hint() {
    let (certificate, key) = (format!("{TLS}/test-cert.pem"), format!("{TLS}/test-key.pem"));
    let server = Server::at(&["--temp", "--tls-cert", &certificate, "--tls-key", &key]);
    for head in ["GET /info HTTP/1.1\r\nhost: localhost\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let (status, answer) = raw(&server, head);
        assert!(status == 400 && answer.contains("\"error_code\":40000") && answer.contains("https://"), "{answer}");
    }
    // What is neither is a failed handshake, as ever.
    assert_eq!(raw(&server, &"\u{1}".repeat(20)).0, 0);
    let url = format!("http://{}", server.address);
    let out = tidegate(&[], &["sql", "--server", &url, "-e", "SHOW STREAMS;"], "");
    assert!(text(&out.stderr).contains("use https://"), "{}", text(&out.stderr));
}

/// An authority and what it has signed, made by `openssl`.
struct Authority {
    home: TempDir,
}

impl Authority {
    /// `None` = there is no openssl here.
    fn new() -> Option<Authority> {
        let authority = Authority { home: tempfile::tempdir().unwrap() };
        let made = authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=people",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        made.then_some(authority)
    }

    fn openssl(&self, args: &[&str]) -> bool {
        let run = Command::new("openssl").args(args).current_dir(self.home.path()).output();
        match run {
            Ok(out) => {
                assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
                true
            }
            Err(_) => false,
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.home.path().join(file)
    }

    fn file(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// A certificate of this subject and these names, in `stem.pem` and `stem.key`.
    fn sign(&self, stem: &str, subject: &str, names: &str) {
        let (key, request, certificate) = (format!("{stem}.key"), format!("{stem}.csr"), format!("{stem}.pem"));
        let curve = "ec_paramgen_curve:P-256";
        self.openssl(&[
            "req", "-newkey", "ec", "-pkeyopt", curve, "-nodes", "-subj", subject, "-keyout", &key, "-out", &request,
        ]);
        let extensions = match names {
            "" => "basicConstraints=critical,CA:FALSE\n".to_owned(),
            names => format!("basicConstraints=critical,CA:FALSE\nsubjectAltName={names}\n"),
        };
        std::fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "extensions",
            "-out",
            &certificate,
        ]);
    }
}

/// A server that takes an authority's certificates, and what its client says to it.
struct Mutual<'a> {
    authority: &'a Authority,
    server: Server,
    certificate: String,
}

impl Mutual<'_> {
    fn new<'a>(authority: &'a Authority, users: &str, flags: &[&str]) -> Mutual<'a> {
        let (certificate, key) = (format!("{TLS}/test-cert.pem"), format!("{TLS}/test-key.pem"));
        let ca = authority.file("ca.pem");
        let place = ["--temp", "--users", users, "--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &ca];
        Mutual { authority, server: Server::at(&[&place, flags].concat()), certificate }
    }

    /// Exit code and standard error of a statement with this certificate and token.
    fn say(&self, stem: &str, token: &str, statement: &str) -> (Option<i32>, String) {
        let url = format!("https://{}", self.server.address.replace("127.0.0.1", "localhost"));
        let mut command = Command::new(TIDEGATE);
        command.args(["--server", &url, "--ca", &self.certificate, "sql", "-e", statement]);
        if !stem.is_empty() {
            let file = |ending: &str| self.authority.file(&format!("{stem}.{ending}"));
            command.args(["--cert", &file("pem"), "--key", &file("key")]);
        }
        if !token.is_empty() {
            command.env("TIDEGATE_TOKEN", token);
        }
        let out = command.output().unwrap();
        (out.status.code(), text(&out.stderr))
    }
}

#[test]
fn a_certificate_proves_who_a_client_is() {
    let Some(authority) = Authority::new() else {
        eprintln!("skipped: a_certificate_proves_who_a_client_is needs openssl");
        return;
    };
    let stranger = Authority::new().unwrap();
    authority.sign("walter", "/O=ada/CN=walter", "");
    authority.sign("ada", "/CN=somebody", "DNS:nobody,DNS:ada");
    authority.sign("rita", "/CN=rita", "");
    authority.sign("mallory", "/CN=mallory", "");
    stranger.sign("forged", "/CN=ada", "DNS:ada");
    for file in ["forged.pem", "forged.key"] {
        std::fs::copy(stranger.path(file), authority.path(file)).unwrap();
    }
    let users = Users::new(&["rita reader"]);
    for (name, role) in [("walter", "writer"), ("ada", "admin")] {
        let put = tidegate(&[], &["user", name, role, "--certificate", "--file", users.file()], "");
        assert!(put.status.success(), "{}", text(&put.stderr));
    }
    let create = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);";
    let token = users.header("rita").strip_prefix("Bearer ").unwrap();

    let optional = Mutual::new(&authority, users.file(), &[]);
    assert_eq!(optional.say("walter", "", create), (Some(0), optional.say("walter", "", "SHOW STREAMS;").1));
    assert_eq!(optional.say("walter", "", "DROP STREAM s;").0, Some(1), "a writer");
    assert_eq!(optional.say("ada", "", "DROP STREAM s;").0, Some(0), "a DNS name is a name, too");
    assert_eq!(optional.say("rita", "", create).0, Some(1), "who has a token has the same role with a certificate");
    assert_eq!(optional.say("", token, "SHOW STREAMS;").0, Some(0), "a token does without one");
    let (code, said) = optional.say("mallory", "", "SHOW STREAMS;");
    assert!(code == Some(3) && said.contains("requires authentication"), "{said}");
    let (code, said) = optional.say("walter", "0", "SHOW STREAMS;");
    assert!(code == Some(3) && said.contains("rejected the token"), "a token counts first: {said}");
    assert_eq!(optional.say("forged", "", "SHOW STREAMS;").0, Some(3), "of another authority");

    let required = Mutual::new(&authority, users.file(), &["--client-cert-required"]);
    assert_eq!(required.say("walter", "", "SHOW STREAMS;").0, Some(0));
    let (code, said) = required.say("", token, "SHOW STREAMS;");
    assert!(code == Some(3) && said.contains("--cert FILE"), "{said}");
    assert_eq!(get(&required.server, "host: localhost\r\n").0, 400, "cleartext");
}

#[test]
fn a_certificate_that_cannot_be_a_servers_is_explained() {
    let Some(authority) = Authority::new() else {
        eprintln!("skipped: a_certificate_that_cannot_be_a_servers_is_explained needs openssl");
        return;
    };
    // What openssl makes unless it is asked for something else: an authority.
    let (certificate, key) = (authority.file("ca.pem"), authority.file("ca.key"));
    let server = Server::at(&["--temp", "--tls-cert", &certificate, "--tls-key", &key]);
    let url = format!("https://{}", server.address);
    let say = |ca: &str| text(&tidegate(&["--ca", ca], &["sql", "--server", &url, "-e", "SHOW STREAMS;"], "").stderr);
    let said = say(&certificate);
    assert!(said.contains("cannot establish a trusted connection") && said.contains("CA:FALSE"), "{said}");
    let (mine, key) = (format!("{TLS}/test-cert.pem"), format!("{TLS}/test-key.pem"));
    let server = Server::at(&["--temp", "--tls-cert", &mine, "--tls-key", &key]);
    let url = format!("https://{}", server.address.replace("127.0.0.1", "localhost"));
    let out = tidegate(&["--ca", &certificate], &["sql", "--server", &url, "-e", "SHOW STREAMS;"], "");
    assert!(text(&out.stderr).contains("that of its authority, with --ca FILE"), "{}", text(&out.stderr));
}
