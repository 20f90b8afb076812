//! Patterns: compiled within bounds, kept within bounds, searched for within bounds.
//!
//! A search takes time linear in the text, but the factor is how many states the pattern has, and nothing can interrupt
//! it between two matches. So the product of both is bounded, and what may take longer than a moment is done on a thread
//! for blocking work while the script is suspended.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson;
use regex_automata::util::captures::Captures;
use regex_automata::util::iter::Searcher;
use regex_automata::{Input, Match};
use regex_syntax::ParserBuilder;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{text, within};
use crate::engine::Bytes;
use crate::engine::natives::{self, Sizes};
use crate::{CallCx, Error, ErrorKind, Result};

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Longest text that is searched, in bytes.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// Most memory of each automaton of a pattern. `\w` alone takes 60 KiB, since it knows all letters there are.
const MAX_AUTOMATON_BYTES: usize = 512 << 10;
/// Patterns that are kept compiled, for all apps together: some tens of MiB at worst.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Most steps of one pass over the text, at worst: states times bytes. About a second.
const MAX_STEPS: usize = 1 << 28;
/// Steps of one pass that are taken on the thread of the script: less than a millisecond.
const STEPS_IN_PLACE: usize = 1 << 18;
/// How long the thread of the script looks for further matches before it leaves that to another.
const TIME_IN_PLACE: Duration = Duration::from_micros(200);
/// How long all passes together may take.
const LONGEST: Duration = Duration::from_secs(1);
/// Steps that count as one operation of the script.
const STEPS_PER_OPERATION: usize = 16 << 10;
/// Searches that leave the thread of their script, at once. Others wait for their turn, up to their deadline.
const ELSEWHERE: usize = 2;

/// A compiled pattern.
pub(super) struct Pattern {
    pub(super) regex: Regex,
    states: usize,
}

impl Pattern {
    fn compile(source: &str) -> Result<Self> {
        let hir = ParserBuilder::new()
            .nest_limit(64)
            .build()
            .parse(source)
            .map_err(|error| malformed(source, &error))?;
        let too_big = || {
            Error::new(
                ErrorKind::TooLarge,
                "regex.too_large",
                format!("the pattern takes more than {MAX_AUTOMATON_BYTES} bytes compiled: repeat less, or use ASCII classes such as [0-9] and (?-u:\\w)"),
            )
            .with("pattern", source)
        };
        let limit = Some(MAX_AUTOMATON_BYTES);
        let states = thompson::NFA::compiler()
            .configure(thompson::NFA::config().nfa_size_limit(limit))
            .build_from_hir(&hir)
            .map_err(|_| too_big())?
            .states()
            .len();
        let config = meta::Config::new()
            .nfa_size_limit(limit)
            .onepass_size_limit(limit)
            .hybrid_cache_capacity(MAX_AUTOMATON_BYTES)
            .dfa(false);
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|_| too_big())?;
        Ok(Pattern { regex, states })
    }
}

/// What is wrong with a pattern, and where in it.
fn malformed(source: &str, error: &regex_syntax::Error) -> Error {
    let (why, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span().start)),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span().start)),
        _ => (error.to_string(), None),
    };
    let told = Error::invalid("regex.invalid_pattern", why).with("pattern", source);
    match at {
        Some(at) => told.with("line", at.line).with("column", at.column),
        None => told,
    }
}

/// The compiled patterns, and where the long searches are done.
pub(super) struct Patterns {
    kept: Mutex<LruCache<Box<str>, Arc<Pattern>>>,
    elsewhere: Arc<Semaphore>,
    blocking: Handle,
}

impl Patterns {
    pub(super) fn new(blocking: &Handle) -> Arc<Self> {
        Arc::new(Patterns {
            kept: Mutex::new(LruCache::new(KEPT)),
            elsewhere: Arc::new(Semaphore::new(ELSEWHERE)),
            blocking: blocking.clone(),
        })
    }

    /// Checks what a search is asked for. Called where the script is: the limits are those of its execution.
    pub(super) fn begin(self: &Arc<Self>, cx: &CallCx, pattern: &Bytes, haystack: Bytes) -> Result<Search> {
        let pattern = text("regex.invalid_pattern", "the pattern", pattern)?;
        within("regex.too_large", "the pattern", pattern.len(), MAX_PATTERN_BYTES)?;
        within("regex.too_large", "the text", haystack.as_slice().len(), MAX_TEXT_BYTES)?;
        text("regex.invalid_text", "the text", &haystack)?;
        natives::spend(haystack.as_slice().len())?;
        Ok(Search {
            patterns: Arc::clone(self),
            pattern: pattern.into(),
            text: haystack,
            deadline: cx.deadline(),
            sizes: Sizes::current(),
        })
    }

