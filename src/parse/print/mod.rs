//! Statements as text: what is printed reads back as the same statement.

mod query;

use super::statement::{
    Alter, AssertSchema, AssertTopic, ColumnDef, Constraint, CopyTo, CreateAs, CreateConnector, CreateSource,
    CreateType, Drop, InsertSelect, InsertValues, Name, Print, Properties, PropertyValue, Show, SourceKind, Statement,
};
use super::tree::printable;
use super::words::written;
use crate::types::time::Millis;
use sqlparser::ast::Expr;
use std::fmt::{Display, Formatter, Result};

/// An expression as ksqlDB reads it; sqlparser's own printing does not know lambdas written with `=>`.
pub fn expression(expr: &Expr) -> String {
    printable(expr).to_string()
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Statement::CreateSource(s) => s.fmt(f),
            Statement::CreateAs(s) => s.fmt(f),
            Statement::InsertValues(s) => s.fmt(f),
            Statement::InsertSelect(s) => s.fmt(f),
            Statement::Select(s) => s.fmt(f),
            Statement::Relational(query) => query.fmt(f),
            Statement::CreateType(CreateType { name, if_not_exists, ty }) => {
                write!(f, "CREATE TYPE {}{name} AS {ty}", on(*if_not_exists, "IF NOT EXISTS "))
            }
            Statement::DropType { name, if_exists } => write!(f, "DROP TYPE {}{name}", on(*if_exists, "IF EXISTS ")),
            Statement::Drop(s) => s.fmt(f),
            Statement::CreateConnector(s) => s.fmt(f),
            Statement::DropConnector { name, if_exists } => {
                write!(f, "DROP CONNECTOR {}{name}", on(*if_exists, "IF EXISTS "))
            }
            Statement::Alter(s) => s.fmt(f),
            Statement::AssertTopic(s) => s.fmt(f),
            Statement::AssertSchema(s) => s.fmt(f),
            Statement::Terminate(id) => write!(f, "TERMINATE {}", QueryId(id)),
            Statement::Pause(id) => write!(f, "PAUSE {}", QueryId(id)),
            Statement::Resume(id) => write!(f, "RESUME {}", QueryId(id)),
            Statement::Show(show) => show.fmt(f),
            Statement::Describe { name, extended } => write!(f, "DESCRIBE {name}{}", on(*extended, " EXTENDED")),
            Statement::DescribeFunction(name) => write!(f, "DESCRIBE FUNCTION {name}"),
            Statement::DescribeConnector(name) => write!(f, "DESCRIBE CONNECTOR {name}"),
            Statement::ExplainQuery(name) => write!(f, "EXPLAIN {name}"),
            Statement::Explain(statement) => write!(f, "EXPLAIN {statement}"),
            Statement::Analyze(statement) => write!(f, "EXPLAIN ANALYZE {statement}"),
            Statement::Set { name, value } => write!(f, "SET {} = {}", Text(name), Text(value)),
            Statement::Unset(name) => write!(f, "UNSET {}", Text(name)),
            Statement::Define { name, value } => write!(f, "DEFINE {} = {}", written(name), Text(value)),
            Statement::Undefine(name) => write!(f, "UNDEFINE {}", written(name)),
            Statement::Print(print) => print.fmt(f),
            Statement::Verify(id) => write!(f, "VERIFY QUERY {id}"),
            Statement::Copy(copy) => copy.fmt(f),
            Statement::RunScript(file) => write!(f, "RUN SCRIPT {}", Text(file)),
            Statement::Unsupported { what, .. } => f.write_str(what),
        }
    }
}

impl Display for CopyTo {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "COPY ({}) TO {}", self.query.value, Text(&self.file))?;
        if self.options.is_empty() {
            return Ok(());
        }
        let options: Vec<String> =
            self.options.iter().map(|(n, value)| format!("{} {}", n.value, Text(value))).collect();
        write!(f, " ({})", options.join(", "))
    }
}

/// The words if the condition holds, else nothing.
fn on(condition: bool, words: &str) -> &str {
    if condition { words } else { "" }
}

struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

struct QueryId<'a>(&'a Option<String>);

impl Display for QueryId<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.0.as_deref().map_or_else(|| "ALL".to_owned(), written))
    }
}

/// Entries with commas between them.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, entry) in self.0.iter().enumerate() {
            write!(f, "{}{entry}", on(i > 0, ", "))?;
        }
        Ok(())
    }
}

fn expressions(list: &[Expr]) -> String {
    let texts: Vec<String> = list.iter().map(expression).collect();
    // A lone parenthesis would read back as the list's own.
    match list {
        [Expr::Nested(_) | Expr::Tuple(_)] => format!("({})", texts.join(", ")),
        _ => texts.join(", "),
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&written(&self.value))
    }
}

impl Display for SourceKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            SourceKind::Stream => "STREAM",
            SourceKind::Table => "TABLE",
        })
    }
}

fn with(f: &mut Formatter<'_>, properties: &Properties) -> Result {
    for (i, (name, value)) in properties.iter().enumerate() {
        f.write_str(if i == 0 { " WITH (" } else { ", " })?;
        write!(f, "{name} = {value}")?;
    }
    f.write_str(on(!properties.is_empty(), ")"))
}

