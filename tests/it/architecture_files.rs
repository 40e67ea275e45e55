//! The files of the tree, held by tests: each is compiled, none depends on itself through others, none lists too much.
//!
//! ```text
//! src/execute/task/commit.rs --use--> src/execute/record/sink.rs --use--> src/log/record_set.rs --use--> ...
//! ```
//! A file *uses* another if a path in it (`use`, or written out) names something that is defined there, re-exports followed. A
//! module and what lies below it are one thing cut into files, so edges between them do not count. Every checker is also
//! shown a seeded mistake that it has to find.

use crate::source::{code_only, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Lines of a function, signature included: what fits on one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Entries of a folder: more hide rooms.
const FOLDER_ENTRIES_MAX: usize = 16;
/// Folders that list more, and why.
const LISTS: &[(&str, &str)] = &[
    ("src", "the modules of the crate, ordered by the levels in ARCHITECTURE.md"),
    ("src/functions", "the reference of SQL functions, by topic"),
    ("src/serve", "the doors of the server: ksqlDB's API, /api/v1, the registry, attached processes, Postgres"),
    ("src/log/embedded", "one store; journal, segments and maintenance could become rooms"),
];

/// A source file: its module path, and its text without comments, literals and unit tests.
struct File {
    module: Vec<String>,
    code: String,
}

/// The files of a crate by name.
type Files = BTreeMap<String, File>;

fn files_of(texts: impl IntoIterator<Item = (String, String)>) -> Files {
    let of = |(name, text): (String, String)| {
        let path = name.strip_prefix("src/").unwrap_or(&name).trim_end_matches(".rs");
        let mut module: Vec<String> = path.split('/').map(String::from).collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
            module.pop();
        }
        let code = code_only(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (name, File { module, code })
    };
    texts.into_iter().map(of).collect()
}

fn source_files() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut texts, mut open) = (Vec::new(), vec![root.join("src")]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).expect("it lies in the root").to_string_lossy().into_owned();
                texts.push((name, fs::read_to_string(&path).expect("the file can be read")));
            }
        }
    }
    files_of(texts)
}

/// Modules that a file declares: `mod a;`.
fn declared(code: &str) -> BTreeSet<&str> {
    let lines = code.lines().filter_map(|line| line.trim().strip_suffix(';'));
    lines
        .filter_map(|line| line.split_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub")))
        .map(|(_, name)| name)
        .collect()
}

/// Files that no module declares, so that the compiler does not see them.
fn undeclared(files: &Files) -> Vec<String> {
    let by_module: BTreeMap<&[String], &File> =
        files.iter().filter(|(name, _)| *name != "src/main.rs").map(|(_, f)| (&f.module[..], f)).collect();
    let is_declared = |file: &File| match file.module.split_last() {
        None => true,
        Some((name, parent)) => by_module.get(parent).is_some_and(|p| declared(&p.code).contains(name.as_str())),
    };
    let hidden = files.iter().filter(|(name, file)| *name != "src/main.rs" && !is_declared(file));
    hidden.map(|(name, _)| format!("{name}: no module declares it, so it is not compiled")).collect()
}

/// The paths of a use tree: `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn flattened(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(brace) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let path = before.iter().cloned().chain(name.split("::").map(|s| s.trim().to_owned()));
        paths.push(path.filter(|segment| !segment.is_empty() && segment != "self").collect());
        return;
    };
    let head = tree[..brace].split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty());
    let head: Vec<String> = before.iter().cloned().chain(head).collect();
    let inside = tree[brace + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inside[start..at].trim().is_empty() {
                    flattened(&inside[start..at], &head, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The trees of all `use` items, with whether they are public, and the code without them.
fn uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut trees, mut rest, mut open) = (Vec::new(), String::new(), None::<(bool, String)>);
    for line in code.lines() {
        let begin = line.trim_start();
        let item = match begin.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(rest, |(_, item)| item),
            Some(rest) => rest.trim_start(),
            None => begin,
        };
        if open.is_none() && item.starts_with("use ") {
            open = Some((begin.starts_with("pub"), String::new()));
        }
        match &mut open {
            None => rest.push_str(line),
            Some((_, tree)) => {
                tree.push_str(if tree.is_empty() { item.trim_start_matches("use ") } else { line });
                tree.push(' ');
            }
        }
        rest.push('\n');
        if line.trim_end().ends_with(';') {
            let closed = open.take().map(|(public, tree)| (public, tree.trim_end().trim_end_matches(';').to_owned()));
            trees.extend(closed);
        }
    }
    (trees, rest)
}

