//! Statements as text: what is printed reads back as the same statement.

use super::query::{Body, Condition, Definition, Derived, Relational, SetOperator, Subquery};
use super::statement::{
    Alter, AssertSchema, AssertTopic, ColumnDef, Constraint, CopyTo, CreateAs, CreateConnector, CreateSource,
    CreateType, Drop, Emit, InsertSelect, InsertValues, Join, JoinKind, Name, Print, Properties, PropertyValue,
    Relation, Select, SelectItem, Show, SourceKind, Statement, Within,
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

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write_select(f, self, false)
    }
}

fn write_select(f: &mut Formatter<'_>, select: &Select, distinct: bool) -> Result {
    let mut text = format!("SELECT {}{}", on(distinct, "DISTINCT "), List(&select.items));
    match select.from.derived.as_deref() {
        Some(Derived::Nothing) => {}
        _ => text.push_str(&format!(" FROM {}", select.from)),
    }
    text.push_str(&Clauses(select).to_string());
    f.write_str(&with_queries(text, &select.queries))
}

/// The text with queries in the place of the names that stand for them.
fn with_queries(mut text: String, queries: &[Subquery]) -> String {
    for Subquery { name, query } in queries {
        let name = crate::types::quoted(&name.value);
        if name.starts_with("`#exists") {
            text = text.replace(&name, &format!("EXISTS ({query})"));
            continue;
        }
        for word in ["IN ", "ANY", "ALL", "SOME"] {
            text = text.replace(&format!("{word}({name})"), &format!("{word}({query})"));
        }
        text = text.replace(&name, &format!("({query})"));
    }
    text
}

/// Everything behind FROM.
struct Clauses<'a>(&'a Select);

impl Display for Clauses<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Clauses(select) = self;
        for join in &select.joins {
            write!(f, "{join}")?;
        }
        if let Some(window) = &select.window {
            write!(f, " WINDOW {window}")?;
        }
        if let Some(filter) = &select.filter {
            write!(f, " WHERE {}", expression(filter))?;
        }
        if !select.group_by.is_empty() {
            write!(f, " GROUP BY {}", expressions(&select.group_by))?;
        }
        if !select.partition_by.is_empty() {
            write!(f, " PARTITION BY {}", expressions(&select.partition_by))?;
        }
        if let Some(having) = &select.having {
            write!(f, " HAVING {}", expression(having))?;
        }
        for (i, (name, spec)) in select.windows.iter().enumerate() {
            write!(f, "{} {name} AS ({})", if i == 0 { " WINDOW" } else { "," }, printable(spec))?;
        }
        if let Some(qualify) = &select.qualify {
            write!(f, " QUALIFY {}", expression(qualify))?;
        }
        match select.emit {
            Some(Emit::Changes) => f.write_str(" EMIT CHANGES")?,
            Some(Emit::Final) => f.write_str(" EMIT FINAL")?,
            None => {}
        }
        match select.limit {
            Some(limit) => write!(f, " LIMIT {limit}"),
            None => Ok(()),
        }
    }
}

impl Display for Relational {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, definition) in self.with.iter().enumerate() {
            write!(f, "{} {definition}", if i == 0 { "WITH" } else { "," })?;
        }
        if !self.with.is_empty() {
            f.write_str(" ")?;
        }
        self.body.fmt(f)?;
        let mut order = String::new();
        for (i, key) in self.order_by.iter().enumerate() {
            order.push_str(if i == 0 { " ORDER BY " } else { ", " });
            order.push_str(&expression(&key.expr));
            order.push_str(if key.descending { " DESC" } else { "" });
            if key.nulls_first != key.descending {
                order.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
            }
        }
        f.write_str(&with_queries(order, &self.queries))?;
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if self.offset > 0 { write!(f, " OFFSET {}", self.offset) } else { Ok(()) }
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Body::Select(body) => write_select(f, &body.select, body.distinct),
            Body::Values(rows) => {
                f.write_str("VALUES ")?;
                for (i, row) in rows.iter().enumerate() {
                    let row: Vec<String> = row.iter().map(expression).collect();
                    write!(f, "{}({})", on(i > 0, ", "), row.join(", "))?;
                }
                Ok(())
            }
            Body::Set { operator, all, sides } => {
                let word = match operator {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                };
                for (i, side) in sides.iter().enumerate() {
                    if i == 1 {
                        write!(f, " {word}{} ", if *all { " ALL" } else { "" })?;
                    }
                    // An operand that binds less tightly was written in parentheses, and is Nested.
                    side.fmt(f)?;
                }
                Ok(())
            }
            Body::Nested(query) => write!(f, "({query})"),
        }
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            SelectItem::All => f.write_str("*"),
            SelectItem::AllOf(source) => write!(f, "{source}.*"),
            SelectItem::AllFields(expr) => write!(f, "{} -> *", expression(expr)),
            SelectItem::Expr { expr, alias: Some(alias), .. } => write!(f, "{} AS {alias}", expression(expr)),
            SelectItem::Expr { expr, alias: None, .. } => f.write_str(&expression(expr)),
        }
    }
}

impl Display for Definition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{} AS ({})", self.name, Columns(&self.columns), self.query)
    }
}

/// `(a, b)` behind the name of a query.
struct Columns<'a>(&'a [Name]);

impl Display for Columns<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", List(self.0)) }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.derived.as_deref() {
            None => self.name.fmt(f)?,
            Some(Derived::Nothing) => {}
            Some(Derived::Query { lateral, query }) => write!(f, "{}({query})", on(*lateral, "LATERAL "))?,
            Some(Derived::Call(call)) => f.write_str(&expression(call))?,
        }
        match &self.alias {
            Some(alias) => write!(f, " AS {alias}{}", Columns(&self.columns)),
            None => Ok(()),
        }
    }
}

impl Display for Join {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let kind = match self.kind {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT OUTER",
            JoinKind::Right => "RIGHT OUTER",
            JoinKind::Full => "FULL OUTER",
        };
        match &self.on {
            Condition::Comma => return write!(f, ", {}", self.right),
            Condition::Cross => return write!(f, " CROSS JOIN {}", self.right),
            Condition::Natural => return write!(f, " NATURAL {kind} JOIN {}", self.right),
            Condition::On(_) | Condition::Using(_) => write!(f, " {kind} JOIN {}", self.right)?,
        }
        if let Some(within) = &self.within {
            write!(f, " {within}")?;
        }
        match &self.on {
            Condition::Using(columns) => write!(f, " USING ({})", List(columns)),
            Condition::On(on) => write!(f, " ON {}", expression(on)),
            _ => Ok(()),
        }
    }
}

impl Display for Within {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.before_ms == self.after_ms {
            true => write!(f, "WITHIN {}", Millis(self.before_ms))?,
            false => write!(f, "WITHIN ({}, {})", Millis(self.before_ms), Millis(self.after_ms))?,
        }
        match self.grace_ms {
            Some(grace) => write!(f, " GRACE PERIOD {}", Millis(grace)),
            None => Ok(()),
        }
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
