//! Which cron lines, durations and zones are read, and how others are refused.

use proptest::prelude::*;

use crate::window::cron::Cron;
use crate::window::{Length, zone};

fn refusals<T>(
    texts: &[&str],
    read: impl Fn(&str) -> Result<T, crate::window::Diagnostic>,
) -> String {
    let lines: Vec<_> = texts
        .iter()
        .map(|text| match read(text) {
            Ok(_) => panic!("{text:?} is read"),
            Err(diagnostic) => format!(
                "{text:?}\n    {}\n    {}",
                diagnostic.message, diagnostic.hint
            ),
        })
        .collect();
    lines.join("\n")
}

#[test]
fn lines_that_say_the_same_are_the_same() {
    for (one, other) in [
        ("0 22 * * MON-FRI", "0 22 * * MON,TUE,WED,THU,FRI"),
        ("0 22 * * MON-FRI", "  00 022  1-31 JAN-DEC mon-Fri  "),
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("0-59/20 * * * *", "0,20,40 * * * *"),
        ("5-59/20 * * * *", "5,25,45 * * * *"),
        ("0 22-2 * * *", "0 22,23,0,1,2 * * *"),
        ("0 22-4/2 * * *", "0 22,0,2,4 * * *"),
        ("0 23-22 * * *", "0 0-23 * * *"),
        ("0 *,5 * * *", "0 * * * *"),
        ("0 */12,5 * * *", "0 5,*/12 * * *"),
        ("0 0 * * SAT-SUN", "0 0 * * SUN,SAT"),
        ("0 0 * * FRI-MON", "0 0 * * FRI,SAT,SUN,MON"),
        ("0 0 * * SUN-SAT", "0 0 * * *"),
        ("0 0 * NOV-FEB *", "0 0 * 11,12,1,2 *"),
        ("0 0 28-2 * *", "0 0 28,29,30,31,1,2 * *"),
        ("0 0 * 1-DEC *", "0 0 * * *"),
        ("0 */23 * * *", "0 */23,0,23 * * *"),
        ("0 0 * */3 *", "0 0 * JAN,APR,JUL,OCT *"),
        ("5-5 0 * * *", "5 0 * * *"),
        ("0 0 1-31 * FRI", "0 0 * * FRI"),
        ("0 0 13 * MON-SUN", "0 0 13 * *"),
        ("1,1,1-2 0 * * *", "1-2 0 * * *"),
    ] {
        let [one_, other_] = [one, other].map(|text| Cron::parse(text).unwrap());
        assert_eq!(one_, other_, "{one:?} and {other:?}");
    }
    // Hours with a `*` and without one go on otherwise when clocks change.
    for (one, other) in [
        ("0 * * * *", "0 0-23 * * *"),
        ("0 */6 * * *", "0 0,6,12,18 * * *"),
        ("0 */6 * * *", "0 0-23/6 * * *"),
    ] {
        let [one_, other_] = [one, other].map(|text| Cron::parse(text).unwrap());
        assert_ne!(one_, other_, "{one:?} and {other:?}");
        let any_hour = true;
        assert_eq!(one_, Cron { any_hour, ..other_ });
    }
    for dates in [
        "0 0 29 FEB *",
        "0 0 30-31 * *",
        "0 0 31 JAN,FEB *",
        "0 0 29-31 2 *",
    ] {
        Cron::parse(dates).unwrap();
    }
}

