//! One error type, grouped by what its receiver has to do.
//!
//! A message is a lower-case fact without a full stop. The detail elaborates, the hint says what can be done now, and the span
//! points into the statement's text. Causes are kept as `source()`; the handler of an error logs it, once. Codes are ksqlDB's
//! (`io.confluent.ksql.rest.Errors`): the HTTP status times 100, plus a number.
//!
//! ```text
//! kind       receiver                                          ksqlDB error code
//! Statement  fixes the statement                               400xx, 40300
//! NotFound   names something that exists                       404xx
//! Busy       retries, perhaps later                            503xx, 429xx
//! Data       inspects the record; the query continues          50000 (queries report it, no HTTP response does)
//! Io         checks the disk, the broker or the network        500xx
//! Fenced     stops working on the query, which has a new owner 50000
//! Bug        reports it to us                                  50000
//! ```

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible operation in Tidegate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// ksqlDB's code for too many requests: HTTP's 429.
pub const TOO_MANY_REQUESTS: u32 = 42900;

/// ksqlDB's code of a server that is shutting down or whose service was terminated (`ERROR_CODE_SERVER_SHUTTING_DOWN`).
pub const SHUTTING_DOWN: u32 = 50_304;

/// What the receiver of an error has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The statement is wrong: fix it.
    Statement,
    /// The named source, query or topic does not exist.
    NotFound,
    /// Something else holds a resource, or a limit is reached: retry later.
    Busy,
    /// A record is bad: it is skipped and logged.
    Data,
    /// Disk, broker or network failed.
    Io,
    /// Another process took over: stop working on this query.
    Fenced,
    /// A broken promise inside Tidegate.
    Bug,
}

/// A range of a statement's text: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` up to `end`, exclusive.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }
}

struct Inner {
    kind: Kind,
    code: u32,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    span: Option<Span>,
    /// How ksqlDB words the place of this error; the place itself once the text is known.
    place: Option<Place>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The place of an error in words, as ksqlDB's messages begin with it (`NodeLocation.asPrefix`).
#[derive(Clone)]
enum Place {
    /// `{line}` and `{column}` are not known yet.
    Wanted(&'static str),
    Known(String),
}

/// A failure: kind, ksqlDB error code, message and, where known, detail, hint, span and cause.
pub struct Error(Box<Inner>);

impl Error {
    /// The same for another reader; the cause belongs to the first.
    pub(crate) fn without_cause(&self) -> Error {
        let Inner { kind, code, message, detail, hint, span, place, source: _ } = &*self.0;
        Error(Box::new(Inner {
            kind: *kind,
            code: *code,
            message: message.clone(),
            detail: detail.clone(),
            hint: hint.clone(),
            span: *span,
            place: place.clone(),
            source: None,
        }))
    }

    /// An error of `kind` with ksqlDB's usual code for it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        let code = match kind {
            Kind::Statement => 40001,
            Kind::NotFound => 40400,
            Kind::Busy => 50302,
            Kind::Data | Kind::Io | Kind::Fenced | Kind::Bug => 50000,
        };
        let message = message.into();
        Error(Box::new(Inner { kind, code, message, detail: None, hint: None, span: None, place: None, source: None }))
    }

    /// The statement is wrong.
    pub fn statement(message: impl Into<String>) -> Error {
        Error::new(Kind::Statement, message)
    }

