//! DATE, TIME and TIMESTAMP.

use super::Param::Is;
use super::kernel::unary;
use super::{Entry, Implementation, Overload, Param, Returns};
use crate::types::SqlType::{Bigint, Date, Integer, Timestamp};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMillisecondType};

const DATE_TIME: &str = "DATE / TIME";

const fn overload(params: &'static [Param], returns: Returns, implementation: Implementation) -> Overload {
    Overload { params, variadic: false, returns, can_fail: false, implementation }
}

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "FROM_UNIXTIME",
        category: DATE_TIME,
        description: "Converts milliseconds since 1970-01-01 into a TIMESTAMP.",
        overloads: &[overload(&[Is(Bigint)], Returns::Type(Timestamp), |a, _, _| {
            unary::<Int64Type, TimestampMillisecondType>(a, |ms| ms)
        })],
    },
    Entry {
        name: "UNIX_TIMESTAMP",
        category: DATE_TIME,
        description: "Converts a TIMESTAMP into milliseconds since 1970-01-01.",
        overloads: &[overload(&[Is(Timestamp)], Returns::Type(Bigint), |a, _, _| {
            unary::<TimestampMillisecondType, Int64Type>(a, |ms| ms)
        })],
    },
    Entry {
        name: "FROM_DAYS",
        category: DATE_TIME,
        description: "Converts days since 1970-01-01 into a DATE.",
        overloads: &[overload(&[Is(Integer)], Returns::Type(Date), |a, _, _| {
            unary::<Int32Type, Date32Type>(a, |days| days)
        })],
    },
    Entry {
        name: "UNIX_DATE",
        category: DATE_TIME,
        description: "Converts a DATE into days since 1970-01-01.",
        overloads: &[overload(&[Is(Date)], Returns::Type(Integer), |a, _, _| {
            unary::<Date32Type, Int32Type>(a, |days| days)
        })],
    },
];
