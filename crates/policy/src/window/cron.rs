//! The minutes of a calendar that a cron line names: five sets of bits, searched both ways.
//!
//! It knows no zone: times here are what a clock on the wall shows.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// From one 29 February to the next it can be 8 years (1896, 1904; 2096, 2104).
const MONTHS_SEARCHED_MAX: usize = 8 * 12 + 1;
const LAST_DAY: u32 = 31;

/// A cron line, understood. Bit n of a set is the value n; Sunday is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cron {
    pub(super) minutes: u64,
    pub(super) hours: u32,
    pub(super) days: u32,
    pub(super) months: u32,
    pub(super) weekdays: u32,
    /// Whether the hour is written with a `*`: the window then follows what clocks show.
    pub(super) any_hour: bool,
}

impl Cron {
    /// The last minute that it names, not after `at`.
    pub(super) fn previous(&self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let today = at.date();
        if self.names_day(today)
            && let Some(time) = self.previous_time(at.hour(), at.minute())
        {
            return Some(today.and_time(time));
        }
        let date = self.previous_date(today.pred_opt()?)?;
        Some(date.and_time(self.last_time()?))
    }

    /// The first minute that it names, not before `at`.
    pub(super) fn next(&self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let today = at.date();
        let begun = at.second() > 0 || at.nanosecond() > 0;
        if self.names_day(today)
            && let Some(time) = self.next_time(at.hour(), at.minute() + u32::from(begun))
        {
            return Some(today.and_time(time));
        }
        let date = self.next_date(today.succ_opt()?)?;
        Some(date.and_time(self.first_time()?))
    }

    /// The first minute of each day that it names.
    pub(super) fn first_time(&self) -> Option<NaiveTime> {
        NaiveTime::from_hms_opt(lowest(self.hours)?, lowest_minute(self.minutes)?, 0)
    }

    /// The last minute of each day that it names.
    pub(super) fn last_time(&self) -> Option<NaiveTime> {
        NaiveTime::from_hms_opt(highest(self.hours)?, highest_minute(self.minutes)?, 0)
    }

    /// The most minutes between one minute that it names and the next on the same day.
    pub(super) fn gap_minutes_max(&self) -> u32 {
        let within = widest_gap(self.minutes);
        let hours = widest_gap(self.hours.into());
        let across = match (lowest_minute(self.minutes), highest_minute(self.minutes)) {
            (Some(first), Some(last)) if hours > 0 => hours * 60 + first - last,
            _ => 0,
        };
        within.max(across)
    }

    /// Whether it names the minute that begins then.
    pub(super) fn names(&self, local: NaiveDateTime) -> bool {
        self.previous(local) == Some(local)
    }

    fn names_day(&self, date: NaiveDate) -> bool {
        self.days_of(date.year(), date.month())
            .is_some_and(|days| days >> date.day() & 1 == 1)
    }

    fn previous_time(&self, hour: u32, minute: u32) -> Option<NaiveTime> {
        if self.hours >> hour & 1 == 1
            && let Some(minute) = highest_minute(self.minutes & (u64::MAX >> (63 - minute)))
        {
            return NaiveTime::from_hms_opt(hour, minute, 0);
        }
        let hour = highest(self.hours & !(u32::MAX << hour))?;
        NaiveTime::from_hms_opt(hour, highest_minute(self.minutes)?, 0)
    }

    /// `minute` may be 60, after the last one of the hour.
    fn next_time(&self, hour: u32, minute: u32) -> Option<NaiveTime> {
        if self.hours >> hour & 1 == 1
            && let Some(minute) = lowest_minute(self.minutes & (u64::MAX << minute))
        {
            return NaiveTime::from_hms_opt(hour, minute, 0);
        }
        let hour = lowest(self.hours & (u32::MAX << (hour + 1)))?;
        NaiveTime::from_hms_opt(hour, lowest_minute(self.minutes)?, 0)
    }

    fn previous_date(&self, until: NaiveDate) -> Option<NaiveDate> {
        let (mut year, mut month, mut day) = (until.year(), until.month(), until.day());
        for _ in 0..MONTHS_SEARCHED_MAX {
            let days = self.days_of(year, month)? & (u32::MAX >> (LAST_DAY - day));
            if let Some(day) = highest(days) {
                return NaiveDate::from_ymd_opt(year, month, day);
            }
            (year, month) = match month {
                1 => (year - 1, 12),
                _ => (year, month - 1),
            };
            day = LAST_DAY;
        }
        None
    }

    fn next_date(&self, from: NaiveDate) -> Option<NaiveDate> {
        let (mut year, mut month, mut day) = (from.year(), from.month(), from.day());
        for _ in 0..MONTHS_SEARCHED_MAX {
            let days = self.days_of(year, month)? & (u32::MAX << day);
            if let Some(day) = lowest(days) {
                return NaiveDate::from_ymd_opt(year, month, day);
            }
            (year, month) = match month {
                12 => (year + 1, 1),
                _ => (year, month + 1),
            };
            day = 1;
        }
        None
    }

    /// The days of this month that it names; none where the calendar ends.
    fn days_of(&self, year: i32, month: u32) -> Option<u32> {
        if self.months >> month & 1 == 0 {
            return Some(0);
        }
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        // The weekdays of this month's days: bit 0 is the 1st; five weeks.
        let begins_with = first.weekday().num_days_from_sunday();
        let twice = self.weekdays | self.weekdays << 7;
        let week = u64::from(twice >> begins_with & 0x7F);
        let weeks = week | week << 7 | week << 14 | week << 21 | week << 28;
        let in_weeks = u32::try_from(weeks << 1 & u64::from(u32::MAX)).unwrap_or(0);
        let length = u32::from(first.num_days_in_month());
        Some(self.days & in_weeks & (u32::MAX >> (LAST_DAY - length)))
    }
}

fn lowest(set: u32) -> Option<u32> {
    (set != 0).then(|| set.trailing_zeros())
}

fn highest(set: u32) -> Option<u32> {
    set.checked_ilog2()
}

fn lowest_minute(set: u64) -> Option<u32> {
    (set != 0).then(|| set.trailing_zeros())
}

fn highest_minute(set: u64) -> Option<u32> {
    set.checked_ilog2()
}

/// The largest difference between one value of a set and the next; 0 where it has only one.
fn widest_gap(mut set: u64) -> u32 {
    let mut widest = 0;
    let mut last = None;
    while set != 0 {
        let value = set.trailing_zeros();
        widest = last.map_or(widest, |last| widest.max(value - last));
        last = Some(value);
        set &= set - 1;
    }
    widest
}
