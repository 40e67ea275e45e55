//! Times in columns: what `TIMESTAMP = 'column'` reads and stamps records with.

use crate::catalog::TimestampColumn;
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::java_time::Pattern;
use crate::types::zone::Zone;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};

/// No time at all: before 1970, where no event is.
const NO_TIME: i64 = -1;

/// How a column is read as a time.
#[derive(Clone, Debug)]
pub(crate) struct TimeReader {
    format: Option<Pattern>,
    column: TimestampColumn,
}

impl TimeReader {
    /// The reader of a declared column.
    pub(crate) fn new(column: &TimestampColumn) -> Result<TimeReader> {
        let format = match &column.format {
            None => None,
            Some(text) => Some(Pattern::parse(text).map_err(|reason| {
                Error::statement(format!("Failed to parse TIMESTAMP_FORMAT '{text}'")).with_detail(reason)
            })?),
        };
        Ok(TimeReader { format, column: column.clone() })
    }

    /// Why a row has no time; `None` = its column is NULL.
    #[cold]
    pub(crate) fn fault(&self, time: Option<i64>) -> String {
        let name = &self.column.column;
        match (time, &self.column.format) {
            (None, _) => format!("timestamp: column `{name}` is NULL"),
            (Some(_), Some(format)) => {
                format!("timestamp: column `{name}` holds no time since 1970 of format '{format}'")
            }
            (Some(time), None) => format!("timestamp: column `{name}` holds {time}, a time before 1970"),
        }
    }

    /// The times; where the column is NULL one of no meaning, where a text is no time one before 1970.
    pub(crate) fn times(&self, column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
        match (SqlType::from_arrow(column.data_type()), &self.format) {
            (Some(SqlType::Bigint), _) => Ok(column.as_primitive::<Int64Type>().values().clone()),
            (Some(SqlType::Timestamp), _) => Ok(column.as_primitive::<TimestampMillisecondType>().values().clone()),
            (Some(SqlType::String), Some(format)) => {
                let texts = column.as_string::<i32>();
                let time = |row: usize| {
                    let said = texts.is_valid(row).then(|| format.read(texts.value(row))).flatten();
                    said.and_then(|s| s.timestamp(Zone::UTC)).unwrap_or(NO_TIME)
                };
                Ok((0..column.len()).map(time).collect())
            }
            _ => Err(Error::bug(format!("a row's time cannot be read from {}", column.data_type()))),
        }
    }
}
