//! The web console: what is embedded, how it is served, and, with node and a Chromium here, how it behaves in a browser
//! (`tests/console`). Without them the browser's tests say that they were skipped, and why.

use crate::clients::prepared;
use crate::http::{PATIENCE, Server, TIDEGATE};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidegate::serve::console::FILES;

/// All files together, each compressed by itself, as a browser behind a proxy loads them.
const GZIPPED_BYTES_MAX: usize = 250_000;
/// The longest file of our own.
const LINES_MAX: usize = 500;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/console")
}

/// Files below the folder, by their path in it, but for the module itself.
fn on_disk() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(folder()).unwrap().display().to_string())),
            }
        }
    }
    found.retain(|path| !path.ends_with(".rs"));
    found
}

fn text(path: &str) -> &'static str {
    let file = FILES.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is embedded"));
    std::str::from_utf8(file.bytes).expect("text")
}

/// Our own files, as text.
fn own() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter(|file| !file.path.starts_with("vendor/")).map(|file| (file.path, text(file.path)))
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_file_is_embedded() {
    let embedded: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
    assert_eq!(embedded, on_disk());
}

#[test]
fn vendored_libraries_are_those_of_the_readme() {
    let readme = text("vendor/README.md");
    let listed: BTreeMap<&str, &str> = readme
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells.len() > 5 && cells[4].len() == 66).then(|| (cells[1], cells[4].trim_matches('`')))
        })
        .collect();
    let there: BTreeMap<&str, String> = FILES
        .iter()
        .filter_map(|file| Some((file.path.strip_prefix("vendor/")?, hex(file.bytes))))
        .filter(|(name, _)| *name != "README.md")
        .collect();
    assert_eq!(listed, there.iter().map(|(name, hash)| (*name, hash.as_str())).collect());
    for name in ["codemirror", "preact", "uplot", "htm"] {
        assert!(readme.contains(name) && text("vendor/LICENCES.txt").contains(name), "{name}");
    }
}

#[test]
fn own_files_are_short_and_ask_no_other_host() {
    for (path, text) in own() {
        assert!(text.lines().count() <= LINES_MAX, "{path} is longer than {LINES_MAX} lines");
        for forbidden in
            ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            // The name of SVG's language looks like an address and is none.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(forbidden), "{path} contains {forbidden}");
        }
        if path.ends_with(".js") && path != "theme.js" {
            assert!(text.starts_with("/**"), "{path} opens with what it is");
        }
    }
}

/// The keys of a language, as its file has them.
fn keys(language: &str) -> BTreeSet<&'static str> {
    let lines = text(language).lines().filter_map(|line| line.strip_prefix("  '")?.split_once("':"));
    lines.map(|(key, _)| key).collect()
}

#[test]
fn both_languages_have_every_text() {
    let english = keys("i18n/en.js");
    assert_eq!(english, keys("i18n/ko.js"));
    assert!(english.len() > 300, "{}", english.len());
    for (path, text) in own().filter(|(path, _)| path.ends_with(".js") && !path.starts_with("i18n/")) {
        for (at, _) in text.match_indices("t('") {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            let key = text[at + 3..].split('\'').next().unwrap_or_default();
            let is_key = key.contains('.') && key.chars().all(|c| c.is_alphanumeric() || c == '.');
            if !before.is_alphanumeric() && is_key {
                assert!(english.contains(key), "{path} uses {key}, which no language has");
            }
        }
    }
    // Placeholders are the same in both, or a number would be missing in one of them.
    let holes = |language: &str, key: &str| -> BTreeSet<String> {
        let line = text(language).lines().find(|line| line.contains(&format!("'{key}':"))).unwrap_or_default();
        line.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
    };
    let plural = |names: &BTreeSet<String>| names.iter().filter(|name| *name != "n").cloned().collect::<BTreeSet<_>>();
    for key in &english {
        let (english, korean) = (holes("i18n/en.js", key), holes("i18n/ko.js", key));
        assert_eq!(plural(&english), plural(&korean), "{key}");
    }
}

