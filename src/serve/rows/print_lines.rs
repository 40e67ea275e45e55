//! PRINT's records as lines of text, the way ksqlDB sends them.
//!
//! ```text
//! Key format: KAFKA_STRING
//! Value format: JSON
//! rowtime: 2026/11/21 10:00:00.000 Z, key: porsche, value: {"SPEED":201.5}, partition: 0
//! ```
//!
//! The first two lines are repeated whenever the inferred formats change.

use crate::types::temporal::timestamp_text;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Int32Type, TimestampMillisecondType};

/// The format lines that have been sent.
#[derive(Debug, Default)]
pub(crate) struct Formats(Vec<String>);

impl Formats {
    /// Appends those that are new.
    pub(crate) fn update(&mut self, now: &str, out: &mut Vec<u8>) {
        let now: Vec<String> = now.lines().map(str::to_owned).collect();
        for line in now.iter().filter(|line| !self.0.contains(line)) {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        self.0 = now;
    }
}

/// Appends a record: the columns are those of PRINT's rows.
pub(crate) fn line(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
    let [times, keys, values, partitions, ..] = columns else { return };
    let time = timestamp_text(times.as_primitive::<TimestampMillisecondType>().value(row));
    let text = |column: &ArrayRef| match column.is_null(row) {
        true => "<null>".to_owned(),
        false => column.as_string::<i32>().value(row).to_owned(),
    };
    let partition = partitions.as_primitive::<Int32Type>().value(row);
    let time = time.replace('-', "/").replace('T', " ");
    let line = format!("rowtime: {time} Z, key: {}, value: {}, partition: {partition}\n", text(keys), text(values));
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_when_it_changes() {
        let (mut formats, mut out) = (Formats::default(), Vec::new());
        let text = |key: &str| format!("Key format: {key}\nValue format: JSON");
        for key in ["KAFKA_STRING", "KAFKA_STRING", "KAFKA_INT or KAFKA_STRING"] {
            formats.update(&text(key), &mut out);
        }
        let told = "Key format: KAFKA_STRING\nValue format: JSON\nKey format: KAFKA_INT or KAFKA_STRING\n";
        assert_eq!(String::from_utf8(out).unwrap(), told);
    }
}
