//! Cron expressions: five fields, a time zone, and the next time that fits. Reads no clock.
//!
//! Where the clocks change, an hour field that begins with `*` follows real time: a local time that
//! comes twice counts twice, one that does not come does not count. Hours that are named count
//! once: at the first of two, and at the moment of the change if the clocks jump over them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The most characters an expression may have.
const CHARS_MAX: usize = 256;

/// How far ahead a time is looked for. The 29th of February falls on each day of the week within
/// 40 years, even around 2100, which has none.
const AHEAD_DAYS_MAX: i64 = 40 * 366;

/// The resolution of [`Timestamp`]: the least by which one instant is after another.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    /// 0 is Sunday; 7 is not in it.
    weekdays: Set,
    zone: TimeZone,
}

/// What one field allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    /// A bit for each number.
    bits: u64,
    /// Whether the field begins with `*`.
    starred: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.first_from(number) == Some(number))
    }

    /// The least number in it that is not below `from`.
    fn first_from(self, from: u32) -> Option<u32> {
        let left = self.bits.checked_shr(from)?;
        (left != 0).then(|| from + left.trailing_zeros())
    }
}

/// Finds a time zone by its IANA name.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        if text.chars().count() > CHARS_MAX {
            return Err(format!("it has more than {CHARS_MAX} characters"));
        }
        let text = written_out(text.trim())?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "it has {} fields and not five: minute, hour, day of the month, month, day of the \
                 week",
                fields.len()
            ));
        };
        let mut weekdays = Field::new("day of the week", 0, 7, &WEEKDAYS).read(weekdays)?;
        weekdays.bits |= (weekdays.bits >> 7) & 1;
        weekdays.bits &= 0x7f;
        Ok(Self {
            minutes: Field::new("minute", 0, 59, &[]).read(minutes)?,
            hours: Field::new("hour", 0, 23, &[]).read(hours)?,
            days: Field::new("day of the month", 1, 31, &[]).read(days)?,
            months: Field::new("month", 1, 12, &MONTHS).read(months)?,
            weekdays,
            zone,
        })
    }

    /// The first time after `after`; `None` if there is none within 40 years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let ahead = SignedDuration::from_hours(24 * AHEAD_DAYS_MAX);
        let last = after.saturating_add(ahead).unwrap_or(Timestamp::MAX);
        let mut from = after.checked_add(INSTANT).ok()?;
        // From one change of the clocks to the next they show local times in order.
        loop {
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            let until = change.unwrap_or(last).min(last);
            if let Some(found) = self.next_between_changes(from, until) {
                return Some(found);
            }
            if until >= last {
                return None;
            }
            from = until;
        }
    }

    /// The first time from `from` on and before `until`; the clocks do not change between them.
    fn next_between_changes(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let offset = self.zone.to_offset(from);
        let mut local = whole_minute_from(offset.to_datetime(from))?;
        if !self.hours.starred
            && let Some((changed_at, before, after)) = self.last_change(from)
        {
            // They were put forward at this moment.
            if from == changed_at && self.next_local(before, after).is_some() {
                return Some(from);
            }
            // They were put back: these local times have been.
            local = local.max(before);
        }
        let found = self.next_local(local, offset.to_datetime(until))?;
        offset.to_timestamp(found).ok()
    }

    /// The latest change of the clocks that is not after `at`, and what they showed then: what they
    /// would have shown, and what they did show.
    fn last_change(&self, at: Timestamp) -> Option<(Timestamp, DateTime, DateTime)> {
        let later = at.checked_add(INSTANT).ok()?;
        let changed_at = self.zone.preceding(later).next()?.timestamp();
        let earlier = changed_at.checked_sub(INSTANT).ok()?;
        let shown = |offset_at| self.zone.to_offset(offset_at).to_datetime(changed_at);
        Some((changed_at, shown(earlier), shown(changed_at)))
    }

    /// The first local time from `from` on and before `until`.
    fn next_local(&self, from: DateTime, until: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let mut earliest = (u32::try_from(from.hour()).ok()?, u32::try_from(from.minute()).ok()?);
        while date <= until.date() {
            if !self.months.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                earliest = (0, 0);
                continue;
            }
            if self.has_day(date)
                && let Some(found) = self.first_in_day(date, earliest)
            {
                return (found < until).then_some(found);
            }
            date = date.tomorrow().ok()?;
            earliest = (0, 0);
        }
        None
    }

    /// Where both kinds of day are named, either will do; so it has been since the first cron.
    fn has_day(&self, date: Date) -> bool {
        let of_month = self.days.has(date.day());
        let of_week = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.days.starred || self.weekdays.starred {
            return of_month && of_week;
        }
        of_month || of_week
    }

    fn first_in_day(&self, date: Date, (hour, minute): (u32, u32)) -> Option<DateTime> {
        let in_this_hour = || {
            let minute = self.minutes.first_from(minute)?;
            (self.hours.first_from(hour)? == hour).then_some((hour, minute))
        };
        let in_a_later_hour =
            || Some((self.hours.first_from(hour + 1)?, self.minutes.first_from(0)?));
        let (hour, minute) = in_this_hour().or_else(in_a_later_hour)?;
        Some(date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0))
    }
}

