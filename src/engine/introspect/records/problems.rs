//! Problems of queries, grouped: bad records by reason, late rows, queries that ended.

use crate::engine::Engine;
use crate::engine::query::persistent::State;
use crate::engine::session::Session;

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Records that could not be processed.
    Bad,
    /// Rows that came after their window had closed.
    Late,
    /// The query does not run any more.
    Ended,
}

impl ProblemKind {
    /// `bad`, `late` or `ended`.
    pub fn name(self) -> &'static str {
        match self {
            ProblemKind::Bad => "bad",
            ProblemKind::Late => "late",
            ProblemKind::Ended => "ended",
        }
    }
}

/// A group of problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Query.
    pub query: String,
    /// What kind.
    pub kind: ProblemKind,
    /// Why, as of the last one.
    pub reason: String,
    /// Topic of the records.
    pub topic: Option<String>,
    /// How many.
    pub count: u64,
    /// When the last one was found, milliseconds since 1970.
    pub last: Option<i64>,
    /// Partition and offset of the last one.
    pub sample: Option<(i32, i64)>,
}

impl Engine {
    /// Problems of the queries that the user may see, newest first.
    pub fn problems(&self, session: &Session) -> Vec<Problem> {
        let catalog = self.catalog();
        let queries = self.queries();
        let ids: Vec<String> = queries.iter().map(|(id, _)| id.clone()).collect();
        self.inner.processing.problems().retain(&ids);
        let mut all = Vec::new();
        for (id, query) in queries.into_iter().filter(|(id, _)| self.may_see_query(session, &catalog, id)) {
            let bad = self.inner.processing.problems().of(&id).into_iter().map(|(topic, group)| Problem {
                reason: group.reason,
                topic: Some(topic.to_string()),
                count: group.count,
                last: Some(group.last),
                sample: Some(group.sample),
                ..of_query(&id, ProblemKind::Bad)
            });
            all.extend(bad);
            let late = query.counts().late;
            if late > 0 {
                all.push(Problem {
                    reason: "the row arrived after its window had closed".to_owned(),
                    count: late,
                    topic: catalog.query(&id).and_then(|query| query.late_topic.clone()),
                    ..of_query(&id, ProblemKind::Late)
                });
            }
            if let State::Error(reason) = query.state() {
                all.push(Problem { reason, count: 1, ..of_query(&id, ProblemKind::Ended) });
            }
        }
        all.sort_by_key(|problem| std::cmp::Reverse((problem.kind == ProblemKind::Ended, problem.last)));
        all
    }
}

fn of_query(id: &str, kind: ProblemKind) -> Problem {
    Problem { query: id.to_owned(), kind, reason: String::new(), topic: None, count: 0, last: None, sample: None }
}
