//! The script module `regex`.

use std::collections::BTreeMap;
use std::future::Future;

use regex_automata::util::interpolate;
use regex_automata::{Match, PatternID};
use rhai::Dynamic;
use serde::Serialize;
use tokio::runtime::Handle;

use super::pattern::{Patterns, Scan, Search};
use super::too_large;
use crate::engine::natives::{self, Sizes};
use crate::engine::{Bytes, IntoScript, ScriptModule};
use crate::{CallCx, Error, ErrorKind, Result};

pub(super) fn module(blocking: &Handle) -> ScriptModule {
    let patterns = Patterns::new(blocking);
    macro_rules! searching {
        (|$search:ident $(, $param:ident: $kind:ty)*| $body:expr) => {{
            let patterns = patterns.clone();
            move |cx: CallCx, pattern: Bytes, text: Bytes $(, $param: $kind)*| {
                let search = patterns.begin(&cx, &pattern, text);
                async move { let $search = search?; $body.await }
            }
        }};
    }
    ScriptModule::new("regex")
        .doc("Patterns in text, in time linear in the text.")
        .small_answers()
        .async_function(
            "is_match(pattern: string, text: string) -> bool",
            searching!(|search| is_match(search)),
        )
        .async_function(
            "find(pattern: string, text: string) -> #{ text, start, end }",
            searching!(|search| find(search)),
        )
        .async_function(
            "find_all(pattern: string, text: string) -> array",
            searching!(|search| find_all(search)),
        )
        .async_function(
            "captures(pattern: string, text: string) -> #{ groups, names }",
            searching!(|search| captures(search)),
        )
        .async_function(
            "replace(pattern: string, text: string, with: string, limit?: int) -> string",
            searching!(|search, with: Bytes, limit: Option<i64>| replace(search, with, limit)),
        )
        .async_function(
            "split(pattern: string, text: string, limit?: int) -> array",
            searching!(|search, limit: Option<i64>| split(search, limit)),
        )
        .about("is_match", "Whether the pattern is somewhere in the text. Matching takes linear time; there are no back-references. Throws `regex.invalid_pattern`, `regex.too_large`, as all of these do.")
        .about("find", "The first match with its place in characters, or `()`.")
        .about("find_all", "Every match.")
        .about("captures", "The groups of the first match, by number and by name, or `()`.")
        .about("replace", "The text with matches replaced, all or the first `limit`; `$1` and `${name}` stand for groups.")
        .about("split", "The parts between matches.")
}

/// An answer, and the work on it in bytes.
struct Counted<T>((T, usize));

impl<T: IntoScript> IntoScript for Counted<T> {
    fn to_script(&self) -> Result<Dynamic> {
        let (answer, cost) = &self.0;
        natives::spend(*cost)?;
        answer.to_script()
    }
}

/// One match. Places are counted in characters, as everywhere in the language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    text: String,
    start: usize,
    end: usize,
}

/// What the groups of a pattern matched; `()` for those that took no part.
#[derive(Debug, Serialize)]
struct Groups {
    /// The whole match comes first.
    groups: Vec<Option<String>>,
    names: BTreeMap<String, Option<String>>,
}

/// Counts the characters up to places that come in order.
#[derive(Default)]
struct Places {
    bytes: usize,
    chars: usize,
}

impl Places {
    fn at(&mut self, text: &str, byte: usize) -> usize {
        self.chars += text.get(self.bytes..byte).unwrap_or_default().chars().count();
        self.bytes = byte;
        self.chars
    }

    fn found(&mut self, text: &str, found: Match) -> Found {
        let (start, end) = (self.at(text, found.start()), self.at(text, found.end()));
        Found { text: piece(text, found.range()), start, end }
    }
}

fn piece(text: &str, range: std::ops::Range<usize>) -> String {
    text.get(range).unwrap_or_default().to_owned()
}

/// How many matches are wanted.
fn most(limit: Option<i64>) -> Result<usize> {
    match limit.map(usize::try_from) {
        None => Ok(usize::MAX),
        Some(Ok(limit)) if limit > 0 => Ok(limit),
        _ => {
            Err(Error::invalid("regex.invalid_limit", "a limit is at least 1")
                .with("limit", limit.unwrap_or(0)))
        }
    }
}

/// Refuses an array of `length` elements that a script may not build.
fn may_hold(sizes: Sizes, length: usize) -> Result<()> {
    if length as u64 <= sizes.array {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        "regex.too_many",
        format!("there are more matches than max_array_size: {}", sizes.array),
    ))
}

async fn is_match(search: Search) -> Result<Counted<bool>> {
    search.run(false, |scan| Ok(Some(scan.pattern.regex.is_match(scan.text())))).await.map(Counted)
}

async fn find(search: Search) -> Result<Counted<Option<Found>>> {
    search
        .run(false, |scan| {
            let found = scan.pattern.regex.find(scan.text());
            Ok(Some(found.map(|found| Places::default().found(scan.text(), found))))
        })
        .await
        .map(Counted)
}