/// The local time, or the next whole minute after it.
fn whole_minute_from(local: DateTime) -> Option<DateTime> {
    let whole = local.date().at(local.hour(), local.minute(), 0, 0);
    if whole == local { Some(local) } else { whole.checked_add(1.minute()).ok() }
}

/// The usual words for usual expressions.
fn written_out(text: &str) -> Result<&str, String> {
    match text {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        word if word.starts_with('@') => {
            Err(format!("{word:?} is not one of @hourly, @daily, @weekly, @monthly and @yearly"))
        }
        fields => Ok(fields),
    }
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Words for `least` and those after it.
    words: &'static [&'static str],
}

impl Field {
    fn new(name: &'static str, least: u32, most: u32, words: &'static [&'static str]) -> Self {
        Self { name, least, most, words }
    }

    fn read(&self, text: &str) -> Result<Set, String> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part)?;
        }
        Ok(Set { bits, starred: text.starts_with('*') })
    }

    /// `*`, `5`, `1-5`, and each with `/2` behind it.
    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(self.step(step)?)),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            None if step.is_some() => (self.number(range)?, self.most),
            None => (self.number(range)?, self.number(range)?),
            Some((first, last)) => self.range(range, self.number(first)?, self.number(last)?)?,
        };
        let step = step.unwrap_or(1);
        Ok((first..=last).step_by(step).fold(0, |bits, number| bits | (1 << number)))
    }

    fn range(&self, range: &str, first: u32, last: u32) -> Result<(u32, u32), String> {
        // A week may end on Sunday: FRI-SUN.
        let is_sunday = self.most == 7 && last == 0;
        let last = if is_sunday && first > 0 { 7 } else { last };
        if first > last {
            return Err(self.wrong(format!("{range} ends before it begins")));
        }
        Ok((first, last))
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        let step = digits(text).filter(|step| (1..=self.most).contains(step));
        let wrong =
            || self.wrong(format!("/{text} is no step: it is a number from 1 to {}", self.most));
        step.map(|step| step as usize).ok_or_else(wrong)
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        if let Some(place) = word.and_then(|place| u32::try_from(place).ok()) {
            return Ok(self.least + place);
        }
        let number = digits(text).filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| {
            let or_word = match (self.words.first(), self.words.last()) {
                (Some(first), Some(last)) => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            let (least, most) = (self.least, self.most);
            self.wrong(format!("{text:?} is not a number from {least} to {most}{or_word}"))
        })
    }

    fn wrong(&self, what: String) -> String {
        format!("in the {}, {what}", self.name)
    }
}

