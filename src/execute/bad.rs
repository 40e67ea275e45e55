//! Rows that could not be processed, and why. Many rows have one reason in common: it is kept once.

/// Why a row was not processed. The log writer makes text of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Intake record.
    pub seq: u64,
    /// What failed, for the processing log.
    pub reason: String,
}

/// Bad rows in the order in which they were noted.
#[derive(Clone, Debug, Default)]
pub struct BadRows {
    /// `seq`, and which reason.
    rows: Vec<(u64, u32)>,
    reasons: Vec<String>,
}

impl BadRows {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One more.
    pub fn push(&mut self, row: BadRow) {
        self.extend([row.seq], row.reason);
    }

    /// Rows with a common reason.
    pub(super) fn extend(&mut self, seqs: impl IntoIterator<Item = u64>, reason: String) {
        let number = self.reasons.len() as u32;
        self.reasons.push(reason);
        self.rows.extend(seqs.into_iter().map(|seq| (seq, number)));
    }

    /// All of another's, which is empty then.
    pub fn append(&mut self, other: &mut BadRows) {
        let shift = self.reasons.len() as u32;
        self.reasons.append(&mut other.reasons);
        self.rows.extend(other.rows.drain(..).map(|(seq, reason)| (seq, reason + shift)));
    }

    /// Puts those from the `from`-th on in the order of their `seq`; those of one `seq` stay as they were noted.
    pub(super) fn sort(&mut self, from: usize) {
        if !self.rows[from..].is_sorted_by_key(|row| row.0) {
            self.rows[from..].sort_by_key(|row| row.0);
        }
    }

    /// `seq` and reason of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> + '_ {
        self.rows.iter().map(|&(seq, reason)| (seq, self.reasons[reason as usize].as_str()))
    }
}
