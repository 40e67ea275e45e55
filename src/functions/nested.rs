//! Arrays and maps.

use super::Entry;

pub(super) static ENTRIES: &[Entry] = &[];
