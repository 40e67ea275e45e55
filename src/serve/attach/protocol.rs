//! What an attached tidegate and the owner say to each other: answers that look on one side as they do on the other.
//!
//! ```text
//! request   POST /session/statement {"text":"SELECT ...","properties":{..},"variables":{..}}
//! response  frames, each kind:u8 length:u32 body
//!           r  the reply: the answer or the columns of its rows, and the session as it is now
//!           b  rows: 1 if the last column says which are tombstones else 0, then an Arrow IPC stream
//!           n  what the reader should know in the end (replaces an earlier one)      e  at the end of the topic
//!           s  how much was read so far (replaces an earlier one)
//!           d  done, and why                                                        f  failed, and why
//! ```
//!
//! A response that ends without `d` or `f`, and had rows to come, means that the owner has gone. This is no public API: both
//! sides are of one version ([`PROTOCOL`]), programs use ksqlDB's endpoints.

use crate::engine::result::rows::{OutputColumn, Scanned};
use crate::error::{Error, Kind, Result, Span};
use crate::present::Outcome;
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes with every change of what is said here.
pub const PROTOCOL: u32 = 3;
/// Media type of frames.
pub(crate) const FRAMES: &str = "application/vnd.tidegate.frames";
/// Kind and length.
const HEAD_BYTES: usize = 5;
/// Largest frame that is taken: a batch of the largest rows.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Who the owner is: what `GET /session` answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Version of Tidegate.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// The log that it works on, in words.
    pub log: String,
    /// Its service id.
    pub service_id: String,
    /// Properties in force there unless a session overrides them.
    pub properties: BTreeMap<String, String>,
}

/// A statement and the session that it is said in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// One statement without its semicolon.
    pub text: String,
    /// Overridden properties.
    pub properties: BTreeMap<String, String>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
}

/// The first frame of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The answer.
    pub answer: Told,
    /// The session's properties from now on.
    pub properties: BTreeMap<String, String>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

/// An [`Outcome`] whose rows come as further frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A sentence.
    Message(String),
    /// A whole table.
    Table {
        /// What it is about.
        title: Option<String>,
        /// Names of the columns.
        columns: Vec<String>,
        /// Cells.
        rows: Vec<Vec<String>>,
    },
    /// Several answers, none with rows to come.
    Many(Vec<Told>),
    /// Rows follow.
    Rows {
        /// Id of the query.
        id: Option<String>,
        /// They end by themselves.
        bounded: bool,
        /// What may help when nothing comes.
        when_empty: Option<String>,
        /// Names and types of the columns.
        columns: Vec<(String, SqlType)>,
    },
}

impl Told {
    /// What can be told of this outcome in one frame.
    pub(crate) fn of(outcome: &Outcome) -> Told {
        match outcome {
            Outcome::Message(text) => Told::Message(text.clone()),
            Outcome::Table { title, columns, rows } => {
                Told::Table { title: title.clone(), columns: columns.clone(), rows: rows.clone() }
            }
            Outcome::Many(list) => Told::Many(list.iter().map(Told::of).collect()),
            Outcome::Rows(rows) => Told::Rows {
                id: rows.id().map(str::to_owned),
                bounded: rows.is_bounded(),
                when_empty: rows.when_empty().map(str::to_owned),
                columns: rows.columns().iter().map(|c| (c.name.clone(), c.ty.clone())).collect(),
            },
        }
    }

    /// The outcome again, unless rows follow.
    pub fn outcome(self) -> Result<Outcome> {
        Ok(match self {
            Told::Message(text) => Outcome::Message(text),
            Told::Table { title, columns, rows } => Outcome::Table { title, columns, rows },
            Told::Many(list) => Outcome::Many(list.into_iter().map(Told::outcome).collect::<Result<_>>()?),
            Told::Rows { .. } => return Err(Error::bug("rows stand inside of an answer")),
        })
    }
}

/// Columns as they are named in a [`Told::Rows`].
pub fn output_columns(columns: Vec<(String, SqlType)>) -> Vec<OutputColumn> {
    columns.into_iter().map(|(name, ty)| OutputColumn { name, ty }).collect()
}

/// One thing said by the owner.
#[derive(Debug)]
pub enum Frame {
    /// The answer.
    Reply(Box<Reply>),
    /// Rows, at least one.
    Rows {
        /// One array a column.
        columns: Vec<ArrayRef>,
        /// Which rows delete their key; empty = none does.
        tombstones: Vec<bool>,
    },
    /// What the reader should know in the end.
    Notice(Option<String>),
    /// How much was read for the rows so far.
    Scanned(Scanned),
    /// Everything that was in the topic has been sent.
    AtEnd,
    /// The rows have ended.
    Done(Option<String>),
    /// It did not work.
    Failed(Error),
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = vec![0; HEAD_BYTES];
        out[0] = match self {
            Frame::Reply(reply) => put_json(b'r', &reply, &mut out)?,
            Frame::Rows { columns, tombstones } => {
                put_rows(columns, tombstones, &mut out)?;
                b'b'
            }
            Frame::Notice(text) => put_json(b'n', text, &mut out)?,
            Frame::Scanned(scanned) => put_json(b's', scanned, &mut out)?,
            Frame::AtEnd => b'e',
            Frame::Done(why) => put_json(b'd', why, &mut out)?,
            Frame::Failed(error) => put_json(b'f', &Fault::of(error), &mut out)?,
        };
        let length = u32::try_from(out.len() - HEAD_BYTES)
            .map_err(|_| Error::io(format!("a batch of rows is larger than {FRAME_BYTES_MAX} bytes")))?;
        out[1..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(out)
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Frame> {
        Ok(match kind {
            b'r' => Frame::Reply(Box::new(json(body)?)),
            b'b' => {
                let (columns, tombstones) = rows(body)?;
                Frame::Rows { columns, tombstones }
            }
            b'n' => Frame::Notice(json(body)?),
            b's' => Frame::Scanned(json(body)?),
            b'e' => Frame::AtEnd,
            b'd' => Frame::Done(json(body)?),
            b'f' => Frame::Failed(json::<Fault>(body)?.error()),
            _ => return Err(not_understood()),
        })
    }
}

fn put_json(kind: u8, value: &impl Serialize, out: &mut Vec<u8>) -> Result<u8> {
    serde_json::to_writer(out, value).map_err(|e| Error::bug("an answer cannot be written").because(e))?;
    Ok(kind)
}

fn json<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| not_understood().because(e))
}

