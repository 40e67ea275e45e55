//! A record of a topic, ready to be shown.

use super::decode::BadPart;
use crate::log::Header;
use serde_json::Value;

/// A record, ready to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordLine {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970; `None` = it has no time.
    pub time: Option<i64>,
    /// Key and value, decoded; `None` = null, or bad.
    pub key: Option<Value>,
    /// See `key`.
    pub value: Option<Value>,
    /// Start and end of the window of its key; a time window without a size has no end here.
    pub window: Option<(i64, i64)>,
    /// Bytes of the key; `None` = null.
    pub key_raw: Option<Vec<u8>>,
    /// Bytes of the value; `None` = null.
    pub value_raw: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// Why it cannot be decoded as was asked.
    pub bad: Option<BadPart>,
}

impl RecordLine {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|header| header.key.len() + length(&header.value)).sum();
        length(&self.key_raw) + length(&self.value_raw) + headers
    }
}
