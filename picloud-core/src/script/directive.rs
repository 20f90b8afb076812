//! Directive lines: what a script says about itself at its top, `//! route GET /greet/:name`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::FromStr;

use crate::CollectionName;
use crate::dead_letters::DeadLetterTrigger;
use crate::docs::filter::Path;
use crate::engine::MAX_TIMEOUT_SECONDS;
use crate::execution::Position;
use crate::outbox::EventKind;
use crate::pubsub::PubsubTrigger;
use crate::queue::QueueTrigger;
use crate::route::{DispatchMode, HostPattern, PatternError, RouteMethod, RoutePatterns};
use crate::trigger::{CollectionOp, CollectionTrigger, CronTrigger, Missed, TriggerKind};

/// What the directives of one source ask for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Directives {
    pub(crate) routes: Vec<RouteDirective>,
    pub(crate) triggers: Vec<TriggerDirective>,
    pub(crate) indexes: Vec<IndexDirective>,
    pub(crate) timeout_seconds: Option<u32>,
    /// Whether the script is a module.
    pub(crate) is_module: bool,
}

/// `//! route METHOD [HOST]/PATH`.
#[derive(Debug, PartialEq)]
pub(crate) struct RouteDirective {
    pub(crate) method: RouteMethod,
    pub(crate) host: Option<String>,
    pub(crate) path: String,
    pub(crate) dispatch_mode: DispatchMode,
    /// Where the pattern stands.
    pub(crate) at: Position,
}

/// `//! on kv GLOB [OPS]` and the like.
#[derive(Debug, PartialEq)]
pub(crate) struct TriggerDirective {
    pub(crate) kind: TriggerKind,
    /// Where what it watches stands.
    pub(crate) at: Position,
}

/// `//! index COLLECTION FIELD`.
#[derive(Debug, PartialEq)]
pub(crate) struct IndexDirective {
    pub(crate) collection: CollectionName,
    pub(crate) path: Path,
    /// Where the field stands.
    pub(crate) at: Position,
}

