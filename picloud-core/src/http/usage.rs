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
    buffered: Mutex<usize>,
    max_requests: usize,
    max_buffered: usize,
}

impl Usage {
    pub(super) fn new(max_requests: usize, max_buffered: usize) -> Self {
        Usage { requests: Mutex::default(), buffered: Mutex::new(0), max_requests, max_buffered }
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
        Buffer { usage: self.usage.clone(), bytes: Vec::new(), max }
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
        if *buffered + piece.len() > self.usage.max_buffered {
            return Err(HttpError::TooManyRequests);
        }
        *buffered += piece.len();
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
        *self.usage.buffered.lock().unwrap_or_else(PoisonError::into_inner) -= count;
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
        assert_eq!(*usage.buffered.lock().unwrap(), 0);
    }
}