impl Display for CreateConnector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let CreateConnector { kind, if_not_exists, name, with } = self;
        let settings = with.iter().map(|(name, value)| format!("{} = {value}", Text(&name.value)));
        let (on, settings) = (on(*if_not_exists, "IF NOT EXISTS "), settings.collect::<Vec<_>>().join(", "));
        write!(f, "CREATE {} CONNECTOR {on}{name} WITH ({settings})", kind.word())
    }
}

impl Display for PropertyValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            PropertyValue::Text(text) => Text(text).fmt(f),
            PropertyValue::Number(text) => f.write_str(text),
            PropertyValue::Boolean(value) => value.fmt(f),
        }
    }
}

impl Display for ColumnDef {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {}", self.name, self.ty)?;
        match &self.constraint {
            Constraint::None => Ok(()),
            Constraint::Key => f.write_str(" KEY"),
            Constraint::PrimaryKey => f.write_str(" PRIMARY KEY"),
            Constraint::Headers => f.write_str(" HEADERS"),
            Constraint::Header(key) => write!(f, " HEADER({})", Text(key)),
        }
    }
}

impl Display for CreateSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (replace, source) = (on(self.or_replace, "OR REPLACE "), on(self.read_only, "SOURCE "));
        let exists = on(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {replace}{source}{} {exists}{}", self.kind, self.name)?;
        if !self.columns.is_empty() {
            write!(f, " ({})", List(&self.columns))?;
        }
        with(f, &self.with)
    }
}

impl Display for CreateAs {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (replace, exists) = (on(self.or_replace, "OR REPLACE "), on(self.if_not_exists, "IF NOT EXISTS "));
        write!(f, "CREATE {replace}{} {exists}{}", self.kind, self.name)?;
        with(f, &self.with)?;
        write!(f, " AS {}", self.select)
    }
}

impl Display for InsertValues {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "INSERT INTO {}", self.target)?;
        if !self.columns.is_empty() {
            write!(f, " ({})", List(&self.columns))?;
        }
        let row = |values: &Vec<Expr>| format!("({})", values.iter().map(expression).collect::<Vec<_>>().join(", "));
        write!(f, " VALUES {}", self.rows.iter().map(row).collect::<Vec<_>>().join(", "))
    }
}

impl Display for InsertSelect {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "INSERT INTO {}", self.target)?;
        with(f, &self.with)?;
        write!(f, " {}", self.select)
    }
}

impl Display for Drop {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (exists, topic) = (on(self.if_exists, "IF EXISTS "), on(self.delete_topic, " DELETE TOPIC"));
        write!(f, "DROP {} {exists}{}{topic}", self.kind, self.name)
    }
}

impl Display for Alter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "ALTER {} {}", self.kind, self.name)?;
        for (i, column) in self.columns.iter().enumerate() {
            write!(f, "{} ADD COLUMN {column}", on(i > 0, ","))?;
        }
        Ok(())
    }
}

impl Display for AssertTopic {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "ASSERT {}TOPIC {}", on(!self.exists, "NOT EXISTS "), Text(&self.topic))?;
        with(f, &self.with)?;
        match self.timeout_ms {
            Some(ms) => write!(f, " TIMEOUT {}", Millis(ms)),
            None => Ok(()),
        }
    }
}

impl Display for AssertSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "ASSERT {}SCHEMA", on(!self.exists, "NOT EXISTS "))?;
        if let Some(subject) = &self.subject {
            write!(f, " SUBJECT {}", Text(subject))?;
        }
        if let Some(id) = self.id {
            write!(f, " ID {id}")?;
        }
        match self.timeout_ms {
            Some(ms) => write!(f, " TIMEOUT {}", Millis(ms)),
            None => Ok(()),
        }
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let more = |extended: &bool| on(*extended, " EXTENDED").to_owned();
        match self {
            Show::Streams { extended } => write!(f, "SHOW STREAMS{}", more(extended)),
            Show::Tables { extended } => write!(f, "SHOW TABLES{}", more(extended)),
            Show::Topics { all, extended } => write!(f, "SHOW {}TOPICS{}", on(*all, "ALL "), more(extended)),
            Show::Queries { extended } => write!(f, "SHOW QUERIES{}", more(extended)),
            Show::Functions => f.write_str("SHOW FUNCTIONS"),
            Show::Properties => f.write_str("SHOW PROPERTIES"),
            Show::Types => f.write_str("SHOW TYPES"),
            Show::Schemas => f.write_str("SHOW SCHEMAS"),
            Show::Connectors(None) => f.write_str("SHOW CONNECTORS"),
            Show::Connectors(Some(kind)) => write!(f, "SHOW {} CONNECTORS", kind.word()),
            Show::ConnectorPlugins => f.write_str("SHOW CONNECTOR PLUGINS"),
            Show::Variables => f.write_str("SHOW VARIABLES"),
        }
    }
}

impl Display for Print {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "PRINT {}{}", Text(&self.topic), on(self.from_beginning, " FROM BEGINNING"))?;
        if let Some(interval) = self.interval {
            write!(f, " INTERVAL {interval}")?;
        }
        match self.limit {
            Some(limit) => write!(f, " LIMIT {limit}"),
            None => Ok(()),
        }
    }
}