/// A directive that cannot be followed.
#[derive(Debug, PartialEq)]
pub(crate) struct Mistake {
    pub(crate) at: Position,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl Mistake {
    /// What is wrong with what stands there.
    fn of(at: Position, error: &crate::Error) -> Self {
        Mistake { at, code: error.code().to_owned().into(), message: error.message().to_owned() }
    }
}

/// Most directives of one script.
pub const MAX_DIRECTIVES: usize = 256;

/// Words that begin a directive of a later version: named so that nobody searches for a typing error.
const LATER: [&str; 1] = ["every"];

/// Sources of events of a later version.
const LATER_SOURCES: [&str; 1] = ["email"];

/// Reads the directives at the top of a source. Blank lines and comments may stand between them; the first other
/// line ends them. Every mistake is reported, not just the first.
pub(crate) fn parse(source: &str) -> (Directives, Vec<Mistake>) {
    let (mut directives, mut mistakes) = (Directives::default(), Vec::new());
    let (mut at_top, mut count) = (true, 0);
    // What a module cannot have, with its place.
    let mut of_endpoint: Vec<(String, Position)> = Vec::new();
    let mut indexed = HashSet::new();
    for (index, text) in source.lines().enumerate() {
        let mut line = Line::new(index, text);
        let Some(rest) = text.trim_start().strip_prefix("//!") else {
            let text = text.trim();
            at_top &= text.is_empty() || text.starts_with("//") || (index == 0 && text.starts_with("#!"));
            continue;
        };
        line.skip_to(rest);
        let Some(word) = line.next() else { continue };
        let known = matches!(word.text, "route" | "on" | "cron" | "queue" | "index" | "timeout" | "module");
        if !at_top {
            // Below the top it is a comment like any other, but for one that would have been followed.
            if known {
                mistakes.push(word.mistake(
                    "directive.misplaced",
                    "directives stand at the top of a script, before its first statement",
                ));
            }
            continue;
        }
        count += 1;
        if count > MAX_DIRECTIVES {
            let text = format!("a script has at most {MAX_DIRECTIVES} directives; this is one more");
            mistakes.push(word.mistake("directive.too_many", text));
            break;
        }
        // An index is nothing that runs it: a module may be what reads the collection.
        if known && !matches!(word.text, "module" | "index") {
            of_endpoint.push((word.text.to_owned(), word.at));
        }
        let read = match word.text {
            "module" if directives.is_module => {
                Err(word.mistake("directive.repeated", "the script says so already"))
            }
            "module" => {
                directives.is_module = true;
                Ok(())
            }
            "route" => route(&mut line, &word).map(|route| directives.routes.push(route)),
            "on" | "cron" | "queue" => {
                let read = match word.text {
                    "on" => trigger(&mut line, &word),
                    "cron" => cron(&mut line, &word),
                    _ => queue(&mut line, &word),
                };
                read.and_then(|(trigger, at)| {
                if directives.triggers.iter().any(|known| known.kind == trigger.kind) {
                    return Err(at.mistake(
                        "directive.repeated",
                        "the script says so already: its handler would run twice for each event",
                    ));
                }
                directives.triggers.push(trigger);
                Ok(())
            })
            }
            "index" => index_of(&mut line, &word).and_then(|(index, field)| {
                if !indexed.insert((index.collection.clone(), index.path.clone())) {
                    return Err(field.mistake("directive.repeated", "the script says so already"));
                }
                directives.indexes.push(index);
                Ok(())
            }),
            "timeout" if directives.timeout_seconds.is_some() => {
                Err(word.mistake("directive.repeated", "a script has one timeout; this is the second"))
            }
            "timeout" => timeout(&mut line, &word).map(|seconds| directives.timeout_seconds = Some(seconds)),
            later if LATER.contains(&later) => Err(word.mistake(
                "directive.unavailable",
                format!("the directive {later:?} is not available in this version"),
            )),
            other => Err(word.mistake(
                "directive.unknown",
                format!(
                    "{other:?} is not a directive; there are route, on, cron, queue, index, timeout and module (a comment begins with //)"
                ),
            )),
        };
        let read = read.and_then(|()| match line.next() {
            None => Ok(()),
            Some(extra) => Err(extra.mistake(
                "directive.unexpected",
                format!("unexpected {:?} at the end of the directive", extra.text),
            )),
        });
        mistakes.extend(read.err());
    }
    if directives.is_module {
        mistakes.extend(of_endpoint.into_iter().map(|(word, at)| Mistake {
            at,
            code: "script.is_module".into(),
            message: format!("a module is imported by other scripts, not run: it has no {word:?}"),
        }));
        mistakes.sort_by_key(|mistake| (mistake.at.line, mistake.at.column));
    }
    (directives, mistakes)
}

fn route(line: &mut Line<'_>, directive: &Word<'_>) -> Result<RouteDirective, Mistake> {
    let usage = "a route reads: route METHOD [HOST]/PATH, as in route GET /greet/:name";
    let incomplete = || directive.mistake("directive.incomplete", usage);
    let method = line.next().ok_or_else(incomplete)?;
    if method.text.contains('/') {
        return Err(method.mistake("directive.incomplete", format!("the method is missing; {usage}")));
    }
    let method = method
        .text
        .parse::<RouteMethod>()
        .map_err(|error| method.mistake("route.invalid_method", error.message().to_owned()))?;
    let target = line.next().ok_or_else(incomplete)?;
    let Some(slash) = target.text.find('/') else {
        return Err(
            target.mistake("route.invalid_pattern", format!("{:?} has no path; {usage}", target.text))
        );
    };
    let (host, path) = target.text.split_at(slash);
    let host = if host.is_empty() { None } else { Some(host.to_owned()) };
    let at = Position { line: target.at.line, column: target.at.column + count(&target.text[..slash]) };
    let invalid = |at: Position, error: &PatternError| Mistake {
        at,
        code: "route.invalid_pattern".into(),
        message: error.to_string(),
    };
    if let Some(host) = &host {
        HostPattern::parse(host).map_err(|error| invalid(target.at, &error))?;
    }
    RoutePatterns::parse(host.as_deref(), path).map_err(|error| invalid(at, &error))?;
    let mut dispatch_mode = DispatchMode::Sync;
    if let Some(mode) = line.next() {
        dispatch_mode = match mode.text {
            "sync" => DispatchMode::Sync,
            "async" => DispatchMode::Async,
            other => {
                return Err(mode.mistake(
                    "directive.unexpected",
                    format!("after the path stands sync, async or nothing, not {other:?}"),
                ));
            }
        };
    }
    Ok(RouteDirective { method, host, path: path.to_owned(), dispatch_mode, at: target.at })
}

/// Sources of events, with what stands behind each.
const SOURCES: &str = "on kv COLLECTION [OPS], on docs COLLECTION [OPS], on files COLLECTION [OPS], on pubsub TOPIC or on dead_letter [KIND|*] [SCRIPT]";

fn trigger<'a>(line: &mut Line<'a>, directive: &Word<'a>) -> Result<(TriggerDirective, Word<'a>), Mistake> {
    let usage = format!("a trigger reads: {SOURCES}, as in on kv orders:* insert,update");
    let incomplete = || directive.mistake("directive.incomplete", &*usage);
    let source = line.next().ok_or_else(incomplete)?;
    if LATER_SOURCES.contains(&source.text) {
        return Err(source.mistake(
            "directive.unavailable",
            format!("events of {:?} are not available in this version", source.text),
        ));
    }
    if source.text == "dead_letter" {
        let letters = dead_letter(line)?;
        return Ok((TriggerDirective { kind: TriggerKind::DeadLetter(letters), at: source.at }, source));
    }
    let read: fn(&mut Line<'a>, &Word<'a>) -> Result<TriggerKind, Mistake> = match source.text {
        "kv" => |line, glob| collection_trigger(line, glob).map(TriggerKind::Kv),
        "docs" => |line, glob| collection_trigger(line, glob).map(TriggerKind::Docs),
        "files" => |line, glob| collection_trigger(line, glob).map(TriggerKind::Files),
        "pubsub" => |_, topic| Ok(TriggerKind::Pubsub(PubsubTrigger { topic: topic.parsed()? })),
        other => {
            return Err(
                source.mistake("directive.unknown", format!("{other:?} is not a source of events; {usage}"))
            );
        }
    };
    let what = line.next().ok_or_else(incomplete)?;
    let kind = read(line, &what)?;
    Ok((TriggerDirective { kind, at: what.at }, what))
}

