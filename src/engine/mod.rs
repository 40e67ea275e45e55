//! The façade: text in, results out.
//!
//! ```text
//! parse      text -> statements
//! validate   all statements of a request are planned in a sandbox                     ddl::sandbox
//! execute    a statement: authorized (access), then by its intent
//!              Change        plan -> topics -> command log -> catalogue -> queries    ddl, command
//!              Read          SELECT, PRINT, VERIFY -> rows                            query
//!              Inquiry       SHOW, DESCRIBE, EXPLAIN, ASSERT -> an entity             introspect
//!              Connector     CREATE, DROP CONNECTOR: Kafka Connect                        connector
//!              InsertValues  one record                                               insert
//!              Setting       SET, DEFINE: the session                                 session
//! facts      what the queries do, as numbers: for the API, /metrics, DESCRIBE, SQL    facts
//! cluster    which process of the service runs which query                             cluster
//! check      a text as it is written: outlines, diagnostics, fixes                    introspect
//! ```
//!
//! Statements that change the catalogue are carried out one after the other under the lock of [`ddl`], so that what a plan was
//! checked against still holds when it is applied. Everything else works on a [`snapshot`] and waits for no statement. Results
//! are data ([`result`]); a result set is a [`RowStream`].

pub mod access;
pub mod cluster;
pub mod command;
pub mod facts;
pub mod insert;
pub mod introspect;
pub mod query;
pub mod result;
pub mod session;

mod connector;
mod ddl;
mod intent;
mod open;
mod schemas;
mod snapshot;

pub use ddl::datagen;

use crate::catalog::Catalog;
use crate::catalog::topics::TopicRules;
use crate::config::{Config, random_id};
use crate::connect::Connect;
use crate::error::{Error, Result, Span};
use crate::execute::record::shared_rows::SharedRows;
use crate::execute::state::spill_pool::SpillPool;
use crate::execute::task::snapshot::Snapshots;
use crate::execute::task::topic_identity::TopicRegistry;
use crate::log::{Log, ServiceLock, TopicInfo};
use crate::parse::statement::{Parsed, Statement};
use crate::parse::{CustomTypes, Piece};
use crate::plan::Settings;
use crate::registry::Schemas;
use crate::registry::builtin::Builtin;
use crate::registry::writers::WriterIds;
use crate::telemetry::histogram::HistogramSnapshot;
use crate::types::clock::SharedClock;
use crate::workers::Workers;
use access::audit::{Audit, Recorded};
use cluster::hearing::Presence;
use cluster::node::pulse::StandbyPulse;
use cluster::node::{Member, Node};
use command::CommandLog;
use command::tail::Tail;
use ddl::lock::DdlLock;
use facts::history::History;
use facts::queries::Positions;
use facts::sampler::Sampler;
use intent::Intent;
use introspect::refreshed::Refreshed;
use query::persistent::Query;
use query::pull::forward::Processes;
use query::pull::{limits, plan_cache};
use query::topic_monitor::TopicMonitor;
use query::{processing_log, push_registry, user_quota};
use result::entity::{Entity, Status};
use result::rows::RowStream;
use session::Session;
use snapshot::Published;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long closing the engine waits for a statement that changes the catalogue.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Statements in one text: a bound on what one request can make the engine do.
pub const STATEMENTS_MAX: usize = 1_000;

/// The result of one statement.
pub enum Answer {
    /// Data about the engine.
    Entity(Entity),
    /// A result set.
    Rows(Box<dyn RowStream>),
}

impl Answer {
    /// The query that the statement started, if any.
    fn query_id(&self) -> Option<&str> {
        match self {
            Answer::Entity(Entity::Status(status)) => status.query_id.as_deref(),
            Answer::Entity(_) => None,
            Answer::Rows(rows) => rows.id(),
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Entity(entity) => entity.fmt(f),
            Answer::Rows(rows) => write!(f, "Rows({:?})", rows.columns()),
        }
    }
}

/// How queries are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Each on a thread of its own.
    Threads,
    /// Only when [`Engine::drive`] is called: for tests and the conformance runner.
    ByHand,
}

