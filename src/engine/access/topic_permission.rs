//! Topic permissions: checked on the topics that names resolve to, never on the text.
//!
//! ```text
//! users file                       alice writer ... topics=orders,clicks-*
//! SELECT ... FROM s                the topic of S, and of every other stream and table in it
//! CREATE STREAM x AS SELECT ...    the same, the topic that X writes, and that of late rows
//! DROP, ALTER, INSERT, DESCRIBE    the source's topic
//! TERMINATE, PAUSE, EXPLAIN q      the topic that the query writes; ALL is refused if one of them is not permitted
//! VERIFY q                         also the topics that it reads, whose rows it shows
//! SHOW STREAMS, TABLES, QUERIES    only what is permitted is listed; topics too
//! ```
//!
//! A user who is limited to some topics can find out at most that a name is taken. Topics of the engine (command logs,
//! changelogs, offsets) are for administrators.

use crate::catalog::{Catalog, Source};
use crate::engine::Engine;
use crate::engine::access::{FORBIDDEN, Principal, Role};
use crate::engine::ddl::Change;
use crate::engine::intent::Inquiry;
use crate::engine::intent::Intent;
use crate::engine::query::{Bounded, Read};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::Select;
use crate::plan::QueryPlan;
use std::sync::Arc;

impl Engine {
    /// An error unless the session's user may work with this topic.
    pub(in crate::engine) fn check_topic(&self, session: &Session, topic: &str) -> Result<()> {
        let user = session.principal();
        if !user.topics.include(topic) {
            return Err(Error::statement(format!("permission denied for topic {topic}"))
                .with_code(FORBIDDEN)
                .with_detail(format!("{} may work with these topics: {}", user.name, user.topics))
                .with_hint("an administrator permits topics in the server's users file"));
        }
        match self.role_of(user) >= Role::Admin || !self.inner.topics.is_internal(topic) {
            true => Ok(()),
            false => Err(Error::statement(format!("permission denied for topic {topic}"))
                .with_code(FORBIDDEN)
                .with_detail(format!(
                    "it belongs to the engine and requires role admin; {} has role {}",
                    user.name,
                    self.role_of(user)
                ))),
        }
    }

    /// An error unless the user may work with the topic of a schema registry's subject: `orders-value` is that of `orders`.
    pub fn check_subject(&self, user: &Principal, subject: &str) -> Result<()> {
        let topic = subject.strip_suffix("-value").or_else(|| subject.strip_suffix("-key")).unwrap_or(subject);
        match user.topics.include(topic) {
            true => Ok(()),
            false => Err(Error::statement(format!("permission denied for subject {subject}"))
                .with_code(FORBIDDEN)
                .with_detail(format!("{} may work with these topics: {}", user.name, user.topics))
                .with_hint("an administrator permits topics in the server's users file")),
        }
    }

    /// The same for the topics of streams and tables. Names that do not exist are ignored.
    pub(in crate::engine) fn check_sources<'a>(
        &self,
        session: &Session,
        catalog: &Catalog,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<()> {
        let mut sources = names.into_iter().filter_map(|name| catalog.source(name));
        sources.try_for_each(|source| self.check_topic(session, &source.topic))
    }

    /// The same for everything that a query would read, write or replace.
    pub(in crate::engine) fn check_plan(&self, session: &Session, catalog: &Catalog, plan: &QueryPlan) -> Result<()> {
        self.check_sources(session, catalog, plan.reads.iter().chain([&plan.sink.name]))?;
        let late = plan.late_topic.as_ref().map(|(name, _)| name);
        [&plan.sink.topic].into_iter().chain(late).try_for_each(|topic| self.check_topic(session, topic))
    }

    /// The same for what a persistent query writes.
    pub(in crate::engine) fn check_query(&self, session: &Session, catalog: &Catalog, id: &str) -> Result<()> {
        self.check_sources(session, catalog, catalog.query(id).map(|query| &query.writes))
    }

