//! The intent of a statement: the one place that distinguishes statements. Execution, validation, authorization and EXPLAIN
//! start from the intent, so that none of them can forget a new statement.

use crate::engine::access::Role;
use crate::engine::connector::ConnectorChange;
use crate::engine::ddl::Change;
use crate::engine::query::push_registry::PushRegistry;
use crate::engine::query::{Bounded, Read};
use crate::engine::session::Setting;
use crate::error::Error;
use crate::parse::statement::{AssertSchema, AssertTopic, InsertValues, Name, Parsed, Show, Statement};

/// What a statement is about.
pub(super) enum Intent<'a> {
    /// The catalogue: planned and carried out under the DDL lock, and recorded in the command log.
    Change(Change<'a>),
    /// A connector of Kafka Connect.
    Connector(ConnectorChange<'a>),
    /// A push query that is being read, which its id names: it ends.
    EndPushQuery(&'a str),
    /// One record of a topic.
    InsertValues(&'a InsertValues),
    /// Properties and variables of the session.
    Setting(Setting<'a>),
    /// The engine itself: the result is an entity, and nothing changes.
    Inquiry(Inquiry<'a>),
    /// Rows.
    Read(Read<'a>),
    /// Nothing that this engine does: why.
    Refused(Error),
}

/// A statement that inspects the engine.
pub(super) enum Inquiry<'a> {
    /// SHOW, LIST.
    Show(&'a Show),
    /// DESCRIBE.
    Describe {
        /// Stream or table.
        name: &'a Name,
        /// EXTENDED.
        extended: bool,
    },
    /// DESCRIBE FUNCTION.
    DescribeFunction(&'a Name),
    /// DESCRIBE CONNECTOR.
    DescribeConnector(&'a Name),
    /// EXPLAIN of a persistent query.
    ExplainQuery(&'a Name),
    /// EXPLAIN of a statement.
    Explain(Box<Intent<'a>>),
    /// ASSERT TOPIC.
    AssertTopic(&'a AssertTopic),
    /// ASSERT SCHEMA.
    AssertSchema(&'a AssertSchema),
}

impl<'a> Intent<'a> {
    /// What this statement is about; `pushes` are the push queries that are being read.
    pub(super) fn of(parsed: &'a Parsed, pushes: &PushRegistry) -> Intent<'a> {
        Intent::of_statement(&parsed.statement, pushes)
    }

    /// The role that a statement requires. A statement that is never carried out requires the lowest: its error says why.
    pub(super) fn required_role(&self) -> Role {
        match self {
            Intent::Change(Change::Drop(_) | Change::DropType { .. })
            | Intent::Connector(ConnectorChange::Drop { .. }) => Role::Admin,
            Intent::Change(
                Change::CreateSource(_)
                | Change::CreateAs(_)
                | Change::InsertSelect(_)
                | Change::Alter(_)
                | Change::CreateType(_)
                | Change::Terminate(_)
                | Change::Pause { .. },
            )
            | Intent::Connector(ConnectorChange::Create(_))
            | Intent::EndPushQuery(_)
            | Intent::InsertValues(_)
            // It recomputes a query's whole history.
            | Intent::Read(Read::Verify(_)) => Role::Writer,
            Intent::Read(Read::Push(_) | Read::Bounded(_) | Read::Analyze(_) | Read::Print(_))
            | Intent::Inquiry(_)
            | Intent::Setting(_)
            | Intent::Refused(_) => Role::Reader,
        }
    }

    fn of_statement(statement: &'a Statement, pushes: &PushRegistry) -> Intent<'a> {
        match statement {
            Statement::CreateSource(create) => Intent::Change(Change::CreateSource(create)),
            Statement::CreateAs(create) => Intent::Change(Change::CreateAs(create)),
            Statement::InsertSelect(insert) => Intent::Change(Change::InsertSelect(insert)),
            Statement::CreateType(create) => Intent::Change(Change::CreateType(create)),
            Statement::DropType { name, if_exists } => Intent::Change(Change::DropType { name, if_exists: *if_exists }),
            Statement::Alter(alter) => Intent::Change(Change::Alter(alter)),
            Statement::Drop(drop) => Intent::Change(Change::Drop(drop)),
            Statement::CreateConnector(create) => Intent::Connector(ConnectorChange::Create(create)),
            Statement::DropConnector { name, if_exists } => {
                Intent::Connector(ConnectorChange::Drop { name, if_exists: *if_exists })
            }
            Statement::Terminate(Some(id)) if pushes.contains(id) => Intent::EndPushQuery(id),
            Statement::Terminate(id) => Intent::Change(Change::Terminate(id.as_deref())),
            Statement::Pause(id) => Intent::Change(Change::Pause { id: id.as_deref(), paused: true }),
            Statement::Resume(id) => Intent::Change(Change::Pause { id: id.as_deref(), paused: false }),
            Statement::InsertValues(insert) => Intent::InsertValues(insert),
            Statement::Set { name, value } => Intent::Setting(Setting::Set { name, value }),
            Statement::Unset(name) => Intent::Setting(Setting::Unset(name)),
            Statement::Define { name, value } => Intent::Setting(Setting::Define { name, value }),
            Statement::Undefine(name) => Intent::Setting(Setting::Undefine(name)),
            Statement::Show(show) => Intent::Inquiry(Inquiry::Show(show)),
            Statement::Describe { name, extended } => Intent::Inquiry(Inquiry::Describe { name, extended: *extended }),
            Statement::DescribeFunction(name) => Intent::Inquiry(Inquiry::DescribeFunction(name)),
            Statement::DescribeConnector(name) => Intent::Inquiry(Inquiry::DescribeConnector(name)),
            Statement::ExplainQuery(id) => Intent::Inquiry(Inquiry::ExplainQuery(id)),
            Statement::Explain(statement) => {
                let explained = Intent::of_statement(statement, pushes);
                Intent::Inquiry(Inquiry::Explain(Box::new(explained)))
            }
            Statement::Analyze(statement) => match Intent::of_statement(statement, pushes) {
                Intent::Read(Read::Bounded(query)) => Intent::Read(Read::Analyze(query)),
                refused @ Intent::Refused(_) => refused,
                _ => Intent::Refused(not_analyzed()),
            },
            Statement::AssertTopic(assert) => Intent::Inquiry(Inquiry::AssertTopic(assert)),
            Statement::AssertSchema(assert) => Intent::Inquiry(Inquiry::AssertSchema(assert)),
            Statement::Select(select) if select.emit.is_some() => Intent::Read(Read::Push(select)),
            Statement::Select(select) => Intent::Read(Read::Bounded(Bounded::Select(select))),
            Statement::Relational(query) => Intent::Read(Read::Bounded(Bounded::Relational(query))),
            Statement::Print(print) => Intent::Read(Read::Print(print)),
            Statement::Verify(id) => Intent::Read(Read::Verify(id)),
            Statement::Copy(_) => Intent::Refused(of_the_client("COPY")),
            Statement::RunScript(_) => Intent::Refused(of_the_client("RUN SCRIPT")),
            Statement::Unsupported { what, span } => {
                Intent::Refused(Error::statement(format!("{what} is not supported yet")).at(*span))
            }
        }
    }
}

/// The error for what does not end by itself.
fn not_analyzed() -> Error {
    Error::statement("EXPLAIN ANALYZE takes a query without EMIT: it runs it")
        .with_hint("EXPLAIN shows the plan of other statements, EXPLAIN query_id what a running query has done")
}

/// Files are those of the client: a server neither reads nor writes any for it.
fn of_the_client(what: &str) -> Error {
    Error::statement(format!("{what} works on files of the client, which a server does not touch"))
        .with_hint("use it at the prompt, in `tidegate sql` or in `tidegate run`")
}
