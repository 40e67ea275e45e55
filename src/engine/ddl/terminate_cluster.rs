//! Terminating a service: `POST /ksql/terminate`.
//!
//! ```text
//! terminate_cluster(["OUT", "bar.*"])
//!   every query is terminated, as by TERMINATE ALL: recorded first, so that a crash half-way leaves a service that can be
//!   terminated again
//!   topics that a query wrote and that match a pattern as a whole are deleted, no others
//!   the end is recorded, if there are other processes, and each of them ends as this one does
//!   the command log is deleted: the next start on this log is empty
//! ```
//!
//! After that no engine of the service carries out a statement. The processes run until they are stopped.

use crate::catalog::topics::TopicUse;
use crate::engine::Engine;
use crate::engine::access::Role;
use crate::engine::cluster::node::Node;
use crate::engine::command::CommandStatus;
use crate::engine::ddl::carry_out::{Origin, PLANS_MAX, Stepped, contended};
use crate::engine::ddl::lock::Ddl;
use crate::engine::ddl::plan::Step;
use crate::engine::ddl::shut_down::shut_down;
use crate::engine::query::persistent::Query;
use crate::engine::result::entity::{Entity, Status};
use crate::engine::session::Session;
use crate::engine::snapshot::State;
use crate::error::{Error, Result};
use fancy_regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The statement that is recorded.
const STATEMENT: &str = "TERMINATE CLUSTER";
/// Patterns of one request.
const PATTERNS_MAX: usize = 1_000;
/// How long the command log still exists after the end is recorded: other processes read it within milliseconds.
const END_WAIT: Duration = Duration::from_millis(500);
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
        self.read_commands()?;
        let sequence = self.terminate_all(&mut ddl, session)?;
        for topic in sinks(&ddl, &patterns)? {
            // The engine's own topics stay, whatever pattern matches them.
            if self.inner.topics.check(&topic, TopicUse::Delete).is_ok() && self.inner.log.topic(&topic)?.is_some() {
                self.inner.log.delete_topic(&topic)?;
            }
        }
        match &self.inner.tail {
            Some(tail) => {
                // What another process created since then ends with the service.
                let ended = self.append_end(tail)?;
                ended.iter().try_for_each(|query| self.end_query(query))?;
                self.inner.clock.sleep(END_WAIT);
                self.inner.commands.delete(&*self.inner.log)?;
            }
            None => {
                self.inner.commands.delete(&*self.inner.log)?;
                self.end_here();
            }
        }
        let (command_id, message) = ("cluster/TerminateCluster/terminate".to_owned(), "Cluster terminated.".to_owned());
        Ok(Entity::Status(Status { command_id, message, query_id: None, sequence, warnings: Vec::new() }))
    }

    /// Terminates every query, and returns the place of the last command.
    fn terminate_all(&self, ddl: &mut Ddl<'_>, session: &Session) -> Result<i64> {
        let (mut sequence, mut lost) = (-1, 0);
        loop {
            ddl.refresh();
            let Some(id) = ddl.catalog.query_ids().first().cloned() else { return Ok(sequence) };
            let status = CommandStatus::terminated(Some(&id));
            let origin = Origin { text: STATEMENT, session, status: Some(&status) };
            match self.carry_out_step(ddl, Step::terminate(&id), &origin)? {
                Stepped::Done { place, left } => {
                    (sequence, lost) = (place, 0);
                    // The next service of this name gives the same ids again: its queries would begin where these have ended.
                    left.into_iter().next().map_or(Ok(()), Err)?;
                }
                Stepped::Overtaken if lost + 1 < PLANS_MAX => lost += 1,
                Stepped::Overtaken => return Err(contended()),
            }
        }
    }

    /// The service was terminated, by this process or another one: nothing is carried out any more. Returns the queries that still
    /// run.
    pub(in crate::engine) fn end_here(&self) -> Vec<Arc<Query>> {
        self.inner.over.store(true, Ordering::Release);
        let before = self.change_state(std::mem::take);
        self.inner.pushes.end_all();
        before.queries.into_values().collect()
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