fn queue<'a>(line: &mut Line<'a>, directive: &Word<'a>) -> Result<(TriggerDirective, Word<'a>), Mistake> {
    let usage = "a queue reads: queue NAME [concurrency=N] [batch=N], as in queue jobs concurrency=4";
    let name = line.next().ok_or_else(|| directive.mistake("directive.incomplete", usage))?;
    let mut trigger = QueueTrigger::new(name.parsed()?);
    while let Some(word) = line.next() {
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| word.mistake("directive.unexpected", format!("{text:?} is no number; {usage}")))
        };
        match word.text.split_once('=') {
            Some(("concurrency", text)) => trigger.concurrency = number(text)?,
            Some(("batch", text)) => trigger.batch = Some(number(text)?),
            _ => return Err(word.mistake("directive.unexpected", usage)),
        }
        trigger.check().map_err(|error| Mistake::of(word.at, &error))?;
    }
    Ok((TriggerDirective { kind: TriggerKind::Queue(trigger), at: name.at }, name))
}

fn dead_letter(line: &mut Line<'_>) -> Result<DeadLetterTrigger, Mistake> {
    let mut letters = DeadLetterTrigger::default();
    let Some(source) = line.next() else { return Ok(letters) };
    if source.text != "*" {
        let kind = EventKind::from_word(source.text);
        if matches!(kind, EventKind::Unknown | EventKind::DeadLetter) {
            return Err(source.mistake(
                "trigger.invalid_source",
                format!("{:?} is not a kind of event that is given up; kv, docs, files, pubsub, queue, cron, http or * stands here", source.text),
            ));
        }
        letters.source = Some(kind);
    }
    letters.script = line.next().map(|script| script.parsed()).transpose()?;
    Ok(letters)
}

fn cron<'a>(line: &mut Line<'a>, directive: &Word<'a>) -> Result<(TriggerDirective, Word<'a>), Mistake> {
    let usage = r#"a schedule reads: cron "SECOND MINUTE HOUR DAY MONTH WEEKDAY" [ZONE] [once|skip], as in cron "0 30 8 * * MON-FRI" Europe/Paris"#;
    let schedule = line.next_quoted().ok_or_else(|| directive.mistake("directive.incomplete", usage))?;
    let mut trigger =
        CronTrigger { schedule: schedule.text.to_owned(), timezone: "UTC".to_owned(), missed: Missed::Once };
    let mut next = line.next();
    let mut zone = None;
    if let Some(word) = next.take_if(|word| !matches!(word.text, "once" | "skip")) {
        word.text.clone_into(&mut trigger.timezone);
        zone = Some(word.at);
        next = line.next();
    }
    match next {
        None => {}
        Some(word) if word.text == "once" => {}
        Some(word) if word.text == "skip" => trigger.missed = Missed::Skip,
        Some(word) => return Err(word.mistake("directive.unexpected", usage)),
    }
    trigger.check().map_err(|error| {
        let zone = zone.filter(|_| error.code() == "trigger.invalid_timezone");
        Mistake::of(zone.unwrap_or(schedule.at), &error)
    })?;
    Ok((TriggerDirective { kind: TriggerKind::Cron(trigger), at: schedule.at }, schedule))
}