async fn find_all(search: Search) -> Result<Counted<Vec<Found>>> {
    let sizes = search.sizes;
    search
        .run(false, move |scan| {
            let (mut all, mut places) = (Vec::new(), Places::default());
            let done = scan.matches(|found| {
                may_hold(sizes, all.len() + 1)?;
                all.push(places.found(scan.text(), found));
                Ok(true)
            })?;
            Ok(done.map(|()| all))
        })
        .await
        .map(Counted)
}

async fn captures(search: Search) -> Result<Counted<Option<Groups>>> {
    search
        .run(true, |scan| {
            let mut answer = None;
            scan.captures(|captures, _| {
                let group = |index| captures.get_group(index).map(|span| piece(scan.text(), span.range()));
                let names = scan.pattern.regex.group_info().pattern_names(PatternID::ZERO);
                answer = Some(Groups {
                    groups: (0..captures.group_len()).map(group).collect(),
                    names: names
                        .enumerate()
                        .filter_map(|(index, name)| Some((name?.to_owned(), group(index))))
                        .collect(),
                });
                Ok(false)
            })?;
            Ok(Some(answer))
        })
        .await
        .map(Counted)
}

fn replace(
    search: Search,
    with: Bytes,
    limit: Option<i64>,
) -> impl Future<Output = Result<Counted<Bytes>>> + Send {
    let sizes = search.sizes;
    async move {
        let most = most(limit)?;
        super::text("regex.invalid_replacement", "the replacement", &with)?;
        // Without groups the faster search does.
        let groups = with.as_slice().contains(&b'$');
        let job = move |scan: &Scan| {
            let with = with.as_text().unwrap_or_default();
            let mut out = Replaced { scan, sizes, text: String::new(), copied: 0 };
            let mut count = 0;
            let done = match groups {
                true => scan.captures(|captures, found| {
                    out.up_to(found.start())?;
                    let group = |index: usize| captures.get_group(index).map(|span| span.range());
                    out.interpolated(with, group)?;
                    out.copied = found.end();
                    count += 1;
                    Ok(count < most)
                }),
                false => scan.matches(|found| {
                    out.up_to(found.start())?;
                    out.push(with)?;
                    out.copied = found.end();
                    count += 1;
                    Ok(count < most)
                }),
            };
            if done?.is_none() {
                return Ok(None);
            }
            out.up_to(scan.text().len())?;
            Ok(Some(Bytes::from(out.text)))
        };
        search.run(groups, job).await.map(Counted)
    }
}

/// The text of a replacement in the making.
struct Replaced<'s> {
    scan: &'s Scan,
    sizes: Sizes,
    text: String,
    /// How much of the old text is in the new one.
    copied: usize,
}

impl Replaced<'_> {
    fn room(&self, size: usize) -> Result<()> {
        // What came in may be longer than what scripts build; it may not grow further.
        if size as u64 > self.sizes.string && size > self.scan.text().len() {
            return Err(too_large(
                "regex.too_large",
                "the answer",
                size,
                "max_string_size",
                self.sizes.string,
            ));
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<()> {
        self.room(self.text.len() + text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// Appends the old text up to a match.
    fn up_to(&mut self, end: usize) -> Result<()> {
        let scan = self.scan;
        self.push(scan.text().get(self.copied..end).unwrap_or_default())
    }

    /// Appends `with`, in which `$1`, `$name` and `${name}` stand for what a group matched and `$$` for a dollar.
    fn interpolated(
        &mut self,
        with: &str,
        group: impl Fn(usize) -> Option<std::ops::Range<usize>>,
    ) -> Result<()> {
        let (scan, max) = (self.scan, self.sizes.string.max(self.scan.text().len() as u64));
        let mut refused = None;
        interpolate::string(
            with,
            |index, out| {
                let text = group(index).and_then(|range| scan.text().get(range)).unwrap_or_default();
                let size = out.len() + text.len();
                if size as u64 > max || refused.is_some() {
                    refused = Some(size);
                } else {
                    out.push_str(text);
                }
            },
            |name| scan.pattern.regex.group_info().to_index(PatternID::ZERO, name),
            &mut self.text,
        );
        match refused {
            Some(size) => self.room(size),
            None => self.room(self.text.len()),
        }
    }
}

fn split(search: Search, limit: Option<i64>) -> impl Future<Output = Result<Counted<Vec<String>>>> + Send {
    let sizes = search.sizes;
    async move {
        let most = most(limit)?;
        search
            .run(false, move |scan| {
                let (mut parts, mut start) = (Vec::new(), 0);
                let done = match most {
                    1 => Some(()),
                    _ => scan.matches(|found| {
                        may_hold(sizes, parts.len() + 2)?;
                        parts.push(piece(scan.text(), start..found.start()));
                        start = found.end();
                        Ok(parts.len() + 1 < most)
                    })?,
                };
                parts.push(piece(scan.text(), start..scan.text().len()));
                Ok(done.map(|()| parts))
            })
            .await
            .map(Counted)
    }
}
