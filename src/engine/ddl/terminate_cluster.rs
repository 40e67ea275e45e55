//! Terminating a service: `POST /ksql/terminate`.
//!
//! ```text
//! terminate_cluster(["OUT", "bar.*"])
//!   every query is terminated, as by TERMINATE ALL: recorded first, so that a crash half-way leaves a service that can be
//!   terminated again
//!   topics that a query wrote and that match a pattern as a whole are deleted, no others
//!   the command log is deleted: the next start on this log is empty
//! ```
//!
//! After that this engine carries out no statement. The process runs until it is stopped.

use crate::catalog::topics::TopicUse;
use crate::engine::Engine;
use crate::engine::access::Role;
use crate::engine::cluster::node::Node;
use crate::engine::command::CommandStatus;
use crate::engine::ddl::carry_out::Origin;
use crate::engine::ddl::plan::Step;
use crate::engine::result::entity::{Entity, Status};
use crate::engine::session::Session;
use crate::engine::snapshot::State;
use crate::error::{Error, Kind, Result, SHUTTING_DOWN};
use fancy_regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// The statement that is recorded.
const STATEMENT: &str = "TERMINATE CLUSTER";
/// Patterns of one request.
const PATTERNS_MAX: usize = 1_000;
/// Backtracking steps of one match.
const BACKTRACKS_MAX: usize = 100_000;

impl Engine {
    /// Ends all queries and deletes the command log; `delete` are regular expressions of topics to delete.
    pub fn terminate_cluster(&self, delete: &[String], session: &Session) -> Result<Entity> {
        let done = self.end_service(delete, session);
        let details = serde_json::json!({ "delete_topics": delete });
        self.inner.audit.note("terminate_cluster", session.principal(), details, done.as_ref().map(|_| ()));
        done
    }

    fn end_service(&self, delete: &[String], session: &Session) -> Result<Entity> {
        self.require(session.principal(), Role::Admin, STATEMENT)?;
        let patterns = patterns(delete)?;
        let mut ddl = self.ddl(STATEMENT)?;
        let mut sequence = -1;
        for id in ddl.catalog.query_ids().to_vec() {
            let status = CommandStatus::terminated(Some(&id));
            let origin = Origin { text: STATEMENT, session, status: Some(&status) };
            sequence = self.carry_out_step(&mut ddl, Step::terminate(&id), &origin)?;
        }
        for topic in sinks(&ddl, &patterns)? {
            // The engine's own topics stay, whatever pattern matches them.
            if self.inner.topics.check(&topic, TopicUse::Delete).is_ok() && self.inner.log.topic(&topic)?.is_some() {
                self.inner.log.delete_topic(&topic)?;
            }
        }
        self.inner.commands.delete(&*self.inner.log)?;
        self.inner.over.store(true, Ordering::Release);
        ddl.change(|state| *state = State::default());
        drop(ddl);
        self.inner.pushes.end_all();
        let (command_id, message) = ("cluster/TerminateCluster/terminate".to_owned(), "Cluster terminated.".to_owned());
        Ok(Entity::Status(Status { command_id, message, query_id: None, sequence }))
    }

    /// Whether the service was terminated.
    pub fn is_over(&self) -> bool {
        self.inner.over.load(Ordering::Acquire)
    }

    /// An error while no statement can be carried out: the service was terminated, the log does not respond or is not writable, or
    /// this process has no part in its service any more.
    pub fn check_ready(&self) -> Result<()> {
        self.check_alive()?;
        self.check_consistent()?;
        if let Some(trouble) = self.inner.node.as_ref().and_then(Node::trouble) {
            return Err(Error::io("this process does not take part in its service").with_detail(trouble));
        }
        self.inner.log.topic("_")?;
        self.inner.log.check_writable()
    }

    /// An error once the service was terminated.
    pub fn check_alive(&self) -> Result<()> {
        match self.is_over() {
            true => Err(shut_down()),
            false => Ok(()),
        }
    }
}

/// The error of statements, and of readers of push queries, once the service was terminated.
pub(in crate::engine) fn shut_down() -> Error {
    Error::new(Kind::Busy, "The server is shut down")
        .with_code(SHUTTING_DOWN)
        .with_detail("its service was terminated through /ksql/terminate")
        .with_hint("restart the server to start an empty service")
}

fn patterns(texts: &[String]) -> Result<Vec<Regex>> {
    if texts.len() > PATTERNS_MAX {
        let e = Error::statement(format!(
            "{} patterns in deleteTopicList, at most {PATTERNS_MAX} are allowed",
            texts.len()
        ));
        return Err(e.with_code(40000).with_hint("one regular expression can name many topics"));
    }
    let compiled = texts.iter().map(|text| {
        let whole = format!("^(?:{text})$");
        RegexBuilder::new(&whole).backtrack_limit(BACKTRACKS_MAX).build().map_err(|e| {
            Error::statement(format!("Invalid pattern: {text}"))
                .with_code(40000)
                .with_detail(e.to_string())
                .with_hint("each entry of deleteTopicList is a topic's name or a regular expression")
        })
    });
    compiled.collect()
}

/// Topics of streams and tables that queries created and that match a pattern.
fn sinks(state: &State, patterns: &[Regex]) -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for source in state.catalog.all().filter(|source| source.created_by.is_some()) {
        for pattern in patterns {
            let found = pattern.is_match(&source.topic);
            if found
                .map_err(|e| Error::statement("a pattern takes too long").with_code(40000).with_detail(e.to_string()))?
            {
                named.insert(source.topic.clone());
            }
        }
    }
    Ok(named)
}
