//! Buffers that files are read into. Their memory is not zeroed before a read, and large ones are used again.
//!
//! ```text
//! Buffer::read(file, at, len) --Arc--> the batches in it --the last one is dropped--> spare, at most SPARE_MAX of them
//! ```
//!
//! A read of a mebibyte into fresh memory costs more in page faults than in copying: the allocator returns freed memory of that
//! size to the system, which zeroes every page of it again.

use super::pruning::READ_BYTES;
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::io::{pread, retry_on_intr};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::Deref;

/// Spare buffers of the process: as many as the rounds of one query use at once (4 MiB of records, and what is read ahead).
const SPARE_MAX: usize = 6;
/// Capacity of a buffer that is used again. Smaller reads have memory of their own size, so that a record that waits in a queue
/// keeps no mebibyte.
const SPARE_BYTES: usize = READ_BYTES as usize;
/// Reads from this size on use such a buffer.
const LARGE_BYTES: usize = SPARE_BYTES / 2;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes that were read.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// Reads `len` bytes from `at`; fails where the file ends before.
    pub(super) fn read(file: &File, at: u64, len: usize) -> Result<Buffer> {
        let mut buffer = Buffer::with_capacity(len);
        let bytes = &mut buffer.0;
        while bytes.len() < len {
            let position = at + bytes.len() as u64;
            if retry_on_intr(|| pread(file, spare_capacity(bytes), position))? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer"));
            }
        }
        // There may be room for more than what is wanted, and more in the file than what is committed.
        bytes.truncate(len);
        Ok(buffer)
    }

    fn with_capacity(len: usize) -> Buffer {
        let spare = if is_large(len) { SPARE.lock().pop() } else { None };
        Buffer(spare.unwrap_or_else(|| Vec::with_capacity(if is_large(len) { SPARE_BYTES } else { len })))
    }
}

fn is_large(len: usize) -> bool {
    (LARGE_BYTES..=SPARE_BYTES).contains(&len)
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer(bytes)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() == SPARE_BYTES {
            let mut spare = SPARE.lock();
            if spare.len() < SPARE_MAX {
                self.0.clear();
                spare.push(std::mem::take(&mut self.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_buffer_holds_what_was_asked_for_whatever_was_in_its_memory_before() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3 * SPARE_BYTES).map(|n| (n % 251) as u8).collect();
        file.write_all(&content).unwrap();
        for (at, len) in
            [(0, SPARE_BYTES), (7, LARGE_BYTES), (1, LARGE_BYTES - 1), (0, 0), (5, 2 * SPARE_BYTES), (9, 10)]
        {
            let buffer = Buffer::read(&file, at as u64, len).unwrap();
            assert_eq!(*buffer, content[at..at + len], "{len} bytes at {at}");
        }
        let error = Buffer::read(&file, content.len() as u64 - 3, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn only_so_many_buffers_are_kept() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SPARE_BYTES as u64).unwrap();
        let used: Vec<Buffer> = (0..2 * SPARE_MAX).map(|_| Buffer::read(&file, 0, SPARE_BYTES).unwrap()).collect();
        drop(used);
        assert!(SPARE.lock().len() <= SPARE_MAX);
    }
}
