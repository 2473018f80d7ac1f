//! When a cron expression comes next.
//!
//! Five fields (minute, hour, day of the month, month, day of the week), or six with seconds first. A field is `*`, a number, a range
//! `a-b`, each with a step `/n` if wanted, or a list of such; months and days of the week have names (`JAN`, `MON`), Sunday is 0 or
//! 7, `?` is `*`. If neither the day of the month nor that of the week begins with `*`, one of them is enough.
//!
//! Times are local ones of a zone of the time zone database that is part of the program, so every machine agrees. Where clocks are
//! changed, the classic rule holds: an expression whose hour begins with `*` follows the hours that really pass, each once. Any other
//! comes once a day for each of its times: a time that is left out comes when the clock has jumped over it, and of a time that comes
//! twice the first one counts.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp};

use crate::limits::{MAX_CRON_YEARS, MAX_NAME_BYTES};

/// The zones that are part of the program: the system's would be another answer on another machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What values a field can have, and their names.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", first: 0, last: 59, names: &[] },
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: &MONTHS },
    Field { name: "day of week", first: 0, last: 7, names: &WEEKDAYS },
];

/// Whether an expression can be read, its zone is known, and it comes at all.
///
/// ```
/// use dunlin_rules::cron;
///
/// assert!(cron::check("30 8 * * MON-FRI", Some("Europe/Vienna")).is_ok());
/// assert!(cron::check("0 0 30 2 *", None).is_err());
/// ```
///
/// # Errors
/// What is wrong with it, for people.
pub fn check(expression: &str, zone: Option<&str>) -> Result<(), String> {
    let calendar = Calendar::parse(expression, zone)?;
    match calendar.next_after(0) {
        Some(_) => Ok(()),
        None => Err(format!("the cron expression \"{expression}\" never comes; give it a date that exists")),
    }
}

/// A cron expression in a time zone.
///
/// ```
/// use dunlin_rules::cron::Calendar;
///
/// let daily = Calendar::parse("0 0 * * *", None).unwrap();
/// assert_eq!(daily.next_after(0), Some(24 * 60 * 60 * 1000));
/// ```
#[derive(Debug, Clone)]
pub struct Calendar {
    /// A bit for each value that the field has, in the order of [`FIELDS`].
    values: [u64; 6],
    /// The hour begins with `*`.
    every_hour: bool,
    /// The day of the month or that of the week begins with `*`.
    both_days: bool,
    zone: TimeZone,
}

