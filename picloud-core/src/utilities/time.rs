//! The script module `time`.
//!
//! An instant is text in the form of RFC 3339, as in `ctx.event.occurred_at`, or an integer of milliseconds since 1970.
//! Every function takes both; the answer is always text, in UTC. Zones come from the database that is built in, so that
//! every machine answers the same and no file is read.

use std::sync::OnceLock;

use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime::BrokenDownTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, ZonedDateTime};
use serde::{Deserialize, Serialize};

use crate::engine::ScriptModule;
use crate::{CallCx, Error, Result, Timestamp};

/// Longest text and longest format: far more than any way of writing a time.
const MAX_TEXT_BYTES: usize = 256;

/// An instant as scripts may write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "an instant: text such as \"2026-03-01T12:00:00Z\", or milliseconds since 1970"
)]
pub(super) enum Instant {
    Millis(i64),
    Text(String),
}

impl Instant {
    fn timestamp(&self) -> Result<Timestamp> {
        match self {
            Instant::Millis(millis) => Timestamp::from_millisecond(*millis)
                .map_err(|error| Error::invalid("time.invalid", error.to_string()).with("instant", millis)),
            Instant::Text(text) => short("text", text).and_then(read),
        }
    }

    fn in_zone(&self, zone: Option<&str>) -> Result<ZonedDateTime> {
        let zone = zone.map_or(Ok(TimeZone::UTC), zone_named)?;
        Ok(self.timestamp()?.to_zoned_datetime(zone))
    }
}

/// How far [`add`] goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Amount {
    years: i64,
    months: i64,
    weeks: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    milliseconds: i64,
}

/// What a clock and a calendar on the wall would show.
#[derive(Debug, Serialize)]
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
    /// 1 is Monday, 7 is Sunday.
    weekday: i64,
    day_of_year: i64,
    offset_seconds: i64,
}

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("time")
        .doc("Instants: now, from text, as text, in any zone.")
        .small_answers()
        .function("now() -> string", |cx: CallCx| cx.clock().now().to_string())
        .function("millis(instant?: string | int) -> int", |cx: CallCx, instant: Option<Instant>| {
            let at = instant.map_or_else(|| Ok(cx.clock().now()), |instant| instant.timestamp())?;
            Ok::<_, Error>(at.as_millisecond())
        })
        .function(
            "parse(text: string | int, format?: string, zone?: string) -> string",
            |_cx: CallCx, text: Instant, format: Option<String>, zone: Option<String>| {
                Ok::<_, Error>(parse(&text, format.as_deref(), zone.as_deref())?.to_string())
            },
        )
        .function(
            "format(instant: string | int, format?: string, zone?: string) -> string",
            |_cx: CallCx, instant: Instant, format: Option<String>, zone: Option<String>| {
                self::format(&instant, format.as_deref(), zone.as_deref())
            },
        )
        .function(
            "parts(instant: string | int, zone?: string) -> #{ year, month, day, hour, minute, second, millisecond, weekday, day_of_year, offset_seconds }",
            |_cx: CallCx, instant: Instant, zone: Option<String>| instant.in_zone(zone.as_deref()).map(|at| parts(&at)),
        )
        .function(
            "add(instant: string | int, amount: #{ years, months, weeks, days, hours, minutes, seconds, milliseconds }, zone?: string) -> string",
            |_cx: CallCx, instant: Instant, amount: Amount, zone: Option<String>| {
                Ok::<_, Error>(add(&instant.in_zone(zone.as_deref())?, &amount)?.to_string())
            },
        )
        .function("zones() -> array", |_cx: CallCx| zones().available().map(|name| name.to_string()).collect::<Vec<_>>())
        .about("now", "This instant as text, such as `2026-03-01T12:00:00.25Z`.")
        .about("millis", "Milliseconds since 1970, of now or of an instant. To compare instants compare these: texts may have fewer or more digits. Throws `time.invalid`, as all of these do.")
        .about("parse", "An instant from RFC 3339, RFC 2822 (mail, HTTP), or a `strftime` format; `()` as format leaves it out. `zone` (`\"Europe/Paris\"`, `\"UTC\"`) is for text without an offset. Throws `time.unknown_zone`.")
        .about("format", "An instant as text: RFC 3339 or a `strftime` format, in UTC or that zone.")
        .about("parts", "The parts of an instant on the clock of UTC or that zone; weekday 1 is Monday.")
        .about("add", "The instant later (or earlier) by so much; days and longer on the zone's calendar.")
        .about("zones", "The names of all zones.")
}

pub(super) fn zones() -> &'static TimeZoneDatabase {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled)
}

fn short<'t>(what: &str, text: &'t str) -> Result<&'t str> {
    super::within("time.invalid", what, text.len(), MAX_TEXT_BYTES).map(|()| text)
}