#[test]
fn what_cron_programs_do_not_agree_on_is_refused() {
    let seen = refusals(
        &[
            "",
            " ",
            "@daily",
            "@reboot",
            "0",
            "0 22 * *",
            "0 0 22 * * MON-FRI",
            "0 0 22 * * MON-FRI 2026",
            "60 * * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 32 * *",
            "0 0 * 0 *",
            "0 0 * 13 *",
            "-1 0 * * *",
            "99999999999 0 * * *",
            "0 0 * * 0",
            "0 0 * * 1-5",
            "0 0 * * 7",
            "0 0 * * MON-5",
            "0 0 * * MON-FRI/2",
            "0 0 * * MON/2",
            "0 0 * * */2",
            "0 0 * * MONDAY",
            "0 0 * * MO",
            "0 0 * MON *",
            "0 0 * JANUARY *",
            "MON 0 * * *",
            "0 0 13 * FRI",
            "0 0 */2 * MON-FRI",
            "0 0 ? * MON",
            "0 0 * * ?",
            "0 0 L * *",
            "0 0 L-3 * *",
            "0 0 15W * *",
            "0 0 LW * *",
            "0 0 * * FRI#2",
            "0 0 * * 5L",
            "0 0 31 2 *",
            "0 0 30 FEB *",
            "0 0 31 APR,JUN,9,11 *",
            "*/0 * * * *",
            "*/60 * * * *",
            "*/90 * * * *",
            "*/x * * * *",
            "*/ * * * *",
            "*/-5 * * * *",
            "*/5/5 * * * *",
            "0/15 * * * *",
            "10-12/3 * * * *",
            "5-5/1 * * * *",
            "1- * * * *",
            "1-2-3 * * * *",
            "1, * * * *",
            ",1 * * * *",
            "1;2 * * * *",
            "** * * * *",
            "1.5 * * * *",
            "+5 * * * *",
            "٣ * * * *",
            "0 0 * * ΜΟΝ",
        ],
        Cron::parse,
    );
    insta::assert_snapshot!("bad_lines", seen);
}

#[test]
fn durations_are_whole_minutes_with_units() {
    for (text, minutes) in [
        ("1m", 1),
        ("90m", 90),
        ("8h", 480),
        ("1h30m", 90),
        ("2d", 2_880),
        ("1d12h", 2_160),
        ("1d1m", 1_441),
        ("6d23h60m", 10_080),
        ("7d", 10_080),
        ("168h", 10_080),
        ("10080m", 10_080),
        ("08h", 480),
        ("0h1m", 1),
    ] {
        let length =
            Length::parse(text).unwrap_or_else(|diagnostic| panic!("{text}: {diagnostic}"));
        assert_eq!(length.minutes(), minutes, "{text}");
        assert_eq!(length.delta().num_minutes(), i64::from(minutes));
        assert_eq!(length.to_string(), text);
    }
    let seen = refusals(
        &[
            "",
            "8",
            "h",
            "0m",
            "0d0h0m",
            "30s",
            "1h30",
            "1h30s",
            "1m2h",
            "1h1h",
            "1.5h",
            "1,5h",
            "8 h",
            " 8h",
            "8H",
            "8hours",
            "-8h",
            "+8h",
            "1w",
            "8d",
            "7d1m",
            "10081m",
            "99999999999999999999d",
            "PT8H",
            "8:00",
            "٣h",
        ],
        Length::parse,
    );
    insta::assert_snapshot!("bad_durations", seen);
}

#[test]
fn zones_are_named_as_in_the_database() {
    for name in [
        "Europe/Berlin",
        "UTC",
        "Etc/UTC",
        "America/St_Johns",
        "US/Eastern",
        "Etc/GMT-2",
    ] {
        assert_eq!(zone::parse(name).unwrap().name(), name);
    }
    let seen = refusals(
        &[
            "",
            "europe/berlin",
            "Europe/Berln",
            "Berlin",
            "New York",
            "utc",
            "Z",
            "PST",
            "CEST",
            "UTC+2",
            "+02:00",
            "GMT-5",
            "Etc/GMT+99",
            "Europe/Atlantis",
            "local",
        ],
        zone::parse,
    );
    insta::assert_snapshot!("bad_zones", seen);
}

proptest! {
    /// Whatever is written is read or refused; nothing panics.
    #[test]
    fn any_text_is_read_or_refused(
        line in r"([0-9]{1,3}|[*/,\-?#LW@]|MON|FEB|\PC| ){0,20}",
        duration in r"([0-9]{1,12}|[dhms.]|\PC){0,8}",
        name in r"\PC{0,20}",
    ) {
        drop(Cron::parse(&line));
        drop(Length::parse(&duration));
        drop(zone::parse(&name));
    }
}