/// Paths written out in code: `crate::a::b`, `super::a`.
fn written_out(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for stem in ["crate::", "super::"] {
        for (at, _) in code.match_indices(stem) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) {
                let end = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                let path = &code[at..end.map_or(code.len(), |end| at + end)];
                paths.push(path.split("::").filter(|s| !s.is_empty()).map(String::from).collect());
            }
        }
    }
    paths
}

/// Who uses whom among the files of a crate.
struct Graph<'a> {
    by_module: BTreeMap<&'a [String], &'a str>,
    /// What a module re-exports: name -> path from the root.
    exports: BTreeMap<(&'a [String], String), Vec<String>>,
    edges: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(files: &'a Files) -> Graph<'a> {
        let files = files.iter().filter(|(name, _)| *name != "src/main.rs");
        let mut graph = Graph { by_module: BTreeMap::new(), exports: BTreeMap::new(), edges: BTreeMap::new() };
        graph.by_module.extend(files.clone().map(|(name, file)| (&file.module[..], name.as_str())));
        let mut named = Vec::new();
        for (name, file) in files {
            let (trees, rest) = uses(&file.code);
            let mut paths = written_out(&rest);
            for (public, tree) in trees {
                let mut flat = Vec::new();
                flattened(&tree, &[], &mut flat);
                if public {
                    let exported = flat.iter().filter_map(|path| graph.of_root(&file.module, path));
                    let exported: Vec<_> =
                        exported.filter_map(|p| Some(((&file.module[..], p.last()?.clone()), p))).collect();
                    graph.exports.extend(exported);
                }
                paths.extend(flat);
            }
            named.push((name.as_str(), file, paths));
        }
        for (name, file, paths) in named {
            let used = paths.iter().filter_map(|path| graph.of_root(&file.module, path));
            let used: BTreeSet<&str> = used.filter_map(|path| graph.file_of(&path, 0)).collect();
            let family = |other: &&str| {
                let other =
                    graph.by_module.iter().find(|(_, name)| *name == other).map_or(&[][..], |(module, _)| module);
                other.starts_with(&file.module) || file.module.starts_with(other)
            };
            graph.edges.insert(name, used.into_iter().filter(|other| !family(other)).collect());
        }
        graph
    }

    /// A path as written in `module`, from the root of the crate; `None` = it begins in another crate.
    fn of_root(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|s| *s == "super").count();
        let base = match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "super" => &module[..module.len().checked_sub(supers)?],
            _ => module,
        };
        let path: Vec<String> = base.iter().chain(&path[supers..]).cloned().collect();
        let known = supers > 0 || self.by_module.contains_key(path.get(..base.len() + 1)?);
        known.then_some(path)
    }

    /// The file that defines what a path names.
    fn file_of(&self, path: &[String], hops: usize) -> Option<&'a str> {
        let length = (0..=path.len()).rev().find(|&n| self.by_module.contains_key(&path[..n]))?;
        let (module, file) = self.by_module.get_key_value(&path[..length])?;
        let export = path.get(length).and_then(|name| self.exports.get(&(*module, name.clone())));
        match export {
            Some(export) if hops < 8 && export != path => self.file_of(export, hops + 1),
            _ => Some(file),
        }
    }

    fn reached(&self, from: &'a str) -> BTreeSet<&'a str> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in self.edges.get(file).into_iter().flatten() {
                if reached.insert(*next) {
                    open.push(next);
                }
            }
        }
        reached
    }

    /// Sets of files each of which uses itself through the others, with the edges between them.
    fn circles(&self) -> Vec<String> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self.edges.keys().map(|f| (*f, self.reached(f))).collect();
        let mut circles = BTreeSet::new();
        for (file, used) in &reached {
            if used.contains(file) {
                circles.insert(used.iter().copied().filter(|u| reached[u].contains(file)).collect::<BTreeSet<&str>>());
            }
        }
        let shown = |circle: &BTreeSet<&str>| {
            let edges =
                circle.iter().flat_map(|f| self.edges[f].intersection(circle).map(move |to| format!("  {f} -> {to}")));
            format!("a circle of `use`:\n{}", edges.collect::<Vec<_>>().join("\n"))
        };
        circles.iter().map(shown).collect()
    }
}