fn zone_named(name: &str) -> Result<TimeZone> {
    zones().get(short("zone", name)?).map_err(|error| {
        Error::invalid("time.unknown_zone", "a zone is a name such as \"Europe/Paris\" or \"UTC\"")
            .with("zone", name)
            .caused_by(error)
    })
}

fn invalid(text: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid("time.invalid", why.to_string()).with("text", text)
}

/// Text with an offset: RFC 3339, or RFC 2822 as in mail and HTTP.
fn read(text: &str) -> Result<Timestamp> {
    text.parse::<Timestamp>()
        .or_else(|error| rfc2822::DateTimeParser::new().parse_timestamp(text).map_err(|_| error))
        .map_err(|error| invalid(text, error))
}

/// `text` in `format`, or in one that tells itself. `zone` is where it counts if it does not say so.
pub(super) fn parse(text: &Instant, format: Option<&str>, zone: Option<&str>) -> Result<Timestamp> {
    let zone = zone.map(zone_named).transpose()?;
    let Instant::Text(text) = text else { return text.timestamp() };
    let text = short("text", text)?;
    let local = match format {
        None => match (read(text), text.parse::<DateTime>()) {
            (Err(_), Ok(local)) => local,
            (read, _) => return read,
        },
        Some(format) => {
            let read = BrokenDownTime::parse(short("format", format)?, text)
                .map_err(|error| invalid(text, error).with("format", format))?;
            let told = read.iana_time_zone().map(zone_named).transpose()?;
            if read.timestamp().is_some() || read.offset().is_some() {
                return read.to_timestamp().map_err(|error| invalid(text, error).with("format", format));
            }
            let local = match read.hour() {
                Some(_) => read.to_datetime(),
                None => read.to_date().map(|date| date.at(0, 0, 0, 0)),
            };
            let local = local.map_err(|error| invalid(text, error).with("format", format))?;
            match told {
                Some(told) => return in_zone(text, local, told),
                None => local,
            }
        }
    };
    match zone {
        Some(zone) => in_zone(text, local, zone),
        None => Err(invalid(
            text,
            "the text does not say how far from UTC it counts: name a zone, \"UTC\" for instance",
        )),
    }
}

/// A time that the change of clocks leaves out is taken as after it, one that comes twice as the first.
fn in_zone(text: &str, local: DateTime, zone: TimeZone) -> Result<Timestamp> {
    local.to_zoned_datetime(zone).map(|at| at.timestamp()).map_err(|error| invalid(text, error))
}

pub(super) fn format(instant: &Instant, format: Option<&str>, zone: Option<&str>) -> Result<String> {
    let at = instant.in_zone(zone)?;
    match (format, zone) {
        (None, None) => Ok(at.timestamp().to_string()),
        (None, Some(_)) => Ok(at.timestamp().display_with_offset(at.offset()).to_string()),
        (Some(format), _) => BrokenDownTime::from(&at)
            .to_string(short("format", format)?)
            .map_err(|error| Error::invalid("time.invalid_format", error.to_string()).with("format", format)),
    }
}

fn parts(at: &ZonedDateTime) -> Parts {
    Parts {
        year: at.year().into(),
        month: at.month().into(),
        day: at.day().into(),
        hour: at.hour().into(),
        minute: at.minute().into(),
        second: at.second().into(),
        millisecond: at.millisecond().into(),
        weekday: at.weekday().to_monday_one_offset().into(),
        day_of_year: at.day_of_year().into(),
        offset_seconds: at.offset().seconds().into(),
    }
}

/// Days and longer units count on the calendar of the zone, shorter ones by the second. Each has a sign of its own.
fn add(at: &ZonedDateTime, amount: &Amount) -> Result<Timestamp> {
    let beyond =
        || Error::invalid("time.invalid", "the sum is no time that there is").with("instant", at.timestamp());
    let sum = |parts: &[(i64, i64)]| {
        parts.iter().try_fold(0_i64, |sum, (count, each)| sum.checked_add(count.checked_mul(*each)?))
    };
    let months = sum(&[(amount.years, 12), (amount.months, 1)]).ok_or_else(beyond)?;
    let days = sum(&[(amount.weeks, 7), (amount.days, 1)]).ok_or_else(beyond)?;
    let clock = [
        (amount.hours, 3_600_000),
        (amount.minutes, 60_000),
        (amount.seconds, 1_000),
        (amount.milliseconds, 1),
    ];
    let millis = SignedDuration::from_millis(sum(&clock).ok_or_else(beyond)?);
    let mut at = at.clone();
    if months != 0 || days != 0 {
        let moved = Span::new().try_months(months).and_then(|months| at.datetime().checked_add(months));
        let moved = moved.and_then(|moved| moved.checked_add(Span::new().try_days(days)?));
        at = moved.and_then(|moved| moved.to_zoned_datetime(at.time_zone().clone())).map_err(|_| beyond())?;
    }
    at.timestamp().checked_add(millis).map_err(|_| beyond())
}