fn not_understood() -> Error {
    Error::io("the answer is not understood").with_hint("use one version of tidegate on both sides")
}

/// Appends an Arrow IPC stream of one batch.
pub fn put_rows(columns: &[ArrayRef], tombstones: &[bool], out: &mut Vec<u8>) -> Result<()> {
    out.push(u8::from(!tombstones.is_empty()));
    let mut columns = columns.to_vec();
    if !tombstones.is_empty() {
        columns.push(Arc::new(BooleanArray::from(tombstones.to_vec())));
    }
    let field = |(i, c): (usize, &ArrayRef)| Field::new(format!("c{i}"), c.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let mut writer = StreamWriter::try_new(out, &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(())
}

/// What [`put_rows`] wrote.
pub fn rows(body: &[u8]) -> Result<(Vec<ArrayRef>, Vec<bool>)> {
    let (flag, stream) = body.split_first().ok_or_else(not_understood)?;
    let mut reader = StreamReader::try_new(stream, None).map_err(|e| not_understood().because(e))?;
    let batch = reader.next().ok_or_else(not_understood)?.map_err(|e| not_understood().because(e))?;
    let mut columns = batch.columns().to_vec();
    let mut tombstones = Vec::new();
    if *flag == 1 {
        let marks = columns.pop().ok_or_else(not_understood)?;
        let marks = marks.as_boolean_opt().ok_or_else(not_understood)?;
        tombstones = (0..marks.len()).map(|i| marks.value(i)).collect();
    }
    Ok((columns, tombstones))
}

/// Frames out of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn take(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(not_understood());
        }
        let Some(body) = self.buffer.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let frame = Frame::decode(kind, body)?;
        self.buffer.drain(..HEAD_BYTES + length);
        Ok(Some(frame))
    }
}

/// An error on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Fault {
    kind: String,
    code: u32,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    span: Option<(usize, usize)>,
}

const KINDS: [Kind; 7] = [Kind::Statement, Kind::NotFound, Kind::Busy, Kind::Data, Kind::Io, Kind::Fenced, Kind::Bug];

impl Fault {
    fn of(error: &Error) -> Fault {
        Fault {
            kind: format!("{:?}", error.kind()),
            code: error.code(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            span: error.span().map(|s| (s.start, s.end)),
        }
    }

    fn error(self) -> Error {
        let kind = KINDS.into_iter().find(|k| format!("{k:?}") == self.kind).unwrap_or(Kind::Io);
        let mut error = Error::new(kind, self.message).with_code(self.code);
        if let Some(detail) = self.detail {
            error = error.with_detail(detail);
        }
        if let Some(hint) = self.hint {
            error = error.with_hint(hint);
        }
        match self.span {
            Some((start, end)) => error.at(Span::new(start, end)),
            None => error,
        }
    }
}

/// What `tidegate topic` asks of the owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicCall {
    /// All topics: answers a list of [`crate::engine::introspect::topics::TopicLine`].
    All,
    /// Partitions of a topic, or null.
    Partitions(String),
    /// Creates a topic.
    Create(String, u32),
    /// Deletes the records of a partition below an offset, all if it is negative; answers the lowest offset then.
    DeleteRecords(String, i32, i64),
    /// Appends the records of the [`put_rows`] behind this line: partition, timestamp, key, value.
    Append(String),
    /// Answers with frames of records: partition, offset, timestamp, key, value.
    Print {
        /// Topic.
        topic: String,
        /// Begin at the oldest record.
        from_beginning: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn frames_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec![Some("é"), None])), Arc::new(Int64Array::from(vec![1, 2]))];
        let failed = Error::statement("no").with_code(40004).with_detail("d").with_hint("h").at(Span::new(3, 7));
        let said = [
            Frame::Rows { columns: columns.clone(), tombstones: vec![false, true] },
            Frame::AtEnd,
            Frame::Notice(Some("x".to_owned())),
            Frame::Scanned(Scanned { records: 1, planned: 2, retained: 3, bytes: 4 }),
            Frame::Failed(failed),
            Frame::Done(None),
        ];
        let bytes: Vec<u8> = said.iter().flat_map(|f| f.encode().unwrap()).collect();
        for step in [1, 7, bytes.len()] {
            let (mut frames, mut heard) = (Frames::default(), Vec::new());
            for part in bytes.chunks(step) {
                frames.push(part);
                while let Some(frame) = frames.take().unwrap() {
                    heard.push(frame);
                }
            }
            assert_eq!(format!("{said:?}"), format!("{heard:?}"));
            let Frame::Failed(error) = &heard[4] else { unreachable!() };
            assert_eq!((error.kind(), error.code(), error.span()), (Kind::Statement, 40004, Some(Span::new(3, 7))));
        }
        let mut frames = Frames::default();
        frames.push(b"HTTP/1.1 200 OK");
        assert!(frames.take().is_err());
    }
}