/// A response: status, headers in lower case, body.
fn get(server: &Server, path: &str, header: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(&server.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("a response");
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), response[end + 4..].to_vec())
}

#[test]
fn files_are_served_with_their_headers() {
    let server = Server::start();
    let (status, head, body) = get(&server, "/console/", "");
    assert_eq!((status, body.as_slice()), (200, text("index.html").as_bytes()), "{head}");
    let wanted = [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-cache",
        "default-src 'none'; script-src 'self'; style-src 'self'",
        "require-trusted-types-for 'script'",
        "frame-ancestors 'none'",
    ];
    wanted.iter().for_each(|header| assert!(head.contains(header), "{header} in {head}"));
    for file in FILES {
        let (status, head, body) = get(&server, &format!("/console/{}", file.path), "");
        assert_eq!((status, body.as_slice()), (200, file.bytes), "{}", file.path);
        assert!(head.contains(&format!("etag: \"{}\"", hex(file.bytes))), "{}: {head}", file.path);
    }
    let tag = format!("If-None-Match: \"{}\"\r\n", hex(text("app.js").as_bytes()));
    let (status, head, body) = get(&server, "/console/app.js", &tag);
    assert_eq!((status, body.len()), (304, 0), "{head}");
    for nowhere in ["/console/nothing.js", "/console/mod.rs", "/console/../mod.rs", "/console/%2e%2e/info"] {
        assert_eq!(get(&server, nowhere, "").0, 404, "{nowhere}");
    }
}

#[test]
fn a_browser_is_led_to_the_console_and_a_program_to_the_version() {
    let server = Server::start();
    let page = "Accept: text/html,application/xhtml+xml\r\n";
    let leads = |server: &Server, header: &str| get(server, "/", header).1.split("location: ").nth(1).map(first_line);
    assert_eq!(leads(&server, page).as_deref(), Some("/console/"));
    assert_eq!(leads(&server, "Accept: */*\r\n").as_deref(), Some("/info"));
    let without = Server::at(&["--temp", "--no-console"]);
    assert_eq!(leads(&without, page).as_deref(), Some("/info"));
    assert_eq!(get(&without, "/console/", "").0, 404);
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Where a browser may be.
const BROWSERS: [&str; 4] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable"];
/// Longest time of the browser's tests together.
const BROWSER_SECONDS: &str = "120";

#[test]
fn it_works_in_a_browser() {
    let Some(browser) = BROWSERS.iter().find(|path| Path::new(path).exists()) else {
        // Not eprintln: the harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED console::it_works_in_a_browser: no Chromium is installed");
        return;
    };
    let Some(packages) = prepared("it_works_in_a_browser", &["node", "../console"]) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console/browser.mjs");
    let mut command = Command::new("timeout");
    command.args([BROWSER_SECONDS, "node"]).arg(script).args([TIDEGATE, browser, packages.as_str()]);
    let output = command.stdin(Stdio::null()).output().expect("node runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in the browser:\n{out}\n{errors}");
}

#[test]
fn all_files_together_are_small() {
    let Some(packages) = prepared("all_files_together_are_small", &["node", "../console"]) else { return };
    drop(packages);
    let script = "const all = process.argv.slice(1).map(file => require('fs').readFileSync(file)); \
                  console.log(all.reduce((sum, one) => sum + require('zlib').gzipSync(one, { level: 9 }).length, 0))";
    let files = FILES.iter().filter(|file| !file.path.ends_with(".md") && !file.path.ends_with(".txt"));
    let output = Command::new("node").args(["-e", script]).args(files.map(|file| folder().join(file.path))).output();
    let size = String::from_utf8_lossy(&output.expect("node runs").stdout).trim().parse::<usize>().expect("a number");
    assert!(size <= GZIPPED_BYTES_MAX, "{size} bytes, compressed");
}