impl Calendar {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Self, String> {
        if expression.len() > MAX_NAME_BYTES {
            return Err(format!("a cron expression has at most {MAX_NAME_BYTES} bytes"));
        }
        let mut texts: Vec<&str> = expression.split_ascii_whitespace().collect();
        if texts.len() == 5 {
            texts.insert(0, "0");
        }
        let &[_, _, hour, day, _, weekday] = texts.as_slice() else {
            return Err(format!(
                "the cron expression \"{expression}\" must have 5 fields, or 6 with seconds first"
            ));
        };
        let mut values = [0; 6];
        for ((values, field), text) in values.iter_mut().zip(&FIELDS).zip(&texts) {
            *values =
                field.parse(text).map_err(|fault| format!("cron expression \"{expression}\": {fault}"))?;
        }
        // Sunday is 7, too.
        values[5] |= values[5] >> 7 & 1;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => ZONES.get(name).map_err(|_| {
                format!("the time zone \"{name}\" is not known; use a name such as \"Europe/Vienna\"")
            })?,
        };
        let any = |text: &str| text.starts_with(['*', '?']);
        Ok(Self { values, every_hour: any(hour), both_days: any(day) || any(weekday), zone })
    }

    /// Its first time after `now`, both in Unix milliseconds. None if there is none within [`MAX_CRON_YEARS`].
    pub fn next_after(&self, now: u64) -> Option<u64> {
        let now = Timestamp::from_millisecond(i64::try_from(now).ok()?).ok()?;
        let mut from = Timestamp::from_second(now.as_second().checked_add(1)?).ok()?;
        let end = self.zone.to_datetime(from).checked_add(Span::new().years(MAX_CRON_YEARS)).ok()?;
        // From one change of the clock to the next.
        loop {
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next();
            let until = change.as_ref().map_or(end, |change| offset.to_datetime(change.timestamp()).min(end));
            if let Some(found) = self.next_between(offset.to_datetime(from), until, offset) {
                return u64::try_from(found.as_millisecond()).ok();
            }
            let change = change.filter(|_| until < end)?;
            let after = change.offset().to_datetime(change.timestamp());
            if !self.every_hour && self.next_local(until, after).is_some() {
                return u64::try_from(change.timestamp().as_millisecond()).ok();
            }
            from = change.timestamp();
        }
    }

    /// How many of its times lie after the first and up to the second, counted up to a bound.
    pub fn count_between(&self, after: u64, until: u64, most: u64) -> u64 {
        let times = std::iter::successors(self.next_after(after), |at| self.next_after(*at));
        let counted =
            times.take_while(|at| *at <= until).take(usize::try_from(most).unwrap_or(usize::MAX)).count();
        counted as u64
    }

    /// The first time in `[from, until)` of the local clock, while that is `offset` away from UTC.
    fn next_between(&self, mut from: DateTime, until: DateTime, offset: Offset) -> Option<Timestamp> {
        loop {
            let local = self.next_local(from, until)?;
            let at = offset.to_timestamp(local).ok()?;
            // It is the second of its name if the first one, before the clock was set back, was another moment.
            let first = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
            if self.every_hour || first >= at {
                return Some(at);
            }
            from = local.checked_add(Span::new().seconds(1)).ok()?;
        }
    }

    /// The first matching local time in `[from, until)`.
    fn next_local(&self, from: DateTime, until: DateTime) -> Option<DateTime> {
        let mut from = from;
        while from < until {
            let date = from.date();
            if !self.has(4, date.month()) {
                from = date.first_of_month().checked_add(Span::new().months(1)).ok()?.into();
                continue;
            }
            if self.day_matches(date)
                && let Some(time) = self.next_time(from)
            {
                return (time < until).then_some(time);
            }
            from = date.tomorrow().ok()?.into();
        }
        None
    }

    fn day_matches(&self, date: Date) -> bool {
        let day = self.has(3, date.day());
        let weekday = self.has(5, date.weekday().to_sunday_zero_offset());
        if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first matching time of the day, not before the given one.
    fn next_time(&self, from: DateTime) -> Option<DateTime> {
        let [second, minute] = [0, 1].map(|field| self.values[field].trailing_zeros());
        let at = |h: u32, m: u32, s: u32| {
            let [h, m, s] = [h, m, s].map(|part| i8::try_from(part).unwrap_or_default());
            from.date().at(h, m, s, 0)
        };
        let [h, m, s] =
            [from.hour(), from.minute(), from.second()].map(|part| u32::from(part.unsigned_abs()));
        if self.has(2, from.hour()) {
            if self.has(1, from.minute())
                && let Some(s) = self.next_value(0, s)
            {
                return Some(at(h, m, s));
            }
            if let Some(m) = self.next_value(1, m + 1) {
                return Some(at(h, m, second));
            }
        }
        self.next_value(2, h + 1).map(|h| at(h, minute, second))
    }

    fn has(&self, field: usize, value: i8) -> bool {
        self.values[field] >> value & 1 == 1
    }

    /// The first value of a field that is not less than the given one.
    fn next_value(&self, field: usize, from: u32) -> Option<u32> {
        let left = self.values[field].checked_shr(from)?;
        (left != 0).then(|| from + left.trailing_zeros())
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |values, part| Ok(values | self.parse_part(part)?))
    }

    fn parse_part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.first, self.last),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None => {
                let first = self.value(range)?;
                (first, if step.is_some() { self.last } else { first })
            }
        };
        if first > last {
            return Err(format!("{} \"{part}\" ends before it begins", self.name));
        }
        let step = match step.map(str::parse) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => {
                return Err(format!("{} \"{part}\" must have a positive number behind \"/\"", self.name));
            }
        };
        Ok((first..=last).step_by(step).fold(0, |values, value| values | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => u32::try_from(index).ok().map(|index| index + self.first),
            None => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        };
        let fault = || format!("{} \"{text}\" is not one of {}-{}", self.name, self.first, self.last);
        value.filter(|value| (self.first..=self.last).contains(value)).ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::parse(expression, Some(zone)).unwrap();
        let zone = ZONES.get(zone).unwrap();
        let after: Timestamp = after.parse().unwrap();
        let mut at = u64::try_from(after.as_millisecond()).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let Some(next) = calendar.next_after(at) else { break };
            assert!(next > at, "{expression}: {next} is not after {at}");
            let next_time = Timestamp::from_millisecond(i64::try_from(next).unwrap()).unwrap();
            found.push(next_time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z").to_string());
            at = next;
        }
        found
    }

    #[test]
    fn fields_of_all_forms() {
        let table: [(&str, &[&str]); 11] = [
            ("*/20 * * * *", &["2026-01-01 00:20:00", "2026-01-01 00:40:00", "2026-01-01 01:00:00"]),
            ("5/25 0 * * *", &["2026-01-01 00:05:00", "2026-01-01 00:30:00", "2026-01-01 00:55:00"]),
            ("10-14/2,58 3 * * *", &["2026-01-01 03:10:00", "2026-01-01 03:12:00", "2026-01-01 03:14:00"]),
            ("15,45 30 12 * * *", &["2026-01-01 12:30:15", "2026-01-01 12:30:45", "2026-01-02 12:30:15"]),
            ("* * * * * *", &["2026-01-01 00:00:01", "2026-01-01 00:00:02", "2026-01-01 00:00:03"]),
            ("0 9 * * mon-FRI", &["2026-01-01 09:00:00", "2026-01-02 09:00:00", "2026-01-05 09:00:00"]),
            ("0 0 * * 7", &["2026-01-04 00:00:00", "2026-01-11 00:00:00", "2026-01-18 00:00:00"]),
            ("0 0 ? feb,MAR 0", &["2026-02-01 00:00:00", "2026-02-08 00:00:00", "2026-02-15 00:00:00"]),
            ("0 0 13 * fri", &["2026-01-02 00:00:00", "2026-01-09 00:00:00", "2026-01-13 00:00:00"]),
            ("0 0 31 * *", &["2026-01-31 00:00:00", "2026-03-31 00:00:00", "2026-05-31 00:00:00"]),
            ("0 0 29 2 *", &["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ];
        for (expression, expected) in table {
            let expected: Vec<String> = expected.iter().map(|time| format!("{time} +0000")).collect();
            assert_eq!(times(expression, "UTC", "2026-01-01T00:00:00Z", 3), expected, "{expression}");
        }
    }

    #[test]
    fn a_time_that_the_clock_jumps_over_comes_when_it_has_jumped() {
        let expected =
            ["2026-03-28 02:30:00 +0100", "2026-03-29 03:00:00 +0200", "2026-03-30 02:30:00 +0200"];
        assert_eq!(times("30 2 * * *", "Europe/Vienna", "2026-03-27T12:00:00Z", 3), expected);
        // All that was jumped over comes once.
        let expected =
            ["2026-03-29 03:00:00 +0200", "2026-03-29 03:15:00 +0200", "2026-03-29 03:45:00 +0200"];
        assert_eq!(times("15,45 2,3 * * *", "Europe/Vienna", "2026-03-29T00:50:00Z", 3), expected);
    }

    #[test]
    fn of_a_time_that_comes_twice_the_first_counts() {
        let expected = ["2026-10-25 02:30:00 +0200", "2026-10-26 02:30:00 +0100"];
        assert_eq!(times("30 2 * * *", "Europe/Vienna", "2026-10-24T12:00:00Z", 2), expected);
        // Also for who asks between the two.
        assert_eq!(times("30 2 * * *", "Europe/Vienna", "2026-10-25T01:00:00Z", 1), expected[1..]);
    }

    #[test]
    fn what_comes_every_hour_follows_the_hours_that_pass() {
        let expected =
            ["2026-10-25 02:30:00 +0200", "2026-10-25 02:30:00 +0100", "2026-10-25 03:30:00 +0100"];
        assert_eq!(times("30 * * * *", "Europe/Vienna", "2026-10-25T00:00:00Z", 3), expected);
        let expected = ["2026-03-29 01:30:00 +0100", "2026-03-29 03:30:00 +0200"];
        assert_eq!(times("30 * * * *", "Europe/Vienna", "2026-03-29T00:00:00Z", 2), expected);
    }

    #[test]
    fn days_on_which_midnight_does_not_exist() {
        let expected =
            ["2018-11-03 00:00:00 -0300", "2018-11-04 01:00:00 -0200", "2018-11-05 00:00:00 -0200"];
        assert_eq!(times("0 0 * * *", "America/Sao_Paulo", "2018-11-02T12:00:00Z", 3), expected);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (expression, zone, part) in [
            ("* * * *", None, "5 fields"),
            ("* * * * * * *", None, "5 fields"),
            ("60 * * * *", None, "minute \"60\" is not one of 0-59"),
            ("* * 0 * *", None, "day of month \"0\""),
            ("* * * 13 *", None, "month \"13\""),
            ("* * * FOO *", None, "month \"FOO\""),
            ("* * * * 8", None, "day of week \"8\""),
            ("*/0 * * * *", None, "positive number"),
            ("*/x * * * *", None, "positive number"),
            ("5-1 * * * *", None, "ends before it begins"),
            ("+5 * * * *", None, "minute \"+5\""),
            (", * * * *", None, "minute \"\""),
            ("", None, "5 fields"),
            ("0 0 30 2 *", None, "never comes"),
            ("0 0 * * *", Some("Mars/Olympus"), "time zone \"Mars/Olympus\""),
        ] {
            let fault = check(expression, zone).unwrap_err();
            assert!(fault.contains(part), "{expression}: {fault}");
        }
    }

    #[test]
    fn times_beyond_the_calendar_never_come() {
        let calendar = Calendar::parse("* * * * *", None).unwrap();
        assert_eq!(calendar.next_after(u64::MAX), None);
        assert_eq!(calendar.next_after(crate::limits::MAX_DURATION_MS), None);
    }
}