    async fn compiled(&self, source: &str) -> Result<Arc<Pattern>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned();
        if let Some(pattern) = kept {
            return Ok(pattern);
        }
        let owned = source.to_owned();
        let pattern = Arc::new(self.elsewhere(move || Pattern::compile(&owned)).await?);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(source.into(), pattern.clone());
        Ok(pattern)
    }

    /// Works on a thread where that stops nobody.
    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let ended = || Error::new(ErrorKind::Closed, "closed", "this node is shutting down");
        let permit = self.elsewhere.clone().acquire_owned().await.map_err(|_| ended())?;
        let done = self.blocking.spawn_blocking(move || {
            // Given back when the work ends, also if nobody waits for it any more.
            let _permit = permit;
            work()
        });
        done.await.map_err(|error| ended().caused_by(error))?
    }
}

/// A search that is about to begin.
pub(super) struct Search {
    patterns: Arc<Patterns>,
    pattern: Box<str>,
    text: Bytes,
    deadline: Option<Instant>,
    pub(super) sizes: Sizes,
}

impl Search {
    /// Does `job`, which may be begun twice. `groups` says that it asks what the groups of the pattern matched, which takes
    /// longer. Answers the number of bytes to be counted beside the answer.
    pub(super) async fn run<T, J>(self, groups: bool, job: J) -> Result<(T, usize)>
    where
        T: Send + 'static,
        J: Fn(&Scan) -> Result<Option<T>> + Send + 'static,
    {
        let pattern = self.patterns.compiled(&self.pattern).await?;
        let factor = if groups { pattern.regex.captures_len().max(1) } else { 1 };
        let steps = self.text.as_slice().len().saturating_mul(pattern.states).saturating_mul(factor);
        if steps > MAX_STEPS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "regex.too_costly",
                format!(
                    "a pattern of {} states and {factor} groups, times a text of {} bytes, is more than {MAX_STEPS} steps",
                    pattern.states,
                    self.text.as_slice().len()
                ),
            )
            .with("pattern", &self.pattern));
        }
        let cost = steps / STEPS_PER_OPERATION * natives::BYTES_PER_OPERATION;
        let now = Instant::now();
        let mut scan = Scan { pattern, text: self.text, until: now + TIME_IN_PLACE };
        if steps <= STEPS_IN_PLACE
            && let Some(done) = job(&scan)?
        {
            return Ok((done, cost));
        }
        let (source, deadline) = (self.pattern, self.deadline);
        let work = move || {
            let until = Instant::now() + LONGEST;
            scan.until = deadline.map_or(until, |deadline| deadline.min(until));
            job(&scan)?.ok_or_else(|| {
                Error::new(
                    ErrorKind::TooLarge,
                    "regex.too_costly",
                    format!("the search took longer than {LONGEST:?}"),
                )
                .with("pattern", source)
            })
        };
        Ok((self.patterns.elsewhere(work).await?, cost))
    }
}

/// A search under way.
pub(super) struct Scan {
    pub(super) pattern: Arc<Pattern>,
    text: Bytes,
    until: Instant,
}

impl Scan {
    pub(super) fn text(&self) -> &str {
        // Checked when the search began.
        self.text.as_text().unwrap_or_default()
    }

    /// Hands each match to `each` until that answers `false`. Answers `None` if the time is up before.
    pub(super) fn matches(&self, mut each: impl FnMut(Match) -> Result<bool>) -> Result<Option<()>> {
        let mut searcher = Searcher::new(Input::new(self.text()));
        while let Some(found) = searcher.advance(|input| Ok(self.pattern.regex.search(input))) {
            if !each(found)? {
                break;
            }
            if Instant::now() >= self.until {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// As [`matches`](Self::matches), with what the groups matched.
    pub(super) fn captures(
        &self,
        mut each: impl FnMut(&Captures, Match) -> Result<bool>,
    ) -> Result<Option<()>> {
        let mut captures = self.pattern.regex.create_captures();
        let mut searcher = Searcher::new(Input::new(self.text()));
        while let Some(found) = searcher.advance(|input| {
            self.pattern.regex.search_captures(input, &mut captures);
            Ok(captures.get_match())
        }) {
            if !each(&captures, found)? {
                break;
            }
            if Instant::now() >= self.until {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }
}