fn collection_trigger<Op: CollectionOp>(
    line: &mut Line<'_>,
    glob: &Word<'_>,
) -> Result<CollectionTrigger<Op>, Mistake> {
    let collection = glob.parsed()?;
    let mut ops = Vec::new();
    let Some(words) = line.next() else { return Ok(CollectionTrigger { collection, ops }) };
    for word in words.text.split(',') {
        let op = Op::ALL.iter().copied().find(|op| op.as_str() == word).ok_or_else(|| {
            let all: Vec<_> = Op::ALL.iter().map(|op| op.as_str()).collect();
            words.mistake(
                "trigger.invalid_op",
                format!(
                    "{word:?} is not an operation; a list of {}, with commas and no spaces, stands here",
                    all.join(", ")
                ),
            )
        })?;
        if !ops.contains(&op) {
            ops.push(op);
        }
    }
    Ok(CollectionTrigger { collection, ops })
}

fn index_of<'a>(line: &mut Line<'a>, directive: &Word<'a>) -> Result<(IndexDirective, Word<'a>), Mistake> {
    let usage = "an index reads: index COLLECTION FIELD, as in index orders customer.name";
    let incomplete = || directive.mistake("directive.incomplete", usage);
    let name = line.next().ok_or_else(incomplete)?;
    let collection = CollectionName::new(name.text).map_err(|error| Mistake::of(name.at, &error))?;
    // In quotes for keys with spaces. One that does not end would be a field that nobody has.
    let field = line.next_quoted().ok_or_else(incomplete)?;
    if field.text.starts_with('"') {
        return Err(field.mistake("docs.invalid_path", "the quote that begins here does not end"));
    }
    let path = Path::parse(field.text).map_err(|error| Mistake::of(field.at, &error))?;
    Ok((IndexDirective { collection, path, at: field.at }, field))
}

fn timeout(line: &mut Line<'_>, directive: &Word<'_>) -> Result<u32, Mistake> {
    let usage =
        format!("a timeout is a whole number of seconds from 1 to {MAX_TIMEOUT_SECONDS}, as in timeout 10");
    let Some(word) = line.next() else { return Err(directive.mistake("directive.incomplete", usage)) };
    match word.text.parse() {
        Ok(seconds) if (1..=MAX_TIMEOUT_SECONDS).contains(&seconds) => Ok(seconds),
        _ => Err(word.mistake("directive.invalid_timeout", format!("{usage}; this is {:?}", word.text))),
    }
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A line, read word by word.
struct Line<'a> {
    number: u32,
    whole: &'a str,
    rest: &'a str,
}

struct Word<'a> {
    text: &'a str,
    at: Position,
}

impl<'a> Line<'a> {
    fn new(index: usize, whole: &'a str) -> Self {
        Line { number: u32::try_from(index + 1).unwrap_or(u32::MAX), whole, rest: whole }
    }

    fn skip_to(&mut self, rest: &'a str) {
        self.rest = rest;
    }

    /// What stands in quotes, or else a word.
    fn next_quoted(&mut self) -> Option<Word<'a>> {
        let text = self.rest.trim_start();
        let Some(end) = text.strip_prefix('"').and_then(|text| text.find('"')) else { return self.next() };
        let before = &self.whole[..self.whole.len() - text.len()];
        let at = Position { line: self.number, column: count(before) + 2 };
        let (word, rest) = (&text[1..=end], &text[end + 2..]);
        self.rest = rest;
        Some(Word { text: word, at })
    }

    fn next(&mut self) -> Option<Word<'a>> {
        let text = self.rest.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        if word.is_empty() {
            return None;
        }
        let before = &self.whole[..self.whole.len() - text.len()];
        Some(Word { text: word, at: Position { line: self.number, column: count(before) + 1 } })
    }
}

