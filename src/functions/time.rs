//! DATE, TIME and TIMESTAMP.

use super::Entry;

pub(super) static ENTRIES: &[Entry] = &[];
