//! Random registrations and deletions against a list that says what is there.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate::catalog::{SchemaText, SchemaType};
use tidegate::log::Log;
use tidegate::log::embedded::EmbeddedLog;
use tidegate::registry::Schemas;
use tidegate::registry::builtin::{Builtin, Filter};
use tidegate::registry::compatibility::Level;
use tidegate::types::clock::SystemClock;

#[derive(Clone, Debug)]
enum Step {
    Register(usize, usize),
    Delete(usize, bool),
    DeleteVersion(usize, i32, bool),
    Restart,
}

/// Subject, version, schema, id, soft-deleted.
#[derive(Clone, Debug, PartialEq)]
struct Row(usize, i32, usize, i32, bool);

#[derive(Default)]
struct Model {
    rows: Vec<Row>,
    last_id: i32,
}

impl Model {
    fn register(&mut self, subject: usize, schema: usize) -> i32 {
        let live = self.rows.iter().rev().find(|row| row.0 == subject && row.2 == schema && !row.4);
        if let Some(row) = live {
            return row.3;
        }
        let known = self.rows.iter().find(|row| row.2 == schema).map(|row| row.3);
        let id = known.unwrap_or(self.last_id + 1);
        self.last_id = self.last_id.max(id);
        let version = self.rows.iter().filter(|row| row.0 == subject).map(|row| row.1).max().unwrap_or(0) + 1;
        self.rows.push(Row(subject, version, schema, id, false));
        id
    }

    /// The versions that go, or none.
    fn delete(&mut self, subject: usize, version: Option<i32>, permanent: bool) -> Option<Vec<i32>> {
        let named = |row: &Row| row.0 == subject && version.is_none_or(|version| version == row.1);
        let any_live = self.rows.iter().any(|row| named(row) && !row.4);
        let any = self.rows.iter().any(named);
        let mut gone: Vec<i32> =
            self.rows.iter().filter(|row| named(row) && (permanent || !row.4)).map(|row| row.1).collect();
        gone.sort_unstable();
        match (permanent, any, any_live) {
            (false, _, true) => self.rows.iter_mut().filter(|row| named(row)).for_each(|row| row.4 = true),
            (true, true, false) => self.rows.retain(|row| !named(row)),
            _ => return None,
        }
        Some(gone)
    }

    fn listed(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| (row.0, row.1));
        rows
    }
}

fn schema(n: usize) -> SchemaText {
    let text = format!(r#"{{"type":"record","name":"S{n}","fields":[]}}"#);
    SchemaText { kind: SchemaType::Avro, text: text.into(), references: Vec::new() }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..5usize).prop_map(|(subject, schema)| Step::Register(subject, schema)),
        2 => (0..3usize, any::<bool>()).prop_map(|(subject, permanent)| Step::Delete(subject, permanent)),
        3 => (0..3usize, 1..6i32, any::<bool>()).prop_map(|(subject, version, p)| Step::DeleteVersion(subject, version, p)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_registry_is_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let log: Arc<dyn Log> = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
        let mut registry = Builtin::new(log.clone(), SystemClock::shared());
        registry.set_level(None, Level::None).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Register(subject, n) => {
                    let id = registry.register(&subject.to_string(), &schema(n)).unwrap().id;
                    prop_assert_eq!(id, model.register(subject, n));
                }
                Step::Delete(subject, permanent) => {
                    let gone = registry.delete(&subject.to_string(), permanent).ok();
                    prop_assert_eq!(gone, model.delete(subject, None, permanent));
                }
                Step::DeleteVersion(subject, version, permanent) => {
                    let gone = registry.delete_version(&subject.to_string(), Some(version), permanent).ok();
                    prop_assert_eq!(gone.map(|version| vec![version]), model.delete(subject, Some(version), permanent));
                }
                Step::Restart => registry = Builtin::new(log.clone(), SystemClock::shared()),
            }
            let found = registry.list("", Filter::All, false).unwrap();
            let numbers: BTreeMap<Arc<str>, usize> = (0..5).map(|n| (schema(n).text, n)).collect();
            let rows: Vec<Row> = found
                .iter()
                .map(|f| Row(f.subject.parse().unwrap(), f.version.version, numbers[&f.version.schema.text], f.version.id, f.version.is_deleted))
                .collect();
            prop_assert_eq!(rows, model.listed());
        }
    }
}
