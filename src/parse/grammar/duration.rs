//! Durations: `10 SECONDS`.

use crate::error::{Error, Result};
use crate::parse::reader::Reader;
use crate::parse::words::UNITS;

/// `10 SECONDS`, in milliseconds.
pub(super) fn duration(reader: &mut Reader<'_>) -> Result<i64> {
    let start = reader.position();
    let number = reader.count("a whole number")?;
    let unit: i64 = match reader.word(0).trim_end_matches('S') {
        "MILLISECOND" => 1,
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        _ => return reader.unexpected("a unit of time: MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS", UNITS),
    };
    reader.skip(1);
    let ms = i64::try_from(number).ok().and_then(|n| n.checked_mul(unit)).filter(|ms| *ms < i64::MAX / 4);
    ms.ok_or_else(|| Error::statement("the duration is too long").at(reader.since(start)))
}
