//! What any text must stand in the parser and in the planner: the checks alone, which `crate::fuzz` runs on mutated
//! statements in every test run, and libFuzzer on what it finds (`tests/fuzz`).

use crate::harness::golden::Golden;
use std::fs;
use std::path::Path;
use tidegate::catalog::{Catalog, Effect};
use tidegate::execute::compile;
use tidegate::parse::statement::{Parsed, Statement};
use tidegate::parse::{is_complete, parse, parse_with, split};
use tidegate::plan::{self, Created, Facts, Settings, TopicFact};

/// The statements of one file, in order.
pub(crate) type File = Vec<String>;

fn files(folder: &Path, found: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "test") {
            let golden = Golden::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            let spoken = golden.blocks.iter().filter(|b| !b.command.starts_with("produce"));
            found.push(spoken.flat_map(|b| split(&b.body)).map(|p| p.text.to_owned()).collect());
        }
    }
}

/// Every statement of `queries/` below the repository's `root`.
pub(crate) fn corpus(root: &Path) -> Vec<File> {
    let mut found = Vec::new();
    files(&root.join("queries"), &mut found);
    found.retain(|file: &File| !file.is_empty());
    assert!(found.iter().map(Vec::len).sum::<usize>() > 200, "the corpus is gone");
    found
}

/// What is read prints, and reads back as the same; returns whether the text was a text of statements.
pub(crate) fn parser_stands(text: &str) -> bool {
    is_complete(text);
    let Ok(all) = parse(text) else { return false };
    for parsed in all.iter().filter(|p| !matches!(p.statement, Statement::Unsupported { .. })) {
        let printed = parsed.statement.to_string();
        let again = parse(&printed).unwrap_or_else(|e| panic!("printed as {printed}: {e:?}"));
        assert_eq!(again.len(), 1, "printed as {printed}");
        assert_eq!(again[0].statement, parsed.statement, "printed as {printed}");
    }
    true
}

/// What a file's statements find when they are planned.
#[derive(Clone, Default)]
pub(crate) struct Planned {
    catalog: Catalog,
    facts: Facts,
}

impl Planned {
    pub(crate) fn of(file: &File) -> Planned {
        let mut planned = Planned::default();
        for statement in file {
            // Some statements of the corpus are meant to be refused.
            if let Ok(all) = parse_with(statement, planned.catalog.types()) {
                all.iter().for_each(|parsed| drop(planned.take(parsed)));
            }
        }
        planned
    }

    fn put(&mut self, source: tidegate::catalog::Source) {
        let fact = TopicFact { partitions: source.partitions, replicas: 1 };
        self.facts.topics.insert(source.topic.clone(), fact);
        self.catalog.apply(&Effect::CreateSource(Box::new(source)));
    }

    fn take(&mut self, parsed: &Parsed) -> tidegate::error::Result<()> {
        let settings = Settings { value_format: None, ..Settings::default() };
        let (catalog, facts) = (&self.catalog, &self.facts);
        match &parsed.statement {
            Statement::CreateSource(create) => {
                if let Created::New(made) = plan::create_source(create, catalog, facts, &settings, &parsed.text)? {
                    self.put(made.source);
                }
            }
            Statement::CreateAs(create) => {
                if let Created::New(made) = plan::create_as(create, "Q", catalog, facts, &settings, &parsed.text)? {
                    compile::pipeline(&made.logical)?;
                    self.put(made.sink);
                }
            }
            Statement::CreateType(create) => {
                let (name, ty) = (create.name.value.clone(), create.ty.clone());
                self.catalog.apply(&Effect::CreateType { name, ty });
            }
            Statement::Alter(alter) => self.put(plan::alter_source(alter, catalog, &parsed.text)?),
            Statement::InsertValues(insert) => drop(plan::insert_values(insert, catalog, &settings.topics)?),
            Statement::InsertSelect(insert) => {
                compile::pipeline(&plan::insert_select(insert, "Q", catalog, &settings)?.logical)?;
            }
            Statement::Select(select) if select.emit.is_some() => {
                compile::pipeline(&plan::push_query(select, catalog, &settings)?.logical)?;
            }
            Statement::Select(select) => drop(plan::batch_query(select, catalog, &settings)?),
            _ => {}
        }
        Ok(())
    }

    /// Plans a text's statements one behind the other, each knowing what those before it made: errors, but none that says
    /// it is a bug. Answers how many statements there were, and how many could be planned.
    pub(crate) fn stands(&self, text: &str) -> (usize, usize) {
        let Ok(all) = parse_with(text, self.catalog.types()) else { return (0, 0) };
        let (mut world, mut made) = (self.clone(), 0);
        for parsed in &all {
            match world.take(parsed) {
                Ok(()) => made += 1,
                Err(e) => assert_ne!(e.kind(), tidegate::error::Kind::Bug, "{e:?}"),
            }
        }
        (all.len(), made)
    }
}