/// Tidegate: a catalogue, its queries, and the log below. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    log: Arc<dyn Log>,
    clock: SharedClock,
    drive: Drive,
    /// Spill space of all joins of this process.
    spill_pool: Arc<SpillPool>,
    /// Rows that queries have in common.
    shared_rows: Arc<SharedRows>,
    /// Threads that work for all queries.
    workers: Arc<Workers>,
    /// Where queries write their state; `None` = they restore it from changelogs.
    snapshots: Option<Arc<Snapshots>>,
    /// The schema registry.
    registry: Arc<dyn Schemas>,
    /// Schemas of the records that queries read, in formats with a registry.
    writers: Arc<WriterIds>,
    /// Detects topics of queries that were deleted and created again.
    watch: Arc<TopicRegistry>,
    /// `None` with [`Drive::ByHand`]. Held, never used.
    _topic_monitor: Option<TopicMonitor>,
    commands: CommandLog,
    /// Applies what all processes of the service record; `None` = the log has one process.
    tail: Option<Arc<Tail>>,
    /// The client of Kafka Connect.
    connect: Connect,
    /// The built-in schema registry; `None` = another one is configured.
    builtin: Option<Arc<Builtin>>,
    /// Number of records of the command log that were no commands at the start.
    skipped_commands: u64,
    /// Where queries report skipped records.
    processing: processing_log::ProcessingLog,
    /// On Kafka: keeps a second process from using this slot of the service. Held, never used.
    _owner: Option<Box<dyn ServiceLock>>,
    /// On Kafka: this process among those of its service. `None` = it is alone.
    node: Option<Node>,
    /// Serialises statements that change the catalogue.
    ddl: DdlLock,
    /// What statements read and change.
    state: Arc<Published>,
    /// Push queries that are being read.
    pushes: Arc<push_registry::PushRegistry>,
    /// The service was terminated: no statement is carried out any more.
    over: AtomicBool,
    /// Why the catalogue may lack a recorded statement: a panic after it was recorded, or a record that arrived late.
    inconsistent: OnceLock<&'static str>,
    /// Limits on queries without EMIT.
    pulls: Arc<limits::PullLimits>,
    /// Which topics are the engine's.
    topics: Arc<TopicRules>,
    /// The other processes of the service.
    processes: Processes,
    /// Limits on batch queries, by user.
    user_quota: Arc<user_quota::UserQuota>,
    /// Plans of key lookups.
    plan_cache: plan_cache::PlanCache,
    /// Offsets of all queries, for the API and metrics.
    positions: Refreshed<Positions>,
    /// The recent past of all queries.
    history: Arc<History>,
    /// `None` with [`Drive::ByHand`]. Held, never used.
    _sampler: Option<Sampler>,
    /// The topics, for completion and checks.
    recent_topics: Refreshed<Vec<TopicInfo>>,
    /// The audit log.
    audit: Audit,
    /// Threads that generate rows.
    generators: Arc<datagen::run::Generators>,
}

impl Engine {
    /// Parses a text. Variables are substituted statement by statement, so that a DEFINE applies to those after it.
    pub fn parse(&self, text: &str, session: &Session) -> Result<Vec<Parsed>> {
        self.check_alive()?;
        crate::parse::check_comments(text)?;
        let pieces = crate::parse::split(text);
        if pieces.len() > STATEMENTS_MAX {
            return Err(Error::statement(format!(
                "{} statements at once, at most {STATEMENTS_MAX} are allowed",
                pieces.len()
            ))
            .with_hint("send them in several texts"));
        }
        let mut types = self.inner.state.load().catalog.types().clone();
        let (mut session, mut all) = (session.clone(), Vec::with_capacity(pieces.len()));
        for piece in pieces {
            let parsed = self.parse_piece(text, piece, &session, &types)?;
            match &parsed.statement {
                Statement::Define { name, value } => session.define(name, value),
                Statement::Undefine(name) => drop(session.undefine(name)),
                statement => crate::parse::note_type(statement, &mut types),
            }
            all.push(parsed);
        }
        Ok(all)
    }

