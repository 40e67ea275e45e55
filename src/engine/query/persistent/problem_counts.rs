//! Bad records of queries, counted by their reasons. Counts are never capped, as the entries of the processing log are.
//!
//! ```text
//! CTAS_C_1  readings  value: column SPEED: the text at byte 9 is no DOUBLE    1,204 times, last 14:03, readings-0 offset 77
//! ```
//!
//! Records are grouped by their reason without what differs from record to record: numbers and quoted texts. Groups are counted
//! from the start of the process on, at most [`GROUPS_MAX`] of a query; further reasons go into one group.

use crate::execute::record::source::BadRecord;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Limit of groups of bad records per query: more are too many to look at one by one.
const GROUPS_MAX: usize = 100;
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 500;
/// The reason of the group for all that found no place.
const OTHER: &str = "other reasons";

/// Counts bad records by query, topic and reason. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Problems(Arc<Mutex<BTreeMap<String, Groups>>>);

/// Groups of one query, by topic and pattern of the reason.
type Groups = BTreeMap<(Arc<str>, String), Group>;

/// Records that were bad for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Group {
    /// Why, as of the last one.
    pub(in crate::engine) reason: String,
    /// How many.
    pub(in crate::engine) count: u64,
    /// When the last one was found, milliseconds since 1970.
    pub(in crate::engine) last: i64,
    /// Partition and offset of the last one.
    pub(in crate::engine) sample: (i32, i64),
}

impl Problems {
    /// Counts a record that a query skipped.
    pub(in crate::engine) fn note(&self, query: &str, record: &BadRecord, now_ms: i64) {
        let mut all = self.0.lock();
        if !all.contains_key(query) {
            all.insert(query.to_owned(), Groups::new());
        }
        let Some(groups) = all.get_mut(query) else { return };
        let mut key = (record.topic.clone(), pattern(&record.reason));
        if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        let is_other = key.1 == OTHER;
        let place = (record.partition, record.offset);
        let group =
            groups.entry(key).or_insert_with(|| Group { reason: String::new(), count: 0, last: 0, sample: place });
        group.reason = if is_other { OTHER.to_owned() } else { record.reason.chars().take(REASON_CHARS_MAX).collect() };
        group.count += 1;
        (group.last, group.sample) = (now_ms, place);
    }

    /// The groups of a query, each with its topic.
    pub(in crate::engine) fn of(&self, query: &str) -> Vec<(Arc<str>, Group)> {
        let all = self.0.lock();
        let group = |((topic, _), group): (&(Arc<str>, String), &Group)| (topic.clone(), group.clone());
        all.get(query).map(|groups| groups.iter().map(group).collect()).unwrap_or_default()
    }

    /// Forgets all queries but these.
    pub(in crate::engine) fn retain(&self, queries: &[String]) {
        self.0.lock().retain(|query, _| queries.contains(query));
    }
}

/// The reason without what differs from record to record.
fn pattern(reason: &str) -> String {
    let (mut out, mut quote, mut was_digit) = (String::with_capacity(reason.len().min(REASON_CHARS_MAX)), None, false);
    for c in reason.chars().take(REASON_CHARS_MAX) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => continue,
            None if c == '\'' || c == '"' => quote = Some(c),
            None => {}
        }
        let is_digit = c.is_ascii_digit();
        if !is_digit {
            out.push(c);
        } else if !was_digit {
            out.push('#');
        }
        was_digit = is_digit;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::record::source::Stage;

    fn bad(offset: i64, reason: &str) -> BadRecord {
        BadRecord { topic: "t".into(), partition: 0, offset, reason: reason.to_owned(), stage: Stage::Decode }
    }

    #[test]
    fn records_are_grouped_by_what_their_reasons_share() {
        let problems = Problems::default();
        for n in 0..1_000 {
            problems.note("Q", &bad(n, &format!("column A: the text '{n}x' at byte {n} is no INTEGER")), n);
        }
        problems.note("Q", &bad(5, "not JSON"), 5);
        let groups = problems.of("Q");
        assert_eq!(groups.iter().map(|(_, group)| group.count).collect::<Vec<_>>(), [1_000, 1]);
        assert_eq!((groups[0].1.last, groups[0].1.sample), (999, (0, 999)));
        assert!(groups[0].1.reason.contains("'999x'"), "the last one is shown");
        problems.retain(&[]);
        assert_eq!(problems.of("Q"), []);
    }

    #[test]
    fn reasons_without_end_share_a_group() {
        let problems = Problems::default();
        for n in 0..500_u32 {
            let word: String = n.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            problems.note("Q", &bad(0, &word), 0);
        }
        let groups = problems.of("Q");
        assert_eq!(groups.len(), GROUPS_MAX + 1);
        assert_eq!(groups.iter().map(|(_, group)| group.count).sum::<u64>(), 500);
    }
}
