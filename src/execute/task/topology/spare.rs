//! Things with buffers of their own, such as decoders, for workers that need one each for a moment.

use crate::error::Result;
use parking_lot::Mutex;
use std::fmt;

/// As many of a thing as were ever needed at once.
pub(crate) struct Spare<T> {
    kept: Mutex<Vec<T>>,
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
}

impl<T> fmt::Debug for Spare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").field("kept", &self.kept.lock().len()).finish_non_exhaustive()
    }
}

impl<T> Spare<T> {
    /// Makes the first one, so that an error in it is found at once.
    pub(crate) fn new(make: impl Fn() -> Result<T> + Send + Sync + 'static) -> Result<Spare<T>> {
        let first = make()?;
        Ok(Spare { kept: Mutex::new(vec![first]), make: Box::new(make) })
    }

    /// Uses one. After an error, in the middle of which its buffers may be, it is not used again.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let spare = self.kept.lock().pop();
        let mut one = match spare {
            Some(one) => one,
            None => (self.make)()?,
        };
        let result = work(&mut one)?;
        self.kept.lock().push(one);
        Ok(result)
    }
}
