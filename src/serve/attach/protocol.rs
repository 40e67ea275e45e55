//! The protocol between a prompt and the process that carries out its statements: results look the same on both sides.
//!
//! ```text
//! request   POST /session/statement {"text":"SELECT ...","properties":{..},"variables":{..}}
//!           POST /session/check, the same: `f` for each fault of a whole file, then `d`
//! response  frames, each kind:u8 length:u32 body
//!           r  the reply: the result or the columns of its rows, and the session afterwards
//!           b  rows: 1 if the last column marks tombstones, else 0; then an Arrow IPC stream
//!           n  a notice to show after the rows (replaces an earlier one)     e  the end of the topic is reached
//!           s  how much has been read so far (replaces an earlier one)
//!           d  done, and why                                                 f  failed, and why
//! ```
//!
//! A response with rows that ends without `d` or `f` was cut off: the other process has ended. This is not a public API: both
//! sides are of one version ([`PROTOCOL`]); programs use ksqlDB's endpoints.

use crate::engine::insert::lines::NewLines;
use crate::engine::introspect::topics::TailFrom;
use crate::engine::result::rows::{OutputColumn, Scanned};
use crate::error::{Error, Kind, Result, Span};
use crate::log::TopicChanges;
use crate::present::Outcome;
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Version of this protocol: increased with every change of it.
pub const PROTOCOL: u32 = 7;
/// Media type of frames.
pub(crate) const FRAMES: &str = "application/vnd.tidegate.frames";
/// Kind and length of a frame.
const HEAD_BYTES: usize = 5;
/// Largest frame that is accepted: a batch of the largest rows.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Response to `GET /session`: which process this is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerInfo {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Version of Tidegate.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Description of the log that it works on.
    pub log: String,
    /// Its service id.
    pub service_id: String,
    /// Properties in force there unless a session overrides them.
    pub properties: BTreeMap<String, String>,
}

/// A statement and the session in which it is run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatementRequest {
    /// One statement without its semicolon; of a check, a file.
    pub text: String,
    /// Overridden properties.
    pub properties: BTreeMap<String, String>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
}

/// The first frame of a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The result.
    pub result: ReplyBody,
    /// The session's properties afterwards.
    pub properties: BTreeMap<String, String>,
    /// Its variables afterwards.
    pub variables: BTreeMap<String, String>,
}

/// An [`Outcome`] whose rows come as further frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// A message.
    Message(String),
    /// A whole table.
    Table {
        /// Title.
        title: Option<String>,
        /// Names of the columns.
        columns: Vec<String>,
        /// Cells.
        rows: Vec<Vec<String>>,
    },
    /// Several results, none of which has rows to follow.
    Many(Vec<ReplyBody>),
    /// Rows follow.
    Rows {
        /// Id of the query.
        id: Option<String>,
        /// The rows end by themselves.
        bounded: bool,
        /// A hint to show when there are no rows.
        when_empty: Option<String>,
        /// Names and types of the columns.
        columns: Vec<(String, SqlType)>,
    },
}

impl ReplyBody {
    /// The part of an outcome that fits into one frame.
    pub(crate) fn of(outcome: &Outcome) -> ReplyBody {
        match outcome {
            Outcome::Message(text) => ReplyBody::Message(text.clone()),
            Outcome::Table { title, columns, rows } => {
                ReplyBody::Table { title: title.clone(), columns: columns.clone(), rows: rows.clone() }
            }
            Outcome::Many(list) => ReplyBody::Many(list.iter().map(ReplyBody::of).collect()),
            Outcome::Rows(rows) => ReplyBody::Rows {
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
            ReplyBody::Message(text) => Outcome::Message(text),
            ReplyBody::Table { title, columns, rows } => Outcome::Table { title, columns, rows },
            ReplyBody::Many(list) => Outcome::Many(list.into_iter().map(ReplyBody::outcome).collect::<Result<_>>()?),
            ReplyBody::Rows { .. } => return Err(Error::bug("rows inside of a list of results")),
        })
    }
}

/// The columns of a [`ReplyBody::Rows`].
pub fn output_columns(columns: Vec<(String, SqlType)>) -> Vec<OutputColumn> {
    columns.into_iter().map(|(name, ty)| OutputColumn { name, ty }).collect()
}

