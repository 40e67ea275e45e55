//! All rows of one commit, while the next ones are put in: references to the pages and chunks that a store had.

use super::shape::Shape;
use super::store::{FREE, Found, PAGE, Page, Store, row};
use crate::plan::WindowBounds;
use std::sync::Arc;

/// All rows of one commit, to be read piece by piece.
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<Part>,
    /// Part and page that come next.
    at: (usize, usize),
}

/// What one store had.
#[derive(Debug)]
struct Part {
    shape: Shape,
    pages: Vec<Page>,
    chunks: Vec<Option<Arc<Vec<u8>>>>,
    newest: Vec<i64>,
}

impl Snapshot {
    /// All rows as they are now.
    pub(super) fn of(stores: &[Store]) -> Snapshot {
        let part = |store: &Store| Part {
            shape: store.shape,
            pages: store.pages.clone(),
            chunks: store.chunks.iter().map(|c| c.as_ref().map(|c| c.bytes.clone())).collect(),
            newest: store.newest.clone(),
        };
        Snapshot { parts: stores.iter().map(part).collect(), at: (0, 0) }
    }

    /// Hands out the next rows, about so many; `false` = there are no more.
    pub fn next(&mut self, rows: usize, bounds: &WindowBounds, found: &mut dyn FnMut(Found<'_>)) -> bool {
        let mut pages = rows.div_ceil(PAGE).max(1);
        while let Some(part) = self.parts.get(self.at.0) {
            let end = (self.at.1 + pages).min(part.pages.len());
            part.pages[self.at.1..end].iter().for_each(|page| part.page(page, bounds, found));
            pages -= end - self.at.1;
            self.at.1 = end;
            if pages == 0 {
                break;
            }
            self.at = (self.at.0 + 1, 0);
        }
        self.at.0 < self.parts.len()
    }
}

impl Part {
    fn page(&self, page: &Page, bounds: &WindowBounds, found: &mut dyn FnMut(Found<'_>)) {
        for entry in page.iter().filter(|e| e.chunk != FREE) {
            let Some(Some(bytes)) = self.chunks.get(entry.chunk as usize) else { continue };
            if let Some((_, row)) = row(&self.shape, &self.newest, entry, bytes, bounds) {
                found(row);
            }
        }
    }
}