    /// Something named does not exist.
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, message)
    }

    /// A record cannot be used.
    pub fn data(message: impl Into<String>) -> Error {
        Error::new(Kind::Data, message)
    }

    /// Disk, broker or network failed.
    pub fn io(message: impl Into<String>) -> Error {
        Error::new(Kind::Io, message)
    }

    /// A broken promise inside Tidegate.
    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(Kind::Bug, message)
    }

    /// The same error in other words.
    pub(crate) fn reworded(mut self, message: String) -> Error {
        self.0.message = message;
        self
    }

    /// Replaces the ksqlDB error code.
    pub fn with_code(mut self, code: u32) -> Error {
        self.0.code = code;
        self
    }

    /// Adds the detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.0.detail = Some(detail.into());
        self
    }

    /// Appends to the detail.
    pub(crate) fn and_detail(mut self, more: &str) -> Error {
        self.0.detail = Some(self.0.detail.take().map_or_else(|| more.to_owned(), |said| format!("{said}; {more}")));
        self
    }

    /// Adds what the receiver can do now.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Asks for the place in words before the whole text of the error: `{line}` and `{column}` are replaced by it, `{behind}` by
    /// the column after it, which is what ksqlDB reports for some places. The message alone does not have it: a prompt marks
    /// the place.
    pub fn told_as(mut self, words: &'static str) -> Error {
        self.0.place = Some(Place::Wanted(words));
        self
    }

    /// Works out the place in words, where that was asked for. `text` begins at this line and column.
    pub(crate) fn told_in(mut self, text: &str, (line, column): (usize, usize)) -> Error {
        if let (Some(Place::Wanted(words)), Some(span)) = (&self.0.place, self.0.span) {
            let before = text.get(..span.start).unwrap_or(text);
            let lines = before.matches('\n').count();
            let last = before.rsplit('\n').next().unwrap_or(before).chars().count();
            let column = if lines == 0 { column + last } else { last + 1 };
            let told = words.replace("{line}", &(line + lines).to_string()).replace("{column}", &column.to_string());
            let told = told.replace("{behind}", &(column + 1).to_string());
            self.0.place = Some(Place::Known(told));
        }
        self
    }

    /// Adds the span, unless a more precise one is already known.
    pub fn at(mut self, span: Span) -> Error {
        self.0.span.get_or_insert(span);
        self
    }

    /// Adds the span if there is one.
    pub fn at_some(self, span: Option<Span>) -> Error {
        match span {
            Some(span) => self.at(span),
            None => self,
        }
    }

    /// Replaces the span.
    #[must_use]
    pub fn only_at(mut self, span: Span) -> Error {
        self.0.span = Some(span);
        self
    }

    /// Moves the span by `offset` bytes: from a statement's text to the script that contains it.
    pub fn shifted(mut self, offset: usize) -> Error {
        if let Some(span) = &mut self.0.span {
            span.start += offset;
            span.end += offset;
        }
        self
    }

    /// Keeps the cause.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// What the receiver has to do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// ksqlDB's error code; divided by 100 it is the HTTP status.
    pub fn code(&self) -> u32 {
        self.0.code
    }

    /// The fact, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail, if any.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// What can be done now, if known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The span in the statement's text, if known.
    pub fn span(&self) -> Option<Span> {
        self.0.span
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place::Known(place)) = &self.0.place {
            f.write_str(place)?;
        }
        f.write_str(&self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}[{}] {self}", self.0.kind, self.0.code)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ", caused by: {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::io("input or output failed").with_detail(e.to_string()).because(e)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Error {
        Error::bug("a column operation failed").with_detail(e.to_string()).because(e)
    }
}

fn exhausted(detail: &str) -> Error {
    Error::new(Kind::Busy, "the query needs more memory than it may have").with_detail(detail).with_hint(
        "SET 'tidegate.batch.memory.bytes' = '...' gives it more, up to what the process was started with \
         (--set); fewer rows or columns need less",
    )
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(e: datafusion::error::DataFusionError) -> Error {
        match e {
            datafusion::error::DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Error::statement(other.to_string()).because(other),
            },
            other => {
                // Where several streams wait for one, each gets a reference to its error.
                match other.find_root() {
                    datafusion::error::DataFusionError::ResourcesExhausted(detail) => return exhausted(detail),
                    datafusion::error::DataFusionError::External(inner) => {
                        if let Some(own) = inner.downcast_ref::<Error>() {
                            return own.without_cause();
                        }
                    }
                    _ => {}
                }
                // The reason alone, without the names of DataFusion's passes and kinds of errors.
                let text = other.find_root().message().into_owned();
                let missing = text.split_once("table 'datafusion.public.").and_then(|(_, rest)| rest.split_once('\''));
                match missing {
                    Some((name, _)) => Error::statement(format!("{name} does not exist."))
                        .with_hint("SHOW STREAMS and SHOW TABLES list what exists")
                        .because(other),
                    None => Error::statement(text).because(other),
                }
            }
        }
    }
}
