//! Triggers that fire by the clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Fires whenever the clock of a zone shows certain times.
///
/// A schedule that names one time of day (one second, minute and hour) happens once a day: where clocks are set forward and
/// that time is missing, right after the gap; where they are set back, at the first of the two. Any other schedule follows
/// the clock on the wall: what is missing is left out, what comes twice happens twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronTrigger {
    /// Six fields (second, minute, hour, day of the month, month, day of the week) or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`. Days of the week count from Sunday, which is 0 and 7.
    pub schedule: String,
    /// The zone by its name, such as `Europe/Paris`.
    pub timezone: String,
    /// What becomes of times that were missed.
    #[serde(default)]
    pub missed: Missed,
}

/// What becomes of scheduled times that are more than a minute past: no process was there, or it was asleep, or the database
/// was away. What is less late fires, each time by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The trigger fires once, for the last of them.
    #[default]
    Once,
    /// It does not.
    Skip,
}

impl CronTrigger {
    /// Checks schedule and zone.
    ///
    /// # Errors
    /// `trigger.invalid_schedule`, `trigger.invalid_timezone`; `trigger.unavailable` in a build without feature `cron`.
    pub fn check(&self) -> Result<()> {
        #[cfg(feature = "cron")]
        return Schedule::parse(self).map(drop);
        #[cfg(not(feature = "cron"))]
        return Err(Error::new(
            crate::ErrorKind::Unsupported,
            "trigger.unavailable",
            "this build has no schedules: feature `cron` of picloud-core is off",
        ));
    }
}

impl fmt::Display for CronTrigger {
    /// As a directive spells it: `"0 30 8 * * *" Europe/Paris`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.schedule, self.timezone)?;
        match self.missed {
            Missed::Once => Ok(()),
            Missed::Skip => f.write_str(" skip"),
        }
    }
}

#[cfg(feature = "cron")]
pub(crate) use schedule::Schedule;

#[cfg(feature = "cron")]
mod schedule {
    use croner::errors::CronError;
    use croner::parser::{CronParser, Seconds, Year};
    use croner::time::Weekday;
    use croner::{CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution};
    use std::cell::Cell;
    use std::rc::Rc;

    use jiff::ZonedDateTime;
    use jiff::civil;
    use jiff::tz::{AmbiguousOffset, TimeZone};

    use super::{CronTrigger, Error, Result};
    use crate::Timestamp;

    /// Longest text of a schedule, in bytes.
    const MAX_SCHEDULE_BYTES: usize = 256;

    /// A schedule that was read.
    #[derive(Debug, Clone)]
    pub(crate) struct Schedule {
        cron: Cron,
        zone: TimeZone,
    }

    impl Schedule {
        pub(crate) fn parse(trigger: &CronTrigger) -> Result<Self> {
            let text = &trigger.schedule;
            let invalid = |why: &str| {
                let quoted: String = text.chars().take(MAX_SCHEDULE_BYTES).collect();
                Error::invalid(
                    "trigger.invalid_schedule",
                    format!(
                        "{quoted:?} is not a schedule ({why}); it has six fields, second to day of the week, as in \
                         \"0 30 8 * * MON-FRI\", or is @hourly, @daily, @weekly, @monthly or @yearly"
                    ),
                )
            };
            if text.len() > MAX_SCHEDULE_BYTES {
                return Err(invalid("it is too long"));
            }
            let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
            let cron = parser.parse(text).map_err(|error| invalid(&error.to_string()))?;
            let zone = TimeZone::get(&trigger.timezone).map_err(|_| {
                let quoted: String = trigger.timezone.chars().take(60).collect();
                Error::invalid(
                    "trigger.invalid_timezone",
                    format!("{quoted:?} is not a time zone; one is named as in Europe/Paris, or UTC"),
                )
            })?;
            let schedule = Schedule { cron, zone };
            // One that never comes is a mistake: February 30th, say.
            if schedule.next_after(Timestamp::constant(1_767_225_600, 0)).is_none() {
                return Err(invalid("it names a time that never comes"));
            }
            Ok(schedule)
        }

        /// The first time after this one.
        pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
            let from = self.at(time)?;
            self.cron.find_next_occurrence(&from, false).ok().map(|next| next.time.timestamp())
        }

