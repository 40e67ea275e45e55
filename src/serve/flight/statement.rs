//! Statements: what a text returns, and carrying it out.
//!
//! ```text
//! SET 'auto.offset.reset' = 'earliest'; SELECT * FROM s WHERE id = ? EMIT CHANGES
//!   prepared   types of its parameters, and columns: planned, not run
//!   bound      with values
//!   run        the text with the values as literals: for a ticket
//! ```
//!
//! Calls share no session: what is set in a text holds for the statements behind it in the same text. Statements that return
//! no rows are carried out by the call that sends them, so that its status is theirs; rows are made when a ticket is redeemed.

use super::parameters::{self, led_back};
use super::{planned, schema, status};
use crate::engine::result::entity::Entity;
use crate::engine::result::rows::{OutputColumn, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Result};
use crate::parse::statement::{Parsed, Statement};
use crate::present::text::outcome;
use crate::serve::limits::BODY_BYTES_MAX;
use crate::serve::postgres::parameters::literals::sample;
use crate::serve::postgres::parameters::{Filled, fill};
use crate::serve::postgres::session::run::cells;
use crate::serve::postgres::types::PgType;
use crate::types::SqlType;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use tonic::Status;

/// A text with values in it, and how places in it lead back to the client's text.
#[derive(Clone)]
struct Text {
    sent: Arc<str>,
    numbered: Arc<Filled>,
    filled: Filled,
}

impl Text {
    /// An error of the engine about the filled text.
    fn status(&self, error: Error) -> Status {
        let error = led_back(led_back(error, &self.filled), &self.numbered);
        status::of(&error, Some(&self.sent))
    }
}

/// What a statement returns.
#[derive(Clone)]
pub(super) enum Returns {
    Rows(SchemaRef),
    /// A number of rows that were written.
    Count,
}

/// A statement that may be carried out several times.
#[derive(Clone)]
pub(super) struct Prepared {
    sent: Arc<str>,
    numbered: Arc<Filled>,
    /// Types of its parameters.
    pub(super) types: Vec<SqlType>,
    pub(super) returns: Returns,
    /// The user, and the properties that came with the call.
    session: Session,
    /// Rows of a push query have a column that says what happened.
    with_op: bool,
    values: Option<RecordBatch>,
}

/// A statement with its values, for one run.
pub(super) struct Run {
    text: Text,
    session: Session,
    with_op: bool,
}

/// What a run has started.
pub(super) enum Started {
    Rows { rows: Box<dyn RowStream>, with_op: bool },
    Table(RecordBatch),
}

impl Prepared {
    /// Reads a text; nothing of it takes effect.
    pub(super) fn read(engine: &Engine, text: &str, session: Session, with_op: bool) -> Result<Prepared, Status> {
        if text.len() > BODY_BYTES_MAX {
            let long = format!("the text has {} bytes, at most {BODY_BYTES_MAX} are allowed", text.len());
            return Err(status::of(&Error::statement(long), None));
        }
        let (sent, numbered) = (Arc::<str>::from(text), Arc::new(parameters::numbered(text)));
        let mut prepared = Prepared {
            sent,
            numbered,
            types: Vec::new(),
            returns: Returns::Count,
            session: session.clone(),
            with_op,
            values: None,
        };
        let types = parameters::types(engine, &prepared.numbered.text, &mut session.clone());
        prepared.types = types.map_err(|error| prepared.text(Filled::default()).status(error))?;
        let sampled = prepared.filled(|ty| sample(PgType::of(ty).oid));
        let returns = match prepared.returns(engine, &sampled) {
            // A value of a type may be no value of the place: NULL is one of each.
            Err(first) if !prepared.types.is_empty() => {
                let nulls = prepared.filled(|ty| match ty {
                    SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => "NULL".to_owned(),
                    ty => format!("CAST(NULL AS {ty})"),
                });
                prepared.returns(engine, &nulls).map_err(|_| first)
            }
            returns => returns,
        };
        prepared.returns = returns.map_err(|error| prepared.text(sampled).status(error))?;
        Ok(prepared)
    }

