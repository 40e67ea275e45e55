//! Files for what a batch query cannot keep in memory: nameless ones of the process' scratch directory.
//!
//! What all queries put there together has a bound, and the disk keeps a floor of free space.
//! A file that has no name is gone with the query, also where the process is killed, and a query that needs none makes none.

use super::nodes::external;
use crate::execute::state::spill_pool::SpillPool;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Makes a query's files.
pub(super) struct Spill {
    spill_pool: Arc<SpillPool>,
}

impl Spill {
    pub(super) fn new(spill_pool: &Arc<SpillPool>) -> Spill {
        Spill { spill_pool: spill_pool.clone() }
    }
}

impl TempFileFactory for Spill {
    fn create_temp_file(&self, _: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.spill_pool.file().map_err(external)?;
        let len = Arc::new(AtomicU64::new(0));
        Ok(Arc::new(Spilled { file: Arc::new(file), len, spill_pool: self.spill_pool.clone() }))
    }
}

/// One file.
struct Spilled {
    file: Arc<File>,
    len: Arc<AtomicU64>,
    spill_pool: Arc<SpillPool>,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.spill_pool.release(self.len.load(Ordering::Relaxed));
    }
}

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.len.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let (file, end) = (self.file.clone(), self.len.load(Ordering::Relaxed));
        let read = move |at: u64| {
            let mut part = vec![0; usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES)];
            file.read_exact_at(&mut part, at)?;
            Ok(Bytes::from(part))
        };
        let parts = (0..end).step_by(READ_BYTES).map(read);
        Ok(Box::pin(futures::stream::iter(parts)))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writing { file: self.file.clone(), len: self.len.clone(), spill_pool: self.spill_pool.clone() }))
    }
}

struct Writing {
    file: Arc<File>,
    len: Arc<AtomicU64>,
    spill_pool: Arc<SpillPool>,
}

impl Write for Writing {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let len = part.len() as u64;
        // An error of a writer is a text: it names the setting itself.
        self.spill_pool
            .reserve(len)
            .map_err(|e| io::Error::other(format!("{}; {}", e, e.hint().unwrap_or_default())))?;
        if let Err(e) = self.file.write_all_at(part, self.len.load(Ordering::Relaxed)) {
            self.spill_pool.release(len);
            return Err(e);
        }
        self.len.fetch_add(len, Ordering::Relaxed);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writing {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