    /// Parses one statement of a text.
    fn parse_piece(&self, text: &str, piece: Piece<'_>, session: &Session, types: &CustomTypes) -> Result<Parsed> {
        let variables = session.variables();
        let put_in = crate::parse::substitute(piece.text, variables)?;
        if put_in == piece.text {
            let read = crate::parse::parse_piece(text, piece, types);
            return read.map_err(|e| crate::parse::explained(e, text, variables));
        }
        // Positions would refer to the substituted text: the error points at the whole statement.
        let whole = Piece { text: &put_in, span: Span::new(0, put_in.len()), ..piece };
        let read = crate::parse::parse_piece(&put_in, whole, types);
        let explained = |e| crate::parse::explained(e, &put_in, variables).only_at(piece.span);
        Ok(Parsed { span: piece.span, ..read.map_err(explained)? })
    }

    /// Carries out one statement; spans in errors refer to the whole text that it was parsed from.
    pub fn execute(&self, parsed: &Parsed, session: &mut Session) -> Result<Answer> {
        let user = session.principal().name.clone();
        let _span = tracing::info_span!("statement", kind = access::what(&parsed.statement), %user).entered();
        let (began, audited) = (self.inner.clock.monotonic(), self.inner.audit.begin());
        let done = self
            .authorize(parsed, session)
            .and_then(|()| self.guarded(|| self.dispatch(parsed, session)))
            .map_err(|e| e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start));
        let elapsed_ms = (self.inner.clock.monotonic() - began).as_millis() as u64;
        tracing::debug!(elapsed_ms, code = done.as_ref().err().map(Error::code), "statement executed");
        self.inner.audit.statement(session.principal(), parsed, audited, done.as_ref().map(Answer::query_id));
        done.map(|answer| match answer {
            Answer::Rows(rows) => Answer::Rows(Recorded::of(rows, &self.inner.audit, session.principal(), audited)),
            entity => entity,
        })
    }

    /// The audit log, for actions that are not statements.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Parses and carries out every statement of a text; stops at the first that fails.
    pub fn run(&self, text: &str, session: &mut Session) -> Result<Vec<Answer>> {
        let mut results = Vec::new();
        for parsed in self.parse(text, session)? {
            results.push(self.execute(&parsed, session)?);
        }
        Ok(results)
    }

    fn dispatch(&self, parsed: &Parsed, session: &mut Session) -> Result<Answer> {
        self.check_alive()?;
        let mut properties = session.properties().iter();
        properties.try_for_each(|(name, value)| self.inner.config.check_ceiling(name, value))?;
        let entity = match Intent::of(parsed, &self.inner.pushes) {
            Intent::Change(change) => {
                let entity = self.change(change, &parsed.text, session)?;
                // The statement is carried out already.
                self.generate().unwrap_or_else(|error| tracing::warn!(%error, "a generator cannot be started"));
                entity
            }
            Intent::EndPushQuery(id) => self.inner.pushes.end(id, session.principal()).map(Entity::PushTerminated)?,
            Intent::Connector(change) => self.change_connector(change, session)?,
            Intent::InsertValues(insert) => self.insert_values(insert, session)?,
            Intent::Setting(setting) => session.carry_out(setting, &self.inner.config)?,
            Intent::Inquiry(inquiry) => inquiry.reply(self, &parsed.text, session)?,
            Intent::Read(read) => return read.start(self, &parsed.text, session),
            Intent::Refused(error) => return Err(error),
        };
        Ok(Answer::Entity(entity))
    }

    /// The log below.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }

    /// The built-in schema registry, unless another one is configured.
    pub fn builtin_registry(&self) -> Option<&Arc<Builtin>> {
        self.inner.builtin.as_ref()
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Its clock.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// The catalogue as of now. It does not change under the caller.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.state.load().catalog.clone()
    }

    /// The last status of each command id.
    pub fn statuses(&self) -> Vec<Status> {
        self.inner.state.load().statuses.all().cloned().collect()
    }

    /// Persistent queries in order of creation.
    pub fn queries(&self) -> Vec<(String, Arc<Query>)> {
        self.inner.state.load().queries().map(|(id, query)| (id.clone(), query.clone())).collect()
    }

    /// Number of records of the command log that were skipped, because they are not commands.
    pub fn skipped_commands(&self) -> u64 {
        self.inner.skipped_commands + self.inner.tail.as_ref().map_or(0, |tail| tail.skipped())
    }

    /// Runs every persistent query, in order of creation, until nothing is left to do. With [`Drive::ByHand`] only.
    pub fn drive(&self) -> Result<()> {
        for (_, query) in self.queries() {
            query.drive()?;
        }
        Ok(())
    }

    /// Commits and ends all queries, including those of a statement in progress if that ends soon.
    pub fn close(&self) {
        self.drain();
        let ddl = self.ddl_within("the end of the process", CLOSE_WAIT);
        // What other processes record from now on would start queries.
        self.inner.tail.iter().for_each(|tail| tail.stop());
        self.inner.generators.stop(&self.inner.clock);
        self.inner.snapshots.iter().for_each(|snapshots| snapshots.end(&self.inner.clock));
        for (_, query) in self.queries() {
            query.stop();
        }
        // Released first: the processing log may have to create its stream.
        drop(ddl);
        self.inner.processing.flush();
        self.inner.audit.flush();
    }

    /// Gives the persistent queries to other processes of the service, if there are any; waits a bounded time for that.
    pub fn drain(&self) {
        if let Some(node) = &self.inner.node {
            node.drain();
        }
    }

    /// The processes of the service; empty if this one is alone.
    pub fn members(&self) -> Vec<Member> {
        self.inner.node.as_ref().map(Node::members).unwrap_or_default()
    }

    /// How far the process with this slot is with the states that it keeps up to date.
    pub fn standbys_of(&self, slot: &str) -> Vec<StandbyPulse> {
        self.inner.node.as_ref().map(|node| node.standbys_of(slot)).unwrap_or_default()
    }

    /// Says where other processes of the service reach this one. An error if some of them are on other machines, and the service has no
    /// secret by which they know each other.
    pub fn listens_at(&self, address: &str) -> Result<()> {
        let Some(node) = &self.inner.node else { return Ok(()) };
        node.listens_at(address);
        let others = node.members().into_iter().filter(|member| !member.is_me && member.presence == Presence::Heard);
        let others: Vec<String> = others.filter_map(|member| member.address).collect();
        let own = self.inner.config.advertised_listener().unwrap_or(address);
        self.inner.config.check_cluster_addresses(others.iter().map(String::as_str).chain([own]))
    }

    /// How long queries without EMIT took.
    pub fn pull_times(&self) -> HistogramSnapshot {
        self.inner.pulls.times()
    }

    /// Queries without EMIT that were refused, by the name of the limit.
    pub fn refused_pulls(&self) -> [(&'static str, u64); 3] {
        self.inner.pulls.refused()
    }

    /// Consumer group of a query, and stem of its internal topics' names.
    fn group(&self, id: &str) -> String {
        format!("_confluent-ksql-{}query_{id}", self.inner.config.service_id)
    }

    /// Effective properties: the session's over the engine's.
    fn properties(&self, session: &Session) -> BTreeMap<String, String> {
        self.with_defaults(session.properties())
    }

    /// These properties over the engine's.
    fn with_defaults(&self, properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = self.inner.config.properties.clone();
        all.extend(properties.clone());
        all
    }

    /// The properties that planning depends on, typed.
    fn settings(&self, properties: &BTreeMap<String, String>) -> Result<Settings> {
        Ok(Settings { topics: self.inner.topics.clone(), ..Settings::of(properties)? })
    }

    /// Which topics are the engine's, and which the users'.
    pub fn topic_rules(&self) -> &Arc<TopicRules> {
        &self.inner.topics
    }

    /// A fresh id for a query without EMIT, in ksqlDB's form. It cannot be guessed.
    fn bounded_id() -> Result<String> {
        Ok(format!("query_{}", query_number()?))
    }

    /// A fresh id for a query that is not stored, in ksqlDB's form. It cannot be guessed.
    fn transient_id(&self, reads: &str) -> Result<String> {
        let number = query_number()?;
        let plain = !reads.is_empty() && reads.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        Ok(if plain { format!("transient_{reads}_{number}") } else { format!("transient_{number}") })
    }
}

/// The number in a query's id: random, so that it cannot be guessed, and not negative as a Java `long`.
fn query_number() -> Result<u64> {
    Ok((random_id()? >> 65) as u64)
}
