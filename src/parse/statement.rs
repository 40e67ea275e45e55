//! The statements as parsed, before any name is resolved.
//!
//! Names are already as the catalogue knows them: upper-cased unless quoted. Expressions are sqlparser's; statements,
//! clauses and types are ours, because SQL has no words for them. Printing a statement and parsing the text again is the
//! identity.

use crate::error::Span;
use crate::types::SqlType;
use serde::{Deserialize, Serialize};
use sqlparser::ast::Expr;

use super::query::Relational;
pub use super::query::{Condition, Derived, Emit, Join, JoinKind, Name, Relation, Select, SelectItem, Within};

/// The settings whose values are no secrets: ksqlDB shows the class alone, these are Connect's own.
const SHOWN: [&str; 7] =
    ["connector.class", "tasks.max", "topic", "topics", "topics.regex", "key.converter", "value.converter"];

/// Stream or table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceKind {
    /// Independent facts.
    Stream,
    /// Upserts by primary key.
    Table,
}

/// A statement and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Its text, without the semicolon.
    pub text: String,
    /// Its place in the whole text.
    pub span: Span,
    /// Line and column of its first character there, counted from 1.
    pub begin: (usize, usize),
}

impl Parsed {
    /// Its text as others than its author may see it: the settings of a connector may be secrets.
    pub fn masked(&self) -> String {
        match &self.statement {
            Statement::CreateConnector(create) => create.masked().to_string(),
            Statement::Explain(explained) | Statement::Analyze(explained) => match &**explained {
                Statement::CreateConnector(create) => format!("EXPLAIN {}", create.masked()),
                _ => self.text.clone(),
            },
            _ => self.text.clone(),
        }
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE [OR REPLACE] [SOURCE] STREAM|TABLE [IF NOT EXISTS] name (columns) WITH (...)`
    CreateSource(CreateSource),
    /// `CREATE [OR REPLACE] STREAM|TABLE [IF NOT EXISTS] name [WITH (...)] AS SELECT ...`
    CreateAs(CreateAs),
    /// `INSERT INTO name [(columns)] VALUES (...)`
    InsertValues(InsertValues),
    /// `INSERT INTO name [WITH (QUERY_ID = '...')] SELECT ...`
    InsertSelect(InsertSelect),
    /// `SELECT ... EMIT CHANGES|FINAL [LIMIT n]`, or a SELECT in ksqlDB's grammar without EMIT.
    Select(Select),
    /// A bounded query whose SELECTs are in ksqlDB's grammar, with ORDER BY, DISTINCT, OFFSET, UNION, WITH or queries in FROM
    /// around them.
    Relational(Box<Relational>),
    /// `CREATE TYPE [IF NOT EXISTS] name AS type`
    CreateType(CreateType),
    /// `DROP TYPE [IF EXISTS] name`
    DropType {
        /// The type's name.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// `DROP STREAM|TABLE [IF EXISTS] name [DELETE TOPIC]`
    Drop(Drop),
    /// `CREATE SOURCE|SINK CONNECTOR [IF NOT EXISTS] name WITH (...)`
    CreateConnector(CreateConnector),
    /// `DROP CONNECTOR [IF EXISTS] name`
    DropConnector {
        /// The connector's name.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// `ALTER STREAM|TABLE name ADD [COLUMN] column type, ...`
    Alter(Alter),
    /// `ASSERT [NOT EXISTS] TOPIC name [WITH (...)] [TIMEOUT n unit]`
    AssertTopic(AssertTopic),
    /// `ASSERT [NOT EXISTS] SCHEMA [SUBJECT name] [ID n] [TIMEOUT n unit]`
    AssertSchema(AssertSchema),
    /// `TERMINATE id` or `TERMINATE ALL` (`None`).
    Terminate(Option<String>),
    /// `PAUSE id` or `PAUSE ALL` (`None`).
    Pause(Option<String>),
    /// `RESUME id` or `RESUME ALL` (`None`).
    Resume(Option<String>),
    /// `SHOW|LIST what [EXTENDED]`
    Show(Show),
    /// `DESCRIBE name [EXTENDED]`
    Describe {
        /// Stream or table.
        name: Name,
        /// With run-time facts.
        extended: bool,
    },
    /// `DESCRIBE FUNCTION name`
    DescribeFunction(Name),
    /// `DESCRIBE CONNECTOR name`
    DescribeConnector(Name),
    /// `EXPLAIN query-id`
    ExplainQuery(Name),
    /// `EXPLAIN statement`
    Explain(Box<Statement>),
    /// `EXPLAIN ANALYZE statement`: runs it.
    Analyze(Box<Statement>),
    /// `SET 'property' = 'value'`
    Set {
        /// Property.
        name: String,
        /// Value.
        value: String,
    },
    /// `UNSET 'property'`
    Unset(String),
    /// `DEFINE name = 'value'`
    Define {
        /// Variable.
        name: String,
        /// Text.
        value: String,
    },
    /// `UNDEFINE name`
    Undefine(String),
    /// `PRINT topic [FROM BEGINNING] [INTERVAL n] [LIMIT n]`
    Print(Print),
    /// `VERIFY [QUERY] id`
    Verify(Name),
    /// `COPY (query)|source TO 'file' [(options)]`
    Copy(CopyTo),
    /// `RUN SCRIPT 'file'`
    RunScript(String),
    /// A statement that is read but not carried out yet; `what` names it.
    Unsupported {
        /// Its words: `ALTER SYSTEM`.
        what: String,
        /// Its place.
        span: Span,
    },
}

/// COPY: a query's rows into a file.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyTo {
    /// The query's text and its place.
    pub query: Name,
    /// The file.
    pub file: String,
    /// Names as written, in upper case, and values.
    pub options: Vec<(Name, String)>,
}

/// `WITH (name = value, ...)`; names upper-cased.
pub type Properties = Vec<(Name, PropertyValue)>;

/// A literal in WITH.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyValue {
    /// `'text'`
    Text(String),
    /// A number, as written.
    Number(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// How a column was declared.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDef {
    /// Name.
    pub name: Name,
    /// Type.
    pub ty: SqlType,
    /// KEY, PRIMARY KEY, HEADERS, HEADER('k') or nothing.
    pub constraint: Constraint,
}

/// What a declared column says about its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// A value column.
    None,
    /// `KEY`
    Key,
    /// `PRIMARY KEY`
    PrimaryKey,
    /// `HEADERS`
    Headers,
    /// `HEADER('key')`
    Header(String),
}

/// CREATE STREAM|TABLE over a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSource {
    /// Stream or table.
    pub kind: SourceKind,
    /// OR REPLACE.
    pub or_replace: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// SOURCE: read only.
    pub read_only: bool,
    /// Name.
    pub name: Name,
    /// Columns; empty = left to the format.
    pub columns: Vec<ColumnDef>,
    /// WITH.
    pub with: Properties,
}

/// CREATE STREAM|TABLE AS SELECT.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateAs {
    /// Stream or table.
    pub kind: SourceKind,
    /// OR REPLACE.
    pub or_replace: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// WITH.
    pub with: Properties,
    /// The query.
    pub select: Select,
}

/// CREATE TYPE: a name for a type.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateType {
    /// Name.
    pub name: Name,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The type that it names.
    pub ty: SqlType,
}

/// INSERT INTO ... VALUES.
#[derive(Clone, Debug, PartialEq)]
pub struct InsertValues {
    /// Stream or table.
    pub target: Name,
    /// Columns; empty = all in declared order.
    pub columns: Vec<Name>,
    /// Rows, at least one: an expression a column.
    pub rows: Vec<Vec<Expr>>,
}

/// INSERT INTO ... SELECT.
#[derive(Clone, Debug, PartialEq)]
pub struct InsertSelect {
    /// Stream.
    pub target: Name,
    /// WITH.
    pub with: Properties,
    /// The query.
    pub select: Select,
}

/// DROP STREAM|TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// Stream or table.
    pub kind: SourceKind,
    /// IF EXISTS.
    pub if_exists: bool,
    /// Name.
    pub name: Name,
    /// DELETE TOPIC.
    pub delete_topic: bool,
}

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    /// From elsewhere into topics.
    Source,
    /// From topics to elsewhere.
    Sink,
}

impl ConnectorKind {
    /// `SOURCE` or `SINK`.
    pub fn word(self) -> &'static str {
        match self {
            ConnectorKind::Source => "SOURCE",
            ConnectorKind::Sink => "SINK",
        }
    }
}

/// CREATE SOURCE|SINK CONNECTOR.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateConnector {
    /// SOURCE or SINK.
    pub kind: ConnectorKind,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// WITH: settings of the connector; names as written where they are in quotes, upper-cased otherwise.
    pub with: Properties,
}

impl CreateConnector {
    /// The statement as it may be logged: the values of all settings that may be secrets are replaced.
    pub fn masked(&self) -> CreateConnector {
        let mut masked = self.clone();
        for (name, value) in &mut masked.with {
            if !SHOWN.contains(&name.value.as_str()) {
                *value = PropertyValue::Text("[string]".to_owned());
            }
        }
        masked
    }
}

/// ALTER STREAM|TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct Alter {
    /// Stream or table.
    pub kind: SourceKind,
    /// Name.
    pub name: Name,
    /// Columns to add: of the value, all.
    pub columns: Vec<ColumnDef>,
}

/// ASSERT TOPIC.
#[derive(Clone, Debug, PartialEq)]
pub struct AssertTopic {
    /// False = NOT EXISTS.
    pub exists: bool,
    /// Topic, as written.
    pub topic: String,
    /// WITH: what it has to look like.
    pub with: Properties,
    /// TIMEOUT.
    pub timeout_ms: Option<i64>,
}

/// ASSERT SCHEMA: at least one of SUBJECT and ID.
#[derive(Clone, Debug, PartialEq)]
pub struct AssertSchema {
    /// False = NOT EXISTS.
    pub exists: bool,
    /// SUBJECT, as written.
    pub subject: Option<String>,
    /// ID.
    pub id: Option<u64>,
    /// TIMEOUT.
    pub timeout_ms: Option<i64>,
}

/// What SHOW shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// `SHOW STREAMS [EXTENDED]`
    Streams {
        /// EXTENDED.
        extended: bool,
    },
    /// `SHOW TABLES [EXTENDED]`
    Tables {
        /// EXTENDED.
        extended: bool,
    },
    /// `SHOW [ALL] TOPICS [EXTENDED]`
    Topics {
        /// ALL: internal ones too.
        all: bool,
        /// EXTENDED.
        extended: bool,
    },
    /// `SHOW QUERIES [EXTENDED]`
    Queries {
        /// EXTENDED.
        extended: bool,
    },
    /// `SHOW FUNCTIONS`
    Functions,
    /// `SHOW PROPERTIES`
    Properties,
    /// `SHOW TYPES`
    Types,
    /// `SHOW SCHEMAS`: subjects of the schema registry.
    Schemas,
    /// `SHOW [SOURCE|SINK|ALL] CONNECTORS`; `None` = all.
    Connectors(Option<ConnectorKind>),
    /// `SHOW CONNECTOR PLUGINS`
    ConnectorPlugins,
    /// `SHOW VARIABLES`
    Variables,
}

/// PRINT.
#[derive(Clone, Debug, PartialEq)]
pub struct Print {
    /// Topic, as written.
    pub topic: String,
    /// FROM BEGINNING.
    pub from_beginning: bool,
    /// Every n-th record.
    pub interval: Option<u64>,
    /// LIMIT.
    pub limit: Option<u64>,
}
