//! Statements of Postgres in the dialect of DataFusion's planner.
//!
//! ```text
//! pg_catalog.version()                   version()
//! x OPERATOR(pg_catalog.~) 'a'           x ~ 'a'
//! x COLLATE pg_catalog.default           x
//! 'events'::regclass, a.atttypid::regtype   the number of a name, the name of a number
//! x = ANY (current_schemas(true))        array_has(current_schemas(true), x)
//! SELECT 1, f(x)                         SELECT 1 AS "?column?", f(x) AS f
//! (SELECT ... FROM pg_attrdef)           NULL: that table is always empty
//! ```

use super::columns::TABLES;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Join, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    Statement, TableAlias, TableFactor, TableWithJoins, UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Tables that are always empty here, and that clients look into from inside of other queries.
const EMPTY: &[&str] = &[
    "pg_attrdef",
    "pg_collation",
    "pg_trigger",
    "pg_policy",
    "pg_inherits",
    "pg_rewrite",
    "pg_auth_members",
    "pg_enum",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
    "pg_statistic_ext",
    "pg_sequence",
    "pg_depend",
    "pg_partitioned_table",
    "pg_foreign_table",
    "pg_foreign_server",
    "pg_event_trigger",
    "pg_range",
    "pg_cast",
];

/// The schemas of the search path in their order, which pgjdbc numbers by functions over arrays: there is one.
const SEARCH_PATH: &str = "SELECT ns.oid AS nspoid, ns.nspname, 1 AS r FROM pg_namespace ns";

fn parsed(text: &str) -> Option<Statement> {
    Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?.pop()
}

/// What is between the name of a column and its number, where several have that name: no name contains it.
const MARK: char = '\u{1}';

/// Rewrites a query.
pub(super) fn rewrite(statement: &mut Statement) {
    let _ = VisitMut::visit(statement, &mut Rewriter);
    if let Statement::Query(query) = statement {
        name_columns(&mut query.body);
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // Locks mean nothing here.
        query.locks.clear();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args, .. } = factor
            && name.0.last().and_then(part).is_some_and(|name| name.eq_ignore_ascii_case("pg_get_keywords"))
        {
            *args = None;
        }
        if let TableFactor::Derived { subquery, .. } = factor
            && subquery.to_string().contains("array_upper(current_schemas")
            && let Some(Statement::Query(plain)) = parsed(SEARCH_PATH)
        {
            *subquery = plain;
        }
        // Its columns are named by the table without its schema.
        if let TableFactor::Table { name, alias: alias @ None, .. } = factor
            && let [_, table] = name.0.as_slice()
            && let Some(table) = part(table)
        {
            let name = Ident::with_quote('"', table.to_lowercase());
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let [schema, table] = relation.0.as_slice()
            && let (Some(schema), Some(table)) = (part(schema), part(table))
        {
            let schema = schema.to_lowercase();
            let name = match schema.as_str() {
                "pg_catalog" => table.to_lowercase(),
                "information_schema" => format!("information_schema.{}", table.to_lowercase()),
                _ => return ControlFlow::Continue(()),
            };
            relation.0 = vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))];
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // Before their parts are looked at: what is dropped needs no planning.
        if let Some(other) = of_nothing(expr) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(other) = replaced(expr) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}

fn part(part: &ObjectNamePart) -> Option<&str> {
    part.as_ident().map(|ident| ident.value.as_str())
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A call of a function of the catalogue.
fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let arguments = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// What follows from tables that are always empty, and arrays of rows, which the planner has not.
fn of_nothing(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Subquery(query) if reads_nothing(query) => Some(null()),
        Expr::Exists { subquery, negated } if reads_nothing(subquery) => {
            Some(Expr::Value(Value::Boolean(*negated).into()))
        }
        Expr::InSubquery { subquery, negated, .. } if reads_nothing(subquery) => {
            Some(Expr::Value(Value::Boolean(*negated).into()))
        }
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("array") => {
            Some(call("tidegate_no_texts", Vec::new()))
        }
        _ => None,
    }
}

/// Whether a query reads a table that is always empty.
fn reads_nothing(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(select) => selects_nothing(select),
        _ => false,
    }
}