/// A number of digits alone: no sign, no space.
fn digits(text: &str) -> Option<u32> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if only_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str, zone_name: &str) -> Cron {
        Cron::parse(text, zone(zone_name).expect("a zone")).expect("reads")
    }

    /// The times after `after`, separated by spaces.
    fn check(text: &str, zone_name: &str, after: &str, expected: &str) {
        let cron = cron(text, zone_name);
        let after: Timestamp = after.parse().expect("a time");
        let times = std::iter::successors(cron.next(after), |last| cron.next(*last));
        let times: Vec<_> =
            times.take(expected.split(' ').count()).map(|it| it.to_string()).collect();
        assert_eq!(times.join(" "), expected, "{text} {zone_name} after {after}");
    }

    #[test]
    fn fields_are_lists_of_numbers_ranges_and_steps() {
        let utc = |text, after, expected| check(text, "UTC", after, expected);
        utc("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z 2026-01-01T00:02:00Z");
        utc("* * * * *", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z");
        utc("*/20 9-10 * * *", "2026-01-01T09:30:00Z", "2026-01-01T09:40:00Z 2026-01-01T10:00:00Z");
        utc("5,50/5 0 * * *", "2026-01-01T00:05:00Z", "2026-01-01T00:50:00Z 2026-01-01T00:55:00Z");
        utc("0 0 1 jan,JUL *", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z 2027-01-01T00:00:00Z");
        utc(
            "0 0 * * FRI-SUN",
            "2026-01-01T12:00:00Z",
            "2026-01-02T00:00:00Z 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z 2026-01-09T00:00:00Z",
        );
        utc("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z");
        utc("0 0 31 * *", "2026-11-01T00:00:00Z", "2026-12-31T00:00:00Z 2027-01-31T00:00:00Z");
        utc("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
    }

    #[test]
    fn of_two_kinds_of_day_either_will_do_unless_one_is_starred() {
        let utc = |text, expected| check(text, "UTC", "2026-01-01T00:00:00Z", expected);
        utc("0 0 13 * FRI", "2026-01-02T00:00:00Z 2026-01-09T00:00:00Z 2026-01-13T00:00:00Z");
        utc("0 0 */2 * FRI", "2026-01-09T00:00:00Z 2026-01-23T00:00:00Z");
    }

    #[test]
    fn rare_days_are_found_and_days_that_never_come_are_told() {
        check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
        check(
            "0 0 29 2 */7",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2032-02-29T00:00:00Z 2060-02-29T00:00:00Z",
        );
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        assert_eq!(cron("0 0 30 2 *", "UTC").next(start), None);
        assert_eq!(cron("0 0 30 2 *", "Europe/Berlin").next(start), None);
    }

    #[test]
    fn the_end_of_all_time_is_no_error() {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Kiritimati"] {
            assert_eq!(cron("* * * * *", zone).next(Timestamp::MAX), None);
            assert!(cron("* 5 * * *", zone).next(Timestamp::MIN).is_some());
        }
    }

    /// In Berlin, 2026-03-29T02:00 is followed by 03:00: that is 01:00 UTC.
    #[test]
    fn local_times_that_the_clocks_jump_over_count_once_if_their_hour_is_named() {
        let berlin =
            |text, expected| check(text, "Europe/Berlin", "2026-03-29T00:20:00Z", expected);
        berlin("30 2 * * *", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
        berlin("15,45 2 * * *", "2026-03-29T01:00:00Z 2026-03-30T00:15:00Z");
        berlin("30 1,2,3 * * *", "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z 2026-03-29T01:30:00Z");
        berlin("0 3 * * *", "2026-03-29T01:00:00Z 2026-03-30T01:00:00Z");
        berlin("30 * * * *", "2026-03-29T00:30:00Z 2026-03-29T01:30:00Z");
        check("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z");
    }

    /// In Berlin, 2026-10-25T03:00 is followed by 02:00: that is 01:00 UTC.
    #[test]
    fn local_times_that_come_twice_count_once_if_their_hour_is_named() {
        let berlin =
            |text, expected| check(text, "Europe/Berlin", "2026-10-24T23:50:00Z", expected);
        berlin("30 2 * * *", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z");
        berlin("0 2,3 * * *", "2026-10-25T00:00:00Z 2026-10-25T02:00:00Z");
        berlin("30 * * * *", "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-25T02:30:00Z");
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z");
    }

    /// On Lord Howe the clocks change by half an hour, in Kiritimati a day was left out, and before
    /// there were zones offsets had seconds.
    #[test]
    fn strange_zones_are_zones() {
        let howe = "Australia/Lord_Howe";
        check(
            "0 5 * * *",
            howe,
            "2026-04-04T13:30:00Z",
            "2026-04-04T18:30:00Z 2026-04-05T18:30:00Z",
        );
        check(
            "45 1 * * *",
            howe,
            "2026-04-04T13:30:00Z",
            "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z",
        );
        check(
            "15 2 * * *",
            howe,
            "2026-10-03T13:00:00Z",
            "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z",
        );
        check(
            "0 12 * * *",
            "Pacific/Kiritimati",
            "1994-12-30T00:00:00Z",
            "1994-12-30T22:00:00Z 1994-12-31T10:00:00Z 1994-12-31T22:00:00Z",
        );
        check("0 0 * * *", "Europe/Berlin", "1890-01-01T00:00:00Z", "1890-01-01T23:06:32Z");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "it has 0 fields"),
            ("* * * *", "it has 4 fields"),
            ("* * * * * *", "it has 6 fields"),
            ("60 * * * *", "in the minute, \"60\" is not a number from 0 to 59"),
            ("* -1 * * *", "in the hour, \"\" is not a number"),
            ("* * 0 * *", "in the day of the month, \"0\""),
            ("* * * FOO *", "or JAN to DEC"),
            ("* * * * 8", "or SUN to SAT"),
            ("*/0 * * * *", "/0 is no step"),
            ("*/99 * * * *", "/99 is no step"),
            ("5-1 * * * *", "5-1 ends before it begins"),
            ("1,,2 * * * *", "\"\" is not a number"),
            ("** * * * *", "\"**\" is not a number"),
            ("+1 * * * *", "\"+1\" is not a number"),
            ("* * L * *", "\"L\" is not a number"),
            ("@often", "\"@often\" is not one of @hourly"),
            (&"1,".repeat(200), "more than 256 characters"),
        ] {
            let refused = Cron::parse(text, TimeZone::UTC).expect_err(text);
            assert!(refused.contains(said), "{text:?}: {refused}");
        }
    }
}
