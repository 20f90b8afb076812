//! What requests under way use of the process: their number per app, and the memory of answers that are being read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::HttpError;
use crate::AppId;

/// Counts what is under way.
#[derive(Debug)]
pub(super) struct Usage {
    requests: Mutex<HashMap<AppId, usize>>,
    buffered: Mutex<Buffered>,
    max_requests: usize,
    max_buffered: usize,
}

/// Bytes of answers, in all and by app.
#[derive(Debug, Default)]
struct Buffered {
    all: usize,
    apps: HashMap<AppId, usize>,
}

/// What one app may use of the memory for answers: a quarter, but no less than one answer needs.
fn share_of(max_buffered: usize) -> usize {
    (max_buffered / 4).max(10 * 1024 * 1024)
}

impl Usage {
    pub(super) fn new(max_requests: usize, max_buffered: usize) -> Self {
        Usage { requests: Mutex::default(), buffered: Mutex::default(), max_requests, max_buffered }
    }

    /// A place for a request of `app`, until it is dropped.
    pub(super) fn enter(self: &Arc<Self>, app: AppId) -> Result<Place, HttpError> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = requests.entry(app).or_default();
        if *count >= self.max_requests {
            return Err(HttpError::TooManyRequests);
        }
        *count += 1;
        Ok(Place { usage: self.clone(), app })
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Place {
    usage: Arc<Usage>,
    app: AppId,
}

impl Place {
    /// An empty buffer for at most `max` bytes of an answer.
    pub(super) fn buffer(&self, max: usize) -> Buffer {
        Buffer { usage: self.usage.clone(), app: self.app, bytes: Vec::new(), max }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut requests = self.usage.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = requests.get_mut(&self.app) {
            *count -= 1;
            if *count == 0 {
                requests.remove(&self.app);
            }
        }
    }
}

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Buffer {
    usage: Arc<Usage>,
    app: AppId,
    bytes: Vec<u8>,
    max: usize,
}

impl Buffer {
    /// Adds a piece, if it fits.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), HttpError> {
        if self.bytes.len() + piece.len() > self.max {
            return Err(HttpError::ResponseTooLarge(self.max));
        }
        let mut buffered = self.usage.buffered.lock().unwrap_or_else(PoisonError::into_inner);
        let max = self.usage.max_buffered;
        let of_app = buffered.apps.get(&self.app).copied().unwrap_or_default() + piece.len();
        if buffered.all + piece.len() > max || of_app > share_of(max) {
            return Err(HttpError::TooManyRequests);
        }
        buffered.all += piece.len();
        buffered.apps.insert(self.app, of_app);
        drop(buffered);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The whole of it. It no longer counts: from here on it is the script's.
    pub(super) fn finish(mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.bytes);
        self.release(bytes.len());
        Bytes::from(bytes)
    }

    fn release(&self, count: usize) {
        let mut buffered = self.usage.buffered.lock().unwrap_or_else(PoisonError::into_inner);
        buffered.all -= count;
        if let Some(of_app) = buffered.apps.get_mut(&self.app) {
            *of_app -= count;
            if *of_app == 0 {
                buffered.apps.remove(&self.app);
            }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_app_and_given_back() {
        let usage = Arc::new(Usage::new(2, 0));
        let (one, other) = (AppId::new(), AppId::new());
        let first = usage.enter(one).unwrap();
        let _second = usage.enter(one).unwrap();
        assert_eq!(usage.enter(one).unwrap_err(), HttpError::TooManyRequests);
        assert!(usage.enter(other).is_ok());
        drop(first);
        assert!(usage.enter(one).is_ok());
        assert_eq!(usage.requests.lock().unwrap().len(), 1, "what is idle is forgotten");
    }

    #[test]
    fn answers_share_their_memory_and_give_it_back() {
        let usage = Arc::new(Usage::new(2, 10));
        let place = usage.enter(AppId::new()).unwrap();
        let (mut one, mut other) = (place.buffer(8), place.buffer(8));
        one.push(b"12345678").unwrap();
        assert_eq!(one.push(b"9").unwrap_err(), HttpError::ResponseTooLarge(8));
        assert_eq!(other.push(b"123").unwrap_err(), HttpError::TooManyRequests);
        assert_eq!(one.finish(), "12345678");
        other.push(b"123").unwrap();
        drop(other);
        let buffered = usage.buffered.lock().unwrap();
        assert_eq!((buffered.all, buffered.apps.len()), (0, 0));
    }

    #[test]
    fn one_app_does_not_get_all_of_the_memory() {
        const MIB: usize = 1024 * 1024;
        let usage = Arc::new(Usage::new(8, 64 * MIB));
        let (one, other) = (usage.enter(AppId::new()).unwrap(), usage.enter(AppId::new()).unwrap());
        let mut mine = one.buffer(64 * MIB);
        mine.push(&vec![0; 16 * MIB]).unwrap();
        assert_eq!(mine.push(&[0]).unwrap_err(), HttpError::TooManyRequests);
        other.buffer(MIB).push(&[0]).unwrap();
        drop(mine);
        one.buffer(MIB).push(&[0]).unwrap();
    }
}