impl Word<'_> {
    /// The word as what should stand there.
    fn parsed<T: FromStr<Err = crate::Error>>(&self) -> Result<T, Mistake> {
        self.text.parse().map_err(|error| Mistake::of(self.at, &error))
    }

    fn mistake(&self, code: &'static str, message: impl Into<String>) -> Mistake {
        Mistake { at: self.at, code: code.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(source: &str) -> (u32, u32, String) {
        let (_, mistakes) = parse(source);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        (mistakes[0].at.line, mistakes[0].at.column, mistakes[0].code.to_string())
    }

    #[test]
    fn directives_stand_among_comments_and_blank_lines() {
        let (found, mistakes) = parse(
            "// Greets.\n\n//! route GET /greet/:name\n//!timeout 10\n//! route ANY *.example.com/hooks/* sync\n1 + 1",
        );
        assert_eq!(mistakes, []);
        assert_eq!(found.timeout_seconds, Some(10));
        let routes: Vec<_> =
            found.routes.iter().map(|r| (r.method.to_string(), r.host.as_deref(), r.path.as_str())).collect();
        assert_eq!(
            routes,
            [("GET".to_owned(), None, "/greet/:name"), ("ANY".to_owned(), Some("*.example.com"), "/hooks/*")]
        );
    }

    #[test]
    fn a_mistake_is_told_with_line_and_column() {
        assert_eq!(mistake("//! rout GET /x"), (1, 5, "directive.unknown".to_owned()));
        assert_eq!(mistake("\n  //! route GTE /x"), (2, 13, "route.invalid_method".to_owned()));
        assert_eq!(mistake("//! route GET x"), (1, 15, "route.invalid_pattern".to_owned()));
        assert_eq!(mistake("//! route GET /a/{b}").2, "route.invalid_pattern");
        assert_eq!(mistake("//! route GET"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! route /x"), (1, 11, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! on"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! on kv"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! on email *"), (1, 8, "directive.unavailable".to_owned()));
        assert_eq!(mistake("//! on pubsub order*"), (1, 15, "trigger.invalid_topic".to_owned()));
        assert_eq!(mistake("//! on moon full"), (1, 8, "directive.unknown".to_owned()));
        assert_eq!(mistake("//! on kv orders*"), (1, 11, "trigger.invalid_glob".to_owned()));
        assert_eq!(mistake("//! on docs orders insert"), (1, 20, "trigger.invalid_op".to_owned()));
        assert_eq!(mistake("//! on kv orders insert,upsert"), (1, 18, "trigger.invalid_op".to_owned()));
        assert_eq!(mistake("//! on kv orders insert update"), (1, 25, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! on kv a\n//! on kv a"), (2, 11, "directive.repeated".to_owned()));
        assert_eq!(mistake("//! route GET /x later"), (1, 18, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! timeout 301"), (1, 13, "directive.invalid_timeout".to_owned()));
        assert_eq!(mistake("//! timeout"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! timeout 1\n//! timeout 2"), (2, 5, "directive.repeated".to_owned()));
        assert_eq!(mistake("//! cron \"* * * * *\""), (1, 11, "trigger.invalid_schedule".to_owned()));
        assert_eq!(mistake("//! cron"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! cron \"0 0 0 30 2 *\""), (1, 11, "trigger.invalid_schedule".to_owned()));
        assert_eq!(mistake("//! cron \"0 * * * * *\" Mars"), (1, 24, "trigger.invalid_timezone".to_owned()));
        assert_eq!(mistake("//! cron @daily UTC sometimes"), (1, 21, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! queue"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! queue a/b"), (1, 11, "queue.invalid_name".to_owned()));
        assert_eq!(
            mistake("//! queue jobs concurrency=0"),
            (1, 16, "trigger.invalid_concurrency".to_owned())
        );
        assert_eq!(mistake("//! queue jobs batch=x"), (1, 16, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! queue jobs fast"), (1, 16, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! index"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! index orders"), (1, 5, "directive.incomplete".to_owned()));
        assert_eq!(mistake("//! index orders:* total"), (1, 11, "collection.invalid_name".to_owned()));
        assert_eq!(mistake("//! index orders a..b"), (1, 18, "docs.invalid_path".to_owned()));
        assert_eq!(mistake("//! index orders $sort"), (1, 18, "docs.invalid_path".to_owned()));
        assert_eq!(mistake("//! index orders \"\""), (1, 19, "docs.invalid_path".to_owned()));
        assert_eq!(mistake("//! index orders \"total"), (1, 18, "docs.invalid_path".to_owned()));
        assert_eq!(mistake("//! index orders a b"), (1, 20, "directive.unexpected".to_owned()));
        assert_eq!(mistake("//! index o a\n//! index o \"a\""), (2, 14, "directive.repeated".to_owned()));
        assert_eq!(mistake("let x = 1;\n//! index o a"), (2, 5, "directive.misplaced".to_owned()));
        assert_eq!(mistake("//! every 5s"), (1, 5, "directive.unavailable".to_owned()));
        assert_eq!(mistake("//! on dead_letter comet"), (1, 20, "trigger.invalid_source".to_owned()));
        assert_eq!(mistake("let x = 1;\n//! route GET /x"), (2, 5, "directive.misplaced".to_owned()));
    }

    #[test]
    fn a_module_says_so_and_has_nothing_that_runs_it() {
        let (found, mistakes) = parse("// Prices.\n//! module\nfn f() { }");
        assert_eq!((found.is_module, mistakes), (true, vec![]));
        let of = |source| parse(source).1.into_iter().map(|m| (m.at.line, m.code)).collect::<Vec<_>>();
        assert_eq!(of("//! module\n//! route GET /a"), [(2, "script.is_module".into())]);
        assert_eq!(
            of("//! on kv a\n//! cron @daily\n//! timeout 3\n//! module"),
            [(1, "script.is_module".into()), (2, "script.is_module".into()), (3, "script.is_module".into())]
        );
        assert_eq!(of("//! module\n//! module"), [(2, "directive.repeated".into())]);
        assert_eq!(of("//! module prices"), [(1, "directive.unexpected".into())]);
        assert_eq!(of("let x = 1;\n//! module"), [(2, "directive.misplaced".into())]);
    }

    #[test]
    fn a_script_has_so_many_directives_and_no_more() {
        let lines = |count| (0..count).map(|n| format!("//! route GET /r{n}\n")).collect::<String>();
        let (found, mistakes) = parse(&lines(MAX_DIRECTIVES));
        assert_eq!((found.routes.len(), mistakes), (MAX_DIRECTIVES, Vec::new()));
        let (_, mistakes) = parse(&lines(MAX_DIRECTIVES + 10));
        assert_eq!(mistakes.len(), 1);
        assert_eq!((mistakes[0].at.line, &*mistakes[0].code), (257, "directive.too_many"));
    }

    #[test]
    fn indexes_are_read_of_scripts_and_modules() {
        let lines = "//! index orders customer.name\n//! index a:b \"first name\"\n//! index orders total\n";
        for source in [lines.to_owned(), format!("{lines}//! module")] {
            let (found, mistakes) = parse(&source);
            assert_eq!(mistakes, []);
            let indexes: Vec<_> = found
                .indexes
                .iter()
                .map(|index| (index.collection.as_str(), index.path.to_string(), index.at.column))
                .collect();
            assert_eq!(
                indexes,
                [
                    ("orders", "customer.name".to_owned(), 18),
                    ("a:b", "first name".to_owned(), 16),
                    ("orders", "total".to_owned(), 18)
                ]
            );
        }
    }

    #[test]
    fn triggers_and_async_routes_are_read() {
        let (found, mistakes) = parse(
            "//! on kv orders:* insert,update\n//! on kv *\n//! on docs * create\n//! on files a:* delete\n//! on pubsub order.*\n//! cron \"0 30 8 * * MON-FRI\" Europe/Paris skip\n//! cron @hourly\n//! on dead_letter\n//! on dead_letter pubsub resize\n//! queue jobs\n//! queue mail batch=10 concurrency=20\n//! route POST /hook async",
        );
        assert_eq!(mistakes, []);
        let kinds: Vec<_> = found.triggers.iter().map(|trigger| trigger.kind.to_string()).collect();
        assert_eq!(
            kinds,
            [
                "kv orders:* insert,update",
                "kv *",
                "docs * create",
                "files a:* delete",
                "pubsub order.*",
                "cron \"0 30 8 * * MON-FRI\" Europe/Paris skip",
                "cron \"@hourly\" UTC",
                "dead_letter *",
                "dead_letter pubsub resize",
                "queue jobs",
                "queue mail concurrency=20 batch=10"
            ]
        );
        assert_eq!(found.routes[0].dispatch_mode, DispatchMode::Async);
    }

    #[test]
    fn every_mistake_is_reported() {
        let (_, mistakes) = parse("//! route\n//! timeout 0\n//! nothing");
        assert_eq!(mistakes.iter().map(|m| m.at.line).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
