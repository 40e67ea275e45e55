//! Authorization: roles, topic permissions and the audit log, for statements from every interface.
//!
//! ```text
//! Session --carries--> Principal { name, role, topics, address }
//! Engine::execute      1. the statement: which role does it require?            (Intent::required_role)
//!                      2. its plan: every topic that it reads, writes, creates,
//!                         deletes or prints, after all names were resolved      (topic_permission)
//! ```
//!
//! Each role includes those before it. A user may be limited to some topics, by name or by prefix; the topics of the engine
//! itself are for administrators. On a server that was started with `--read-only` every user has the role `reader`. A
//! prompt on a data directory, and a second prompt attached to it, act as a local administrator: access to the directory is the
//! permission.

pub mod audit;

mod principal;
mod topic_permission;

pub(in crate::engine) use principal::FORBIDDEN;
pub use principal::{Principal, Role, TopicRights};

use crate::engine::Engine;
use crate::engine::intent::Intent;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::{Parsed, Show, SourceKind, Statement};

impl Engine {
    /// An error unless the session's user may execute this statement. The topics of its plan are checked during execution.
    pub fn authorize(&self, parsed: &Parsed, session: &Session) -> Result<()> {
        let intent = Intent::of(parsed, &self.inner.pushes);
        if let Intent::EndPushQuery(id) = intent
            && self.inner.pushes.is_of(id, session.principal())
        {
            // Users may end the push queries that they opened.
            return Ok(());
        }
        self.require(session.principal(), intent.required_role(), &what(&parsed.statement))?;
        self.check_named(session, &intent)
    }

    /// The same for all statements of a text, before the first is carried out; the error carries the index of the denied one.
    pub fn authorize_all(&self, statements: &[Parsed], session: &Session) -> Result<(), (usize, Error)> {
        for (at, parsed) in statements.iter().enumerate() {
            if let Err(e) = self.authorize(parsed, session) {
                let audit = &self.inner.audit;
                audit.statement(session.principal(), parsed, audit.begin(), Err(&e));
                return Err((at, e));
            }
        }
        Ok(())
    }

    /// An error unless the session's user may end the push query with this id.
    pub fn check_end(&self, id: &str, session: &Session) -> Result<()> {
        self.inner.pushes.check_end(id, session.principal())
    }

    /// An error unless the user has the required role on this server.
    pub fn require(&self, principal: &Principal, needed: Role, what: &str) -> Result<()> {
        if needed > self.role_of(principal) && principal.role >= needed {
            return Err(Error::statement(format!("the server is read-only, {what} requires role {needed}"))
                .with_code(FORBIDDEN)
                .with_detail("it was started with --read-only: every user has role reader")
                .with_hint("use a server that is not read-only"));
        }
        principal.require(needed, what)
    }

    /// The user's effective role: a read-only server makes every user a reader.
    pub fn role_of(&self, principal: &Principal) -> Role {
        match self.inner.config.is_read_only() && !principal.is_engine {
            true => Role::Reader,
            false => principal.role,
        }
    }
}

/// A statement in one or two words.
pub(in crate::engine) fn what(statement: &Statement) -> String {
    let of =
        |verb: &str, kind: SourceKind| format!("{verb} {}", crate::engine::command::status::noun(kind).to_uppercase());
    match statement {
        Statement::CreateSource(create) => of("CREATE", create.kind),
        Statement::CreateAs(create) => format!("{} AS SELECT", of("CREATE", create.kind)),
        Statement::Alter(alter) => of("ALTER", alter.kind),
        Statement::Drop(drop) => of("DROP", drop.kind),
        Statement::Unsupported { what, .. } => what.clone(),
        Statement::CreateConnector(create) => format!("CREATE {} CONNECTOR", create.kind.word()),
        Statement::DropConnector { .. } => "DROP CONNECTOR".to_owned(),
        Statement::InsertValues(_) => "INSERT VALUES".to_owned(),
        Statement::InsertSelect(_) => "INSERT INTO SELECT".to_owned(),
        Statement::Select(_) | Statement::Relational(_) => "SELECT".to_owned(),
        Statement::CreateType(_) => "CREATE TYPE".to_owned(),
        Statement::DropType { .. } => "DROP TYPE".to_owned(),
        Statement::AssertTopic(_) => "ASSERT TOPIC".to_owned(),
        Statement::AssertSchema(_) => "ASSERT SCHEMA".to_owned(),
        Statement::Terminate(_) => "TERMINATE".to_owned(),
        Statement::Pause(_) => "PAUSE".to_owned(),
        Statement::Resume(_) => "RESUME".to_owned(),
        Statement::Show(Show::Topics { .. }) => "SHOW TOPICS".to_owned(),
        Statement::Show(Show::Connectors(_)) => "SHOW CONNECTORS".to_owned(),
        Statement::Show(Show::ConnectorPlugins) => "SHOW CONNECTOR PLUGINS".to_owned(),
        Statement::Show(_) => "SHOW".to_owned(),
        Statement::Describe { .. } => "DESCRIBE".to_owned(),
        Statement::DescribeConnector(_) => "DESCRIBE CONNECTOR".to_owned(),
        Statement::DescribeFunction(_) => "DESCRIBE FUNCTION".to_owned(),
        Statement::ExplainQuery(_) | Statement::Explain(_) => "EXPLAIN".to_owned(),
        Statement::Analyze(_) => "EXPLAIN ANALYZE".to_owned(),
        Statement::Set { .. } => "SET".to_owned(),
        Statement::Unset(_) => "UNSET".to_owned(),
        Statement::Define { .. } => "DEFINE".to_owned(),
        Statement::Undefine(_) => "UNDEFINE".to_owned(),
        Statement::Print(_) => "PRINT".to_owned(),
        Statement::Verify(_) => "VERIFY QUERY".to_owned(),
        Statement::Copy(_) => "COPY".to_owned(),
        Statement::RunScript(_) => "RUN SCRIPT".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::query::push_registry::PushRegistry;

    #[test]
    fn each_role_includes_the_ones_before_it() {
        let parsed = |text: &str| crate::parse::parse(text).unwrap().remove(0);
        let select = parsed("SELECT * FROM s EMIT CHANGES;");
        let insert = parsed("INSERT INTO s VALUES (1);");
        let drop = parsed("DROP STREAM s;");
        let needed = |parsed: &Parsed| Intent::of(parsed, &PushRegistry::default()).required_role();
        for (role, may) in
            [(Role::Reader, [true, false, false]), (Role::Writer, [true, true, false]), (Role::Admin, [true; 3])]
        {
            let user = Principal::new("alice", role, TopicRights::default());
            let allowed = |s: &Parsed| user.require(needed(s), &what(&s.statement)).is_ok();
            assert_eq!([&select, &insert, &drop].map(allowed), may, "{role:?}");
        }
        let reader = Principal::new("rea", Role::Reader, TopicRights::default());
        let refusal = reader.require(needed(&drop), &what(&drop.statement)).unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (FORBIDDEN, "DROP STREAM requires role admin"));
    }

    #[test]
    fn topics_are_named_whole_or_by_their_beginning() {
        let rights = TopicRights::parse("orders,clicks-*").unwrap();
        for (topic, may) in
            [("orders", true), ("orders2", false), ("clicks-", true), ("clicks-eu", true), ("clicks", false)]
        {
            assert_eq!(rights.include(topic), may, "{topic}");
        }
        assert!(TopicRights::parse("*").unwrap().include("anything"));
        for wrong in ["", "a,,b", "a*b", "a b", "a/b"] {
            assert!(TopicRights::parse(wrong).is_err(), "{wrong}");
        }
    }
}
