//! States of variable size: a word of a group holds the handle of a byte string here.
//!
//! ```text
//! words of a group:  | rowtime | tags | COLLECT_LIST: handle, items |       heap:  handle 1 -> 0500000061...
//! ```
//!
//! Words are saved before a group's first change in an epoch, and put back by an abort. That is all an abort needs to do
//! for the bytes too, because a byte string that a saved word names is never changed: the first change in a *generation*
//! goes to a copy, later ones in place. A generation ends with every commit and abort, and with an emission that has looked
//! at old values.
//!
//! It also counts the rows that arrived: which of two values came first is asked when sessions merge. Whoever steps through
//! batches calls [`Heap::advance`] after each.

/// Byte strings looked at to estimate the size of all: their lengths change in place, where no sum is kept.
const SAMPLED_BLOBS: usize = 1024;

/// Byte strings by handle.
#[derive(Debug)]
pub struct Heap {
    blobs: Vec<Blob>,
    /// Places in `blobs` to which no word points.
    free: Vec<u32>,
    /// Made since the last commit: an abort drops them.
    made: Vec<u32>,
    /// Replaced by a copy since the last commit: a commit drops them.
    replaced: Vec<u32>,
    generation: u32,
    arrivals: i64,
    committed_arrivals: i64,
}

#[derive(Debug)]
struct Blob {
    generation: u32,
    bytes: Vec<u8>,
}

impl Default for Heap {
    fn default() -> Heap {
        Heap {
            blobs: Vec::new(),
            free: Vec::new(),
            made: Vec::new(),
            replaced: Vec::new(),
            generation: 1,
            arrivals: 0,
            committed_arrivals: 0,
        }
    }
}

impl Heap {
    /// Memory that it takes: exact up to [`SAMPLED_BLOBS`] byte strings, beyond that an estimate from as many of them.
    pub fn size(&self) -> usize {
        let step = self.blobs.len().div_ceil(SAMPLED_BLOBS).max(1);
        let sampled: usize = self.blobs.iter().step_by(step).map(|blob| blob.bytes.capacity()).sum();
        self.blobs.capacity() * size_of::<Blob>() + sampled * step
    }

    /// The bytes behind a handle; 0 names none.
    #[inline]
    pub fn get(&self, handle: i64) -> &[u8] {
        if handle == 0 { &[] } else { &self.blobs[handle as usize - 1].bytes }
    }

    /// The bytes behind a handle, to be changed; the handle may become another one.
    #[inline]
    pub fn edit(&mut self, handle: &mut i64) -> &mut Vec<u8> {
        if *handle == 0 {
            *handle = self.make(Vec::new());
        } else if self.blobs[*handle as usize - 1].generation != self.generation {
            let bytes = self.blobs[*handle as usize - 1].bytes.clone();
            self.replaced.push(*handle as u32 - 1);
            *handle = self.make(bytes);
        }
        &mut self.blobs[*handle as usize - 1].bytes
    }

    /// A handle for these bytes.
    pub fn make(&mut self, bytes: Vec<u8>) -> i64 {
        let blob = Blob { generation: self.generation, bytes };
        let place = match self.free.pop() {
            Some(place) => {
                self.blobs[place as usize] = blob;
                place
            }
            None => {
                self.blobs.push(blob);
                self.blobs.len() as u32 - 1
            }
        };
        self.made.push(place);
        i64::from(place) + 1
    }

    /// The group that held the handle is gone, and no abort will want it back.
    pub fn drop_handle(&mut self, handle: i64) {
        if handle != 0 {
            self.release(handle as u32 - 1);
        }
    }

    /// From here on nothing that exists is changed in place.
    pub fn freeze(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The number of a row of the present batch; the first of all is 1. It does not depend on how rows came in batches.
    #[inline]
    pub fn arrival(&self, row: usize) -> i64 {
        self.arrivals + row as i64 + 1
    }

    /// A batch of so many rows is done.
    pub fn advance(&mut self, rows: usize) {
        self.arrivals += rows as i64;
    }

    /// How many rows arrived in all batches that are done.
    pub fn arrivals(&self) -> i64 {
        self.arrivals
    }

    /// Goes on counting after so many arrivals, all of them committed.
    pub fn set_arrivals(&mut self, arrivals: i64) {
        (self.arrivals, self.committed_arrivals) = (arrivals, arrivals);
    }

    /// What was done since the last commit is durable.
    pub fn commit(&mut self) {
        self.made.clear();
        for place in std::mem::take(&mut self.replaced) {
            self.release(place);
        }
        self.committed_arrivals = self.arrivals;
        self.freeze();
    }

    /// What was done since the last commit is undone; the holders of words restore them.
    pub fn abort(&mut self) {
        self.replaced.clear();
        for place in std::mem::take(&mut self.made) {
            self.release(place);
        }
        self.arrivals = self.committed_arrivals;
        self.freeze();
    }

    fn release(&mut self, place: u32) {
        self.blobs[place as usize].bytes = Vec::new();
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_handle_keeps_its_bytes_until_the_commit() {
        let mut heap = Heap::default();
        let mut handle = 0;
        heap.edit(&mut handle).push(1);
        heap.commit();
        let saved = handle;
        heap.edit(&mut handle).push(2);
        heap.edit(&mut handle).push(3);
        assert_eq!((heap.get(saved), heap.get(handle)), (&[1u8][..], &[1u8, 2, 3][..]));
        heap.abort();
        handle = saved;
        assert_eq!(heap.get(handle), [1]);
        heap.edit(&mut handle).push(4);
        heap.commit();
        assert_eq!(heap.get(handle), [1, 4]);
        // One place is free again, and is used.
        assert_eq!(heap.make(vec![9]), saved);
    }
}