        /// The last time up to this one.
        pub(crate) fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
            let from = self.at(time)?;
            self.cron.find_previous_occurrence(&from, true).ok().map(|last| last.time.timestamp())
        }

        /// Schedules know whole seconds.
        fn at(&self, time: Timestamp) -> Option<At> {
            let second =
                Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000).try_into().ok()?)
                    .ok()?;
            Some(At { time: second.to_zoned_datetime(self.zone.clone()), work: Rc::default() })
        }
    }

    /// Most times of the wall that one search looks up. What never comes could be looked for second by second, for years.
    const MAX_WORK: u32 = 20_000;

    /// A time in a zone, and how many were looked up to find it.
    #[derive(Debug, Clone)]
    struct At {
        time: ZonedDateTime,
        work: Rc<Cell<u32>>,
    }

    impl At {
        fn another(&self, time: ZonedDateTime) -> Self {
            At { time, work: self.work.clone() }
        }
    }

    impl CronDateTime for At {
        fn to_civil(&self) -> CivilDateTime {
            let at = self.time.datetime();
            let part = |part: i8| u32::from(part.unsigned_abs());
            CivilDateTime::new(
                CivilDate::from_parts_unchecked(i32::from(at.year()), part(at.month()), part(at.day())),
                CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
            )
        }

        fn civil_weekday(&self) -> Weekday {
            Weekday::from_days_from_sunday(u32::from(
                self.time.weekday().to_sunday_zero_offset().unsigned_abs(),
            ))
        }

        fn resolve_civil(&self, civil: CivilDateTime) -> std::result::Result<Resolution<Self>, CronError> {
            self.work.set(self.work.get() + 1);
            if self.work.get() > MAX_WORK {
                return Err(CronError::TimeSearchLimitExceeded);
            }
            let part = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidDate);
            let (date, time) = (civil.date(), civil.time());
            let year = i16::try_from(date.year()).map_err(|_| CronError::InvalidDate)?;
            let at = civil::DateTime::new(
                year,
                part(date.month())?,
                part(date.day())?,
                part(time.hour())?,
                part(time.minute())?,
                part(time.second())?,
                0,
            )
            .map_err(|_| CronError::InvalidDate)?;
            let found = self.time.time_zone().to_ambiguous_zoned_datetime(at);
            let at = |zoned: std::result::Result<ZonedDateTime, jiff::Error>| {
                zoned.map(|time| self.another(time)).map_err(|_| CronError::InvalidTime)
            };
            Ok(match found.offset() {
                AmbiguousOffset::Unambiguous { .. } => Resolution::Single(at(found.unambiguous())?),
                AmbiguousOffset::Gap { .. } => Resolution::Gap,
                AmbiguousOffset::Fold { .. } => {
                    Resolution::Ambiguous(at(found.clone().earlier())?, at(found.later())?)
                }
            })
        }

        fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
            self.time
                .checked_add(jiff::SignedDuration::from_secs(seconds))
                .ok()
                .map(|time| self.another(time))
        }

        fn cmp_instant(&self, other: &Self) -> std::cmp::Ordering {
            self.time.timestamp().cmp(&other.time.timestamp())
        }
    }
}

#[cfg(test)]
#[cfg(feature = "cron")]
mod tests {
    use std::collections::BTreeSet;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::Timestamp;

    fn schedule(text: &str, zone: &str) -> Schedule {
        let trigger =
            CronTrigger { schedule: text.to_owned(), timezone: zone.to_owned(), missed: Missed::default() };
        Schedule::parse(&trigger).unwrap()
    }