    /// The same for the streams and tables that a statement names, before it is planned: errors of a plan name columns
    /// and topics.
    pub(in crate::engine) fn check_named(&self, session: &Session, intent: &Intent<'_>) -> Result<()> {
        if session.principal().topics.is_unlimited() {
            return Ok(());
        }
        let catalog = self.catalog();
        let check = |names: Vec<&String>| self.check_sources(session, &catalog, names);
        match intent {
            Intent::Change(change) => match change {
                Change::CreateSource(create) => check(vec![&create.name.value]),
                Change::CreateAs(create) => check(named(&create.select, Some(&create.name.value))),
                Change::InsertSelect(insert) => check(named(&insert.select, Some(&insert.target.value))),
                Change::Alter(alter) => check(vec![&alter.name.value]),
                Change::Drop(drop) => check(vec![&drop.name.value]),
                // Types have no topics, and the plan of the others names nothing but the query's id.
                Change::CreateType(_) | Change::DropType { .. } | Change::Terminate(_) | Change::Pause { .. } => Ok(()),
            },
            Intent::InsertValues(insert) => check(vec![&insert.target.value]),
            Intent::Read(
                Read::Push(select) | Read::Bounded(Bounded::Select(select)) | Read::Analyze(Bounded::Select(select)),
            ) => {
                let mut names = Vec::new();
                select.for_each_select(&mut |select| names.extend(named(select, None).into_iter().cloned()));
                self.check_sources(session, &catalog, &names)
            }
            Intent::Read(Read::Bounded(Bounded::Relational(query)) | Read::Analyze(Bounded::Relational(query))) => {
                let mut names = Vec::new();
                query.for_each_select(&mut |select| names.extend(named(select, None).into_iter().cloned()));
                self.check_sources(session, &catalog, &names)
            }
            Intent::Inquiry(Inquiry::Explain(explained)) => self.check_named(session, explained),
            // Each resolves one name, and checks it first.
            Intent::Read(Read::Print(_) | Read::Verify(_)) => Ok(()),
            Intent::Inquiry(
                Inquiry::Show(_)
                | Inquiry::Describe { .. }
                | Inquiry::DescribeFunction(_)
                | Inquiry::DescribeConnector(_)
                | Inquiry::ExplainQuery(_)
                | Inquiry::AssertTopic(_)
                | Inquiry::AssertSchema(_),
            ) => Ok(()),
            // A connector's topics are those that Connect may use.
            Intent::Connector(_) => Ok(()),
            Intent::EndPushQuery(_) | Intent::Setting(_) | Intent::Refused(_) => Ok(()),
        }
    }

    /// Whether a stream or table is visible to the user.
    pub(in crate::engine) fn may_see(&self, session: &Session, source: &Source) -> bool {
        self.check_topic(session, &source.topic).is_ok()
    }

    /// Whether a persistent query is visible to the user.
    pub(in crate::engine) fn may_see_query(&self, session: &Session, catalog: &Catalog, id: &str) -> bool {
        self.check_query(session, catalog, id).is_ok()
    }

    /// The catalogue as the user may see it.
    pub fn visible_catalog(&self, session: &Session) -> Arc<Catalog> {
        self.visible(session, self.catalog())
    }

    /// The catalogue without the sources that the user may not read, for a planner that resolves names itself.
    pub(in crate::engine) fn visible(&self, session: &Session, mut catalog: Arc<Catalog>) -> Arc<Catalog> {
        let hidden: Vec<_> = catalog.all().filter(|source| !self.may_see(session, source)).cloned().collect();
        if !hidden.is_empty() {
            let seen = Arc::make_mut(&mut catalog);
            hidden.iter().for_each(|source| seen.hide(&source.name));
        }
        catalog
    }
}

/// Streams and tables in FROM and JOIN, and the one that is written.
fn named<'a>(select: &'a Select, target: Option<&'a String>) -> Vec<&'a String> {
    select.relations().map(|relation| &relation.name.value).chain(target).collect()
}