/// Whether a table that is always empty is joined to nothing that would give a row without it.
fn selects_nothing(select: &Select) -> bool {
    let is_empty = |from: &TableWithJoins| match &from.relation {
        TableFactor::Table { name, .. } => {
            let last = name.0.last().and_then(part).unwrap_or_default().to_lowercase();
            let kept =
                |join: &Join| !matches!(&join.join_operator, JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
            EMPTY.contains(&last.as_str()) && from.joins.iter().all(kept)
        }
        _ => false,
    };
    // An aggregate gives a row over none; one in a subquery belongs to that.
    let aggregated = |text: String| aggregates(&text) && !text.contains("(SELECT");
    !select.projection.iter().any(|item| aggregated(item.to_string())) && select.from.iter().any(is_empty)
}

/// Whether a text calls an aggregate.
fn aggregates(text: &str) -> bool {
    let text = text.to_lowercase();
    let calls = ["count(", "min(", "max(", "sum(", "avg(", "_agg(", "bool_and(", "bool_or("];
    calls.iter().any(|call| text.contains(call))
}

/// The columns of a query that reads a table that is always empty: it need not be planned.
pub(super) fn columns_of_nothing(statement: &Statement) -> Option<Vec<String>> {
    match statement {
        Statement::Query(query) if query.with.is_none() => nothing_of(&query.body),
        _ => None,
    }
}

fn nothing_of(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) if selects_nothing(select) => {
            let name = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
                SelectItem::ExprWithAlias { alias, .. } => Some(name_of(&Expr::Identifier(alias.clone()))),
                _ => None,
            };
            select.projection.iter().map(name).collect()
        }
        SetExpr::SetOperation { left, right, .. } => nothing_of(right).and_then(|_| nothing_of(left)),
        _ => None,
    }
}

fn replaced(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Function(function) => {
            if let [schema, name] = function.name.0.as_slice()
                && part(schema).is_some_and(|schema| {
                    ["pg_catalog", "information_schema"].contains(&schema.to_lowercase().as_str())
                })
            {
                function.name = ObjectName(vec![name.clone()]);
            }
            None
        }
        Expr::Identifier(name) if name.quote_style.is_none() => match name.value.to_lowercase().as_str() {
            word @ ("current_user" | "session_user" | "current_catalog" | "current_role" | "current_schema"
            | "user") => Some(call(word, Vec::new())),
            _ => None,
        },
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                *op = match parts.last().map(String::as_str) {
                    Some("~") => BinaryOperator::PGRegexMatch,
                    Some("~*") => BinaryOperator::PGRegexIMatch,
                    Some("!~") => BinaryOperator::PGRegexNotMatch,
                    Some("!~*") => BinaryOperator::PGRegexNotIMatch,
                    Some("~~") => BinaryOperator::PGLikeMatch,
                    Some("!~~") => BinaryOperator::PGNotLikeMatch,
                    Some("=") => BinaryOperator::Eq,
                    Some("<>") => BinaryOperator::NotEq,
                    Some("||") => BinaryOperator::StringConcat,
                    _ => return None,
                };
            }
            None
        }
        Expr::CompoundIdentifier(parts) => {
            let in_catalog =
                |name: &Ident| ["pg_catalog", "information_schema"].contains(&name.value.to_lowercase().as_str());
            if parts.len() == 3 && in_catalog(&parts[0]) {
                parts.remove(0);
            }
            None
        }
        Expr::Subquery(query) => {
            single(query);
            None
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            escaped(pattern, escape_char);
            None
        }
        Expr::Collate { expr, .. } => Some(std::mem::replace(expr, null())),
        Expr::Cast { expr, data_type, .. } => converted(expr, data_type),
        Expr::AnyOp { left, compare_op, right, .. } => any(left, compare_op, right),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            let all = any(left, &BinaryOperator::Eq, right)?;
            Some(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(all))) })
        }
        _ => None,
    }
}

/// A subquery that is a value has one row at most: the planner believes that of aggregates only.
fn single(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let plain = select.distinct.is_none() && query.limit_clause.is_none() && select.having.is_none();
    let [item] = select.projection.as_mut_slice() else { return };
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
    if plain && !aggregates(&expr.to_string()) {
        let inner = std::mem::replace(expr, null());
        *expr = call("min", vec![inner]);
    }
}

/// A pattern with another escape character than a backslash.
fn escaped(pattern: &mut Box<Expr>, escape: &mut Option<sqlparser::ast::ValueWithSpan>) {
    let Some(value) = escape.take() else { return };
    let text = |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).into());
    match &value.value {
        Value::SingleQuotedString(own) if own != "\\" && !own.is_empty() => {
            let inner = std::mem::replace(&mut **pattern, null());
            let doubled = call("replace", vec![inner, text("\\"), text("\\\\")]);
            **pattern = call("replace", vec![doubled, text(own), text("\\")]);
        }
        _ => {}
    }
}

/// `x = ANY (...)` over an array.
fn any(left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    let bare = loop {
        match right {
            Expr::Nested(inner) => *right = std::mem::replace(inner, null()),
            other => break std::mem::replace(other, null()),
        }
    };
    let left = std::mem::replace(left, null());
    let negated = matches!(op, BinaryOperator::NotEq);
    Some(match bare {
        Expr::Array(array) => Expr::InList { expr: Box::new(left), list: array.elem, negated },
        Expr::Subquery(query) => Expr::InSubquery { expr: Box::new(left), subquery: query, negated },
        Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(_)) => {
            let Value::SingleQuotedString(text) = value.value else { return None };
            let items = text.trim_matches(['{', '}']).split(',').map(|item| item.trim_matches('"').to_owned());
            let list = items.map(|item| Expr::Value(Value::SingleQuotedString(item).into())).collect();
            Expr::InList { expr: Box::new(left), list, negated }
        }
        other => call("array_has", vec![other, left]),
    })
}