/// Functions above the bound, as `file:line: name`.
fn long_functions(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, File { code, .. }) in files {
        let lines: Vec<&str> = code.lines().collect();
        for (at, word) in words(code).filter(|(_, word)| *word == "fn").map(|(line, word)| (line - 1, word)) {
            let indent = lines[at].len() - lines[at].trim_start().len();
            let closes =
                |line: &&str| line.trim_start().starts_with('}') && line.len() - line.trim_start().len() <= indent;
            let opens = lines[at..].iter().take(20).any(|line| line.trim_end().ends_with('{'));
            let one_line = lines[at].trim_end().ends_with(['}', ';', ',']);
            let length = lines[at..].iter().position(closes).map_or(0, |end| end + 1);
            if opens && !one_line && length > FUNCTION_LINES_MAX {
                let shown = lines[at]
                    .split(word)
                    .nth(1)
                    .and_then(|rest| rest.trim().split(['(', '<']).next())
                    .unwrap_or_default();
                faults.push(format!("{name}:{}: `{shown}` has {length} lines, at most {FUNCTION_LINES_MAX}", at + 1));
            }
        }
    }
    faults
}

/// Folders that list more than can be taken in at a glance.
fn crowded_folders(files: &Files) -> Vec<String> {
    let mut entries: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in files.keys() {
        let mut path = name.as_str();
        while let Some((folder, entry)) = path.rsplit_once('/') {
            entries.entry(folder).or_default().insert(entry);
            path = folder;
        }
    }
    let crowded = entries.iter().filter(|(folder, entries)| {
        entries.len() > FOLDER_ENTRIES_MAX && !LISTS.iter().any(|(list, _)| list == *folder)
    });
    crowded
        .map(|(folder, entries)| format!("{folder}: {} entries, at most {FOLDER_ENTRIES_MAX}", entries.len()))
        .collect()
}

fn fail_with(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn seeded(texts: &[(&str, &str)]) -> Files {
    files_of(texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
}

#[test]
fn every_file_is_compiled() {
    fail_with(undeclared(&source_files()));
    let files = seeded(&[
        ("src/lib.rs", "pub mod a;"),
        ("src/a/mod.rs", "// mod c;\npub(super) mod b;"),
        ("src/a/b.rs", ""),
        ("src/a/c.rs", ""),
    ]);
    assert_eq!(undeclared(&files), ["src/a/c.rs: no module declares it, so it is not compiled"]);
}

#[test]
fn no_file_uses_itself_through_others() {
    fail_with(Graph::of(&source_files()).circles());
    let circles = |texts: &[(&str, &str)]| Graph::of(&seeded(texts)).circles().len();
    assert_eq!(
        circles(&[("src/lib.rs", ""), ("src/a.rs", "use crate::b::B;"), ("src/b.rs", "use super::{x, a::A};")]),
        1
    );
    assert_eq!(
        circles(&[("src/lib.rs", ""), ("src/a.rs", "fn f() -> crate::b::B {}"), ("src/b.rs", "use crate::a;")]),
        1
    );
    // A module and its parts are one thing; what a module re-exports belongs to the file that defines it.
    let family = ("src/a/mod.rs", "mod b;\npub use b::{\n    B,\n};");
    assert_eq!(circles(&[("src/lib.rs", ""), family, ("src/a/b.rs", "use super::A;")]), 0);
    let used = [("src/a/b.rs", "use crate::c::C;"), ("src/c.rs", "use crate::a::B;")];
    assert_eq!(circles(&[("src/lib.rs", ""), family, used[0], used[1]]), 1);
}

#[test]
fn functions_fit_on_a_screen() {
    fail_with(long_functions(&source_files()));
    let long = format!("fn f() {{\n{}}}\nfn g() {{}}", "    x();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(long_functions(&seeded(&[("src/a.rs", &long)])).len(), 1);
}

#[test]
fn folders_list_what_a_reader_takes_in_at_a_glance() {
    let files = source_files();
    fail_with(crowded_folders(&files));
    for (list, _) in LISTS {
        assert!(files.keys().any(|name| name.starts_with(list)), "{list} does not exist");
    }
    let names: Vec<String> = (0..=FOLDER_ENTRIES_MAX).map(|n| format!("src/a/f{n}.rs")).collect();
    let texts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(crowded_folders(&seeded(&texts)).len(), 1);
}
