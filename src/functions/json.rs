//! JSON inside strings.

use super::Entry;

pub(super) static ENTRIES: &[Entry] = &[];