/// A cast to a type that only Postgres has.
fn converted(expr: &mut Expr, ty: &mut DataType) -> Option<Expr> {
    let name = ty.to_string().to_lowercase();
    let name = name.trim_start_matches("pg_catalog.").trim_start_matches("information_schema.").to_owned();
    let inner = std::mem::replace(expr, null());
    let is_text = matches!(&inner, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    Some(match name.as_str() {
        "regclass" => call(if is_text { "tidegate_regclass_oid" } else { "tidegate_regclass" }, vec![inner]),
        "regtype" => call(if is_text { "tidegate_regtype_oid" } else { "tidegate_regtype" }, vec![inner]),
        "regproc" | "regprocedure" | "regnamespace" | "regrole" | "regoper" => cast(inner, DataType::Varchar(None)),
        "oid" | "cardinal_number" | "xid" => cast(inner, DataType::BigInt(None)),
        "name" | "\"char\"" | "sql_identifier" | "character_data" | "yes_or_no" | "text" | "varchar" | "json"
        | "jsonb" | "bpchar" => cast(inner, DataType::Varchar(None)),
        array if array.ends_with("[]") || array == "oidvector" || array == "int2vector" => inner,
        _ => {
            *expr = inner;
            return None;
        }
    })
}

/// Gives each column the name that Postgres would; one that occurs again, or may, gets a mark behind its name.
fn name_columns(body: &mut SetExpr) {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return name_columns(&mut query.body),
        SetExpr::SetOperation { left, .. } => return name_columns(left),
        _ => return,
    };
    let is_wild = |item: &SelectItem| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    let (mut seen, has_wildcard) = (HashSet::new(), select.projection.iter().any(is_wild));
    for item in &mut select.projection {
        let (expr, name, is_alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), name_of(expr), false),
            SelectItem::ExprWithAlias { expr, alias } => {
                (expr.clone(), name_of(&Expr::Identifier(alias.clone())), true)
            }
            _ => continue,
        };
        // A wildcard may have the name, too.
        let first = usize::from(has_wildcard && !is_alias);
        let marked = |n: usize| if n == 0 { name.clone() } else { format!("{name}{MARK}{n}") };
        let unique = (first..).map(marked).find(|candidate| !seen.contains(candidate)).unwrap_or_default();
        seen.insert(unique.clone());
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

/// The name of a column without its mark.
pub(super) fn unmarked(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// The name that Postgres gives a column without an alias.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        },
        Expr::CompoundIdentifier(parts) => {
            parts.last().map_or_else(String::new, |name| name_of(&Expr::Identifier(name.clone())))
        }
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(part).unwrap_or("?column?").to_lowercase();
            name.strip_prefix("tidegate_").map_or(name.clone(), |rest| rest.trim_end_matches("_oid").to_owned())
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) => name_of(expr),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => name_of(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}

/// What a statement names: its tables, and its functions in lower case without their schema.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) tables: Vec<String>,
    pub(super) functions: Vec<String>,
    /// It has a word of Postgres that no other dialect has: a cast to a number of the catalogue.
    pub(super) is_postgres: bool,
}

impl Named {
    pub(super) fn of(statement: &Statement) -> Named {
        let mut named = Named::default();
        let _ = Visit::visit(statement, &mut named);
        named
    }
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> = relation.0.iter().filter_map(part).map(str::to_lowercase).collect();
        self.tables.push(parts.join("."));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                let last = function.name.0.last().and_then(part).unwrap_or_default().to_lowercase();
                self.is_postgres |= function.name.0.len() > 1;
                self.functions.push(last);
            }
            Expr::Identifier(name) if name.quote_style.is_none() => {
                let word = name.value.to_lowercase();
                if ["current_user", "session_user", "current_catalog", "current_role", "current_schema"]
                    .contains(&word.as_str())
                {
                    self.functions.push(word);
                }
            }
            Expr::Cast { data_type, .. } => {
                let name = data_type.to_string().to_lowercase();
                self.is_postgres |= ["regclass", "regtype", "regproc", "oid"].iter().any(|word| name.ends_with(word));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether it is one of the catalogue's tables.
pub(super) fn is_table(name: &str) -> bool {
    let bare = name.strip_prefix("pg_catalog.").unwrap_or(name);
    TABLES.iter().any(|(own, _)| *own == bare)
}