    fn text(&self, filled: Filled) -> Text {
        Text { sent: self.sent.clone(), numbered: self.numbered.clone(), filled }
    }

    /// The text with something of each parameter's type in its place.
    fn filled(&self, with: impl Fn(&SqlType) -> String) -> Filled {
        fill(&self.numbered.text, |number, limit| match limit {
            true => Some("1".to_owned()),
            false => self.types.get(number - 1).map(&with),
        })
    }

    /// What the last statement of a text returns.
    fn returns(&self, engine: &Engine, text: &Filled) -> Result<Returns> {
        let mut session = self.session.clone();
        let last = last_of(engine, engine.parse(&text.text, &session)?, &mut session)?;
        let columns = match &last.statement {
            Statement::Select(_) | Statement::Relational(_) | Statement::Analyze(_) => {
                planned(engine, last.clone(), &mut session)?
            }
            // They have no plan that could be asked; dropping the rows ends the query.
            Statement::Print(_) | Statement::Verify(_) => match engine.execute(&last, &mut session)? {
                Answer::Rows(rows) => rows.columns().to_vec(),
                Answer::Entity(_) => return Err(Error::bug("a query returned no rows")),
            },
            statement if shows(statement) => {
                return Ok(Returns::Rows(table(engine.execute(&last, &mut session)?)?.schema()));
            }
            _ => return Ok(Returns::Count),
        };
        Ok(Returns::Rows(schema(&columns, self.with_op && is_push(&last.statement))))
    }

    /// The same with values for its parameters, a row each time it is run.
    pub(super) fn bound(&self, values: RecordBatch) -> Result<Prepared> {
        let (given, wanted) = (values.num_columns(), self.types.len());
        if given != wanted {
            return Err(Error::statement(format!("the statement has {wanted} parameters, {given} were bound")));
        }
        let columns = values.columns().iter().zip(&self.types).enumerate();
        let columns = columns.map(|(at, (column, ty))| parameters::settled(column, at, ty));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let fields = columns.iter().enumerate().map(|(at, column)| (at.to_string(), column.clone(), true));
        let values = match columns.is_empty() {
            true => None,
            false => Some(RecordBatch::try_from_iter_with_nullable(fields).map_err(internal)?),
        };
        Ok(Prepared { values, ..self.clone() })
    }

    /// How often it is to be run: once for each row of values, once if there are no parameters.
    pub(super) fn rows(&self) -> Result<usize> {
        if self.types.is_empty() {
            return Ok(1);
        }
        let rows = self.values.as_ref().map_or(0, RecordBatch::num_rows);
        if rows == 0 {
            let text = format!("the statement has {} parameters, none was bound", self.types.len());
            return Err(Error::statement(text));
        }
        Ok(rows)
    }

    /// The run of a query.
    pub(super) fn only_run(&self) -> Result<Run> {
        match self.rows()? {
            1 => self.run(0),
            count => Err(Error::statement(format!("a query takes one row of values, {count} were bound"))
                .with_hint("run it once for each row")),
        }
    }

    /// The run for a row of values.
    pub(super) fn run(&self, row: usize) -> Result<Run> {
        let columns: Vec<ArrayRef> = self.values.iter().flat_map(|values| values.columns().to_vec()).collect();
        let literals = columns.iter().zip(&self.types).map(|(column, ty)| parameters::literal(column, row, ty));
        let literals = literals.collect::<Result<Vec<_>>>()?;
        let bytes: usize = literals.iter().map(String::len).sum();
        if bytes + self.numbered.text.len() > BODY_BYTES_MAX {
            return Err(Error::statement("the statement is too long with its parameters"));
        }
        let filled = fill(&self.numbered.text, |number, limit| {
            let value = literals.get(number - 1)?;
            // LIMIT takes a number and nothing around it.
            Some(if limit { value.trim_matches(['(', ')', '\'']).to_owned() } else { value.clone() })
        });
        Ok(Run { text: self.text(filled), session: self.session.clone(), with_op: self.with_op })
    }