/// One message of a response.
#[derive(Debug)]
pub enum Frame {
    /// The result.
    Reply(Box<Reply>),
    /// Rows, at least one.
    Rows {
        /// One array for each column.
        columns: Vec<ArrayRef>,
        /// Marks the rows that delete their key; empty = none.
        tombstones: Vec<bool>,
    },
    /// A notice to show after the rows.
    Notice(Option<String>),
    /// How much was read for the rows so far.
    Scanned(Scanned),
    /// Everything that was in the topic has been sent.
    AtEnd,
    /// The rows have ended.
    Done(Option<String>),
    /// The statement or its query failed.
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
            Frame::Failed(error) => put_json(b'f', &ErrorBody::of(error), &mut out)?,
        };
        let length = u32::try_from(out.len() - HEAD_BYTES)
            .map_err(|_| Error::io(format!("a batch of rows exceeds {FRAME_BYTES_MAX} bytes")))?;
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
            b'f' => Frame::Failed(json::<ErrorBody>(body)?.error()),
            _ => return Err(invalid()),
        })
    }
}

fn put_json(kind: u8, value: &impl Serialize, out: &mut Vec<u8>) -> Result<u8> {
    serde_json::to_writer(out, value).map_err(|e| Error::bug("a frame cannot be encoded").because(e))?;
    Ok(kind)
}

fn json<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| invalid().because(e))
}

fn invalid() -> Error {
    Error::io("invalid response").with_hint("use the same version of tidegate on both sides")
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
    let (flag, stream) = body.split_first().ok_or_else(invalid)?;
    let mut reader = StreamReader::try_new(stream, None).map_err(|e| invalid().because(e))?;
    let batch = reader.next().ok_or_else(invalid)?.map_err(|e| invalid().because(e))?;
    let mut columns = batch.columns().to_vec();
    let mut tombstones = Vec::new();
    if *flag == 1 {
        let marks = columns.pop().ok_or_else(invalid)?;
        let marks = marks.as_boolean_opt().ok_or_else(invalid)?;
        tombstones = (0..marks.len()).map(|i| marks.value(i)).collect();
    }
    Ok((columns, tombstones))
}

/// Decodes frames from bytes as they arrive.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame.
    pub fn take(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(invalid());
        }
        let Some(body) = self.buffer.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let frame = Frame::decode(kind, body)?;
        self.buffer.drain(..HEAD_BYTES + length);
        Ok(Some(frame))
    }
}

/// An [`Error`] as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorBody {
    kind: String,
    code: u32,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    span: Option<(usize, usize)>,
}

const KINDS: [Kind; 7] = [Kind::Statement, Kind::NotFound, Kind::Busy, Kind::Data, Kind::Io, Kind::Fenced, Kind::Bug];

impl ErrorBody {
    fn of(error: &Error) -> ErrorBody {
        ErrorBody {
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

/// A request of `tidegate topic`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicRequest {
    /// Lists all topics; returns a list of [`crate::engine::introspect::topics::TopicLine`].
    All,
    /// Returns the number of a topic's partitions, or null.
    Partitions(String),
    /// Creates a topic.
    Create(String, u32, BTreeMap<String, String>),
    /// Everything about a topic.
    Describe(String),
    /// Changes settings of a topic; `null` resets one to its default.
    Alter(String, TopicChanges),
    /// Deletes a topic.
    Delete(String),
    /// Deletes the records of a partition below an offset, all if it is negative; returns the lowest offset left.
    DeleteRecords(String, i32, i64),
    /// Appends the records of the [`put_rows`] behind this line: partition, timestamp, key, value, headers as JSON.
    Append(String),
    /// Writes lines into a stream or table; returns how many were valid.
    Write(String, NewLines),
    /// Returns frames of records: partition, offset, timestamp, key, value.
    Print {
        /// Topic.
        topic: String,
        /// Where it begins.
        from: TailFrom,
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
        let sent = [
            Frame::Rows { columns: columns.clone(), tombstones: vec![false, true] },
            Frame::AtEnd,
            Frame::Notice(Some("x".to_owned())),
            Frame::Scanned(Scanned { records: 1, planned: 2, retained: 3, bytes: 4 }),
            Frame::Failed(failed),
            Frame::Done(None),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|f| f.encode().unwrap()).collect();
        for step in [1, 7, bytes.len()] {
            let (mut decoder, mut decoded) = (FrameDecoder::default(), Vec::new());
            for part in bytes.chunks(step) {
                decoder.push(part);
                while let Some(frame) = decoder.take().unwrap() {
                    decoded.push(frame);
                }
            }
            assert_eq!(format!("{sent:?}"), format!("{decoded:?}"));
            let Frame::Failed(error) = &decoded[4] else { unreachable!() };
            assert_eq!((error.kind(), error.code(), error.span()), (Kind::Statement, 40004, Some(Span::new(3, 7))));
        }
        let mut frames = FrameDecoder::default();
        frames.push(b"HTTP/1.1 200 OK");
        assert!(frames.take().is_err());
    }
}