    fn after(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = schedule(text, zone);
        let mut at: Timestamp = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = schedule.next_after(at).unwrap();
            found.push(at.to_string());
        }
        found
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in [
            "",
            "* * * * *",
            "* * * * * * *",
            "60 * * * * *",
            "0 0 0 30 2 *",
            "@never",
            "0 0 0 1 13 *",
            &"*".repeat(300),
        ] {
            let trigger = CronTrigger {
                schedule: wrong.to_owned(),
                timezone: "UTC".to_owned(),
                missed: Missed::default(),
            };
            let error = trigger.check().unwrap_err();
            assert_eq!(error.code(), "trigger.invalid_schedule", "{wrong:.20} {error}");
        }
    }

    #[test]
    fn a_fixed_time_in_a_gap_happens_after_it_and_in_an_overlap_once() {
        // Clocks in Paris go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
        assert_eq!(
            after("0 30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            after("0 30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            after("0 */30 * * * *", "Europe/Paris", "2026-10-25T00:00:00Z", 4),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn what_comes_in_a_gap_only_is_found_out_soon() {
        let trigger = CronTrigger {
            schedule: "* * 2 * 3 SUN#2".to_owned(),
            timezone: "America/New_York".to_owned(),
            missed: Missed::default(),
        };
        assert_eq!(trigger.check().unwrap_err().code(), "trigger.invalid_schedule");
    }

    #[test]
    fn parts_of_a_second_are_neither_early_nor_late() {
        assert_eq!(after("* * * * * *", "UTC", "2026-01-01T00:00:00.999Z", 1), ["2026-01-01T00:00:01Z"]);
        assert_eq!(after("* * * * * *", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-01T00:00:01Z"]);
        let every_minute = schedule("0 * * * * *", "UTC");
        let last = every_minute.last_until("2026-01-01T00:01:00.7Z".parse().unwrap());
        assert_eq!(last.unwrap().to_string(), "2026-01-01T00:01:00Z");
    }

    /// A schedule of some minutes and hours, beside what a person would do with a calendar, a clock on the wall and two
    /// years of patience.
    struct Plain {
        minutes: &'static [i8],
        /// Every hour if there are none.
        hours: &'static [i8],
        /// Any day if `None`.
        weekday: Option<i8>,
    }

    impl Plain {
        fn names(&self, at: jiff::civil::DateTime) -> bool {
            self.minutes.contains(&at.minute())
                && (self.hours.is_empty() || self.hours.contains(&at.hour()))
                && self.weekday.is_none_or(|day| day == at.date().weekday().to_sunday_zero_offset())
        }
    }

    const PLAIN: [(&str, Plain); 7] = [
        ("0 30 2 * * *", Plain { minutes: &[30], hours: &[2], weekday: None }),
        ("0 0,30 1,2,3 * * *", Plain { minutes: &[0, 30], hours: &[1, 2, 3], weekday: None }),
        ("0 0 0 * * *", Plain { minutes: &[0], hours: &[0], weekday: None }),
        ("0 15 2 * * SUN", Plain { minutes: &[15], hours: &[2], weekday: Some(0) }),
        ("0 59 23 * * MON", Plain { minutes: &[59], hours: &[23], weekday: Some(1) }),
        ("0 5,35 * * * *", Plain { minutes: &[5, 35], hours: &[], weekday: None }),
        ("0 10 * * * SAT", Plain { minutes: &[10], hours: &[], weekday: Some(6) }),
    ];

    #[test]
    fn two_years_of_five_zones_are_as_the_clock_on_the_wall_says() {
        const MINUTE: i64 = 60;
        let begin: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        // Half an hour of summer time, zones that gave it up, changes at midnight, both halves of the world.
        for zone in ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Asia/Kolkata"]
        {
            let clock = TimeZone::get(zone).unwrap();
            let wall = |at: i64| clock.to_datetime(Timestamp::from_second(at).unwrap());
            let minutes = (begin.as_second()..end.as_second()).step_by(60);
            let minutes: Vec<_> = minutes.map(|at| (at, wall(at))).collect();
            for (text, plain) in &PLAIN {
                let mut wanted = BTreeSet::new();
                let mut seen_until = wall(begin.as_second() - MINUTE);
                for (at, now) in minutes.iter().copied() {
                    if plain.hours.len() != 1 || plain.minutes.len() != 1 {
                        wanted.extend(plain.names(now).then_some(at));
                    } else {
                        // Every minute of the wall since the latest that was seen: those that were left out come now.
                        let mut next = seen_until;
                        while next < now {
                            next = next.checked_add(jiff::SignedDuration::from_secs(MINUTE)).unwrap();
                            wanted.extend(plain.names(next).then_some(at));
                        }
                    }
                    seen_until = seen_until.max(now);
                }
                let schedule = schedule(text, zone);
                let mut found = BTreeSet::new();
                let mut at = Timestamp::from_second(begin.as_second() - 1).unwrap();
                while let Some(next) = schedule.next_after(at).filter(|next| *next < end) {
                    assert!(next > at, "{text} {zone}: {next} after {at}");
                    found.insert(next.as_second());
                    at = next;
                }
                let differ: Vec<_> = wanted
                    .symmetric_difference(&found)
                    .map(|at| (Timestamp::from_second(*at).unwrap(), wanted.contains(at)))
                    .collect();
                assert_eq!(differ, [], "{text} in {zone}, with whether it was expected");
            }
        }
    }
}