    /// Bytes that it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let values = self.values.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        self.sent.len() + self.numbered.text.len() + values
    }
}

impl Run {
    /// Bytes that it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.text.filled.text.len() + self.text.sent.len() + self.text.numbered.text.len()
    }

    /// Starts a statement that returns rows.
    pub(super) fn start(&self, engine: &Engine) -> Result<Started, Status> {
        let mut session = self.session.clone();
        let started = || {
            let last = last_of(engine, engine.parse(&self.text.filled.text, &session)?, &mut session)?;
            match engine.execute(&last, &mut session)? {
                Answer::Rows(rows) => Ok(Started::Rows { rows, with_op: self.with_op && is_push(&last.statement) }),
                entity => Ok(Started::Table(table(entity)?)),
            }
        };
        let mut started = started;
        started().map_err(|error| self.text.status(error))
    }

    /// Carries out all statements of a text that returns no rows; returns how many rows were written.
    pub(super) fn update(&self, engine: &Engine) -> Result<i64, Status> {
        let mut session = self.session.clone();
        let mut count = 0;
        let parsed = engine.parse(&self.text.filled.text, &session).map_err(|error| self.text.status(error))?;
        engine.authorize_all(&parsed, &session).map_err(|(_, error)| self.text.status(error))?;
        for one in &parsed {
            let answer = engine.execute(one, &mut session).map_err(|error| self.text.status(error))?;
            if matches!(one.statement, Statement::InsertValues(_)) {
                count += 1;
            }
            if let Answer::Entity(Entity::Warning(warning)) = answer {
                tracing::debug!(warning, "statement of a Flight SQL client");
            }
        }
        Ok(count)
    }
}

/// Carries out the settings in front of the last statement, which is returned. Other statements may stand in front of one that
/// returns no rows either.
fn last_of(engine: &Engine, mut parsed: Vec<Parsed>, session: &mut Session) -> Result<Parsed> {
    let Some(last) = parsed.pop() else { return Err(Error::statement("the text holds no statement")) };
    if is_setting(&last.statement) {
        return Err(Error::statement(
            "a setting at the end of a text has no effect: each call has a session of its own",
        )
        .at(last.span)
        .with_hint("put it in front of the query in one text, or send it as a header: auto.offset.reset: earliest"));
    }
    let returns_rows = returns_rows(&last.statement);
    for one in &parsed {
        if is_setting(&one.statement) {
            engine.execute(one, session)?;
        } else if returns_rows {
            return Err(Error::statement("only settings may stand in front of a query").at(one.span));
        }
    }
    Ok(last)
}

fn is_setting(statement: &Statement) -> bool {
    matches!(statement, Statement::Set { .. } | Statement::Unset(_) | Statement::Define { .. } | Statement::Undefine(_))
}

/// Statements whose result is a table of texts.
fn shows(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Show(_)
            | Statement::Describe { .. }
            | Statement::DescribeFunction(_)
            | Statement::DescribeConnector(_)
            | Statement::Explain(_)
            | Statement::ExplainQuery(_)
    )
}

fn returns_rows(statement: &Statement) -> bool {
    let query = matches!(
        statement,
        Statement::Select(_)
            | Statement::Relational(_)
            | Statement::Analyze(_)
            | Statement::Print(_)
            | Statement::Verify(_)
    );
    query || shows(statement)
}

fn is_push(statement: &Statement) -> bool {
    matches!(statement, Statement::Select(select) if select.emit.is_some())
}

/// A result of the engine as columns of texts.
fn table(answer: Answer) -> Result<RecordBatch> {
    let (names, rows) = cells(outcome(answer));
    let column = |at: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.get(at).cloned().flatten()).collect::<StringArray>())
    };
    let columns: Vec<_> = names.iter().map(|name| OutputColumn { name: name.clone(), ty: SqlType::String }).collect();
    let arrays = (0..names.len()).map(column).collect();
    RecordBatch::try_new(schema(&columns, false), arrays).map_err(internal)
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::bug("values cannot be put into a batch").because(error)
}
