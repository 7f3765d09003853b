//! When windows are open while clocks change: of lines with a `*` in their hour and, beside them, some without.

use super::states::{at, in_words, window};

/// A window, a time, and what the window is then.
const CHANGES: &[(&str, &str, &str)] = &[
    // 02:00 to 02:59 comes twice, and they open both times.
    (
        "*/15 * * * * for 10m in Europe/Berlin",
        "2026-10-25T00:05:00Z",
        "open from 2026-10-25T00:00:00Z until 2026-10-25T00:10:00Z",
    ),
    (
        "*/15 * * * * for 10m in Europe/Berlin",
        "2026-10-25T00:55:00Z",
        "closed from 2026-10-25T00:55:00Z until 2026-10-25T01:00:00Z",
    ),
    (
        "*/15 * * * * for 10m in Europe/Berlin",
        "2026-10-25T01:05:00Z",
        "open from 2026-10-25T01:00:00Z until 2026-10-25T01:10:00Z",
    ),
    (
        "*/15 * * * * for 10m in Europe/Berlin",
        "2026-10-25T01:12:00Z",
        "closed from 2026-10-25T01:10:00Z until 2026-10-25T01:15:00Z",
    ),
    (
        "*/15 * * * * for 15m in Europe/Berlin",
        "2026-10-25T01:12:00Z",
        "open from ever until ever",
    ),
    (
        "50 * * * * for 20m in Europe/Berlin",
        "2026-10-25T01:05:00Z",
        "open from 2026-10-25T00:50:00Z until 2026-10-25T01:10:00Z",
    ),
    (
        "0 */2 * * * for 30m in Europe/Berlin",
        "2026-10-25T00:40:00Z",
        "closed from 2026-10-25T00:30:00Z until 2026-10-25T01:00:00Z",
    ),
    (
        "0 1,*/2 * * * for 30m in Europe/Berlin",
        "2026-10-25T01:10:00Z",
        "open from 2026-10-25T01:00:00Z until 2026-10-25T01:30:00Z",
    ),
    // Hours that are named: the first time only.
    (
        "*/15 0-23 * * * for 10m in Europe/Berlin",
        "2026-10-25T01:05:00Z",
        "closed from 2026-10-25T00:55:00Z until 2026-10-25T02:00:00Z",
    ),
    (
        "0 0-23/2 * * * for 30m in Europe/Berlin",
        "2026-10-25T01:10:00Z",
        "closed from 2026-10-25T00:30:00Z until 2026-10-25T03:00:00Z",
    ),
    (
        "0 1,2 * * * for 30m in Europe/Berlin",
        "2026-10-25T01:10:00Z",
        "closed from 2026-10-25T00:30:00Z until 2026-10-26T00:00:00Z",
    ),
    // Clocks skip 02:00 to 02:59: an hour is an hour, and nothing is put off.
    (
        "*/30 * * * * for 10m in Europe/Berlin",
        "2026-03-29T00:45:00Z",
        "closed from 2026-03-29T00:40:00Z until 2026-03-29T01:00:00Z",
    ),
    (
        "*/30 * * * * for 10m in Europe/Berlin",
        "2026-03-29T01:15:00Z",
        "closed from 2026-03-29T01:10:00Z until 2026-03-29T01:30:00Z",
    ),
    (
        "*/15 2 * * * for 10m in Europe/Berlin",
        "2026-03-29T01:15:00Z",
        "closed from 2026-03-29T01:10:00Z until 2026-03-30T00:00:00Z",
    ),
    (
        "0 */2 * * * for 30m in Europe/Berlin",
        "2026-03-29T01:15:00Z",
        "closed from 2026-03-28T23:30:00Z until 2026-03-29T02:00:00Z",
    ),
    (
        "0 0-23/2 * * * for 30m in Europe/Berlin",
        "2026-03-29T01:15:00Z",
        "open from 2026-03-29T01:00:00Z until 2026-03-29T01:30:00Z",
    ),
    // Half an hour.
    (
        "0 * * * * for 30m in Australia/Lord_Howe",
        "2026-10-03T15:40:00Z",
        "closed from 2026-10-03T15:00:00Z until 2026-10-03T16:00:00Z",
    ),
    (
        "45 * * * * for 10m in Australia/Lord_Howe",
        "2026-04-04T15:16:00Z",
        "open from 2026-04-04T15:15:00Z until 2026-04-04T15:25:00Z",
    ),
    // Two hours.
    (
        "0 * * * * for 10m in Antarctica/Troll",
        "2026-03-29T01:05:00Z",
        "open from 2026-03-29T01:00:00Z until 2026-03-29T01:10:00Z",
    ),
    (
        "0 */2 * * * for 10m in Antarctica/Troll",
        "2026-03-29T01:05:00Z",
        "closed from 2026-03-29T00:10:00Z until 2026-03-29T02:00:00Z",
    ),
    // At midnight.
    (
        "0 * * * SUN for 10m in America/Havana",
        "2026-03-08T05:05:00Z",
        "open from 2026-03-08T05:00:00Z until 2026-03-08T05:10:00Z",
    ),
    (
        "0 */12 * * * for 10m in America/Havana",
        "2026-03-08T05:05:00Z",
        "closed from 2026-03-07T17:10:00Z until 2026-03-08T16:00:00Z",
    ),
    (
        "0 */12 * * * for 10m in America/Havana",
        "2026-11-01T05:05:00Z",
        "open from 2026-11-01T05:00:00Z until 2026-11-01T05:10:00Z",
    ),
    (
        "30 * * * SAT for 10m in America/Sao_Paulo",
        "2019-02-17T02:35:00Z",
        "open from 2019-02-17T02:30:00Z until 2019-02-17T02:40:00Z",
    ),
    // The first minute of the day that clocks skip is no start to be open since.
    (
        "0 */22 * * * for 22h in America/Havana",
        "2026-03-09T02:30:00Z",
        "open from 2026-03-09T02:00:00Z until 2027-03-15T01:00:00Z",
    ),
    // For Ramadan, and in winter time that is less.
    (
        "30 * * * * for 10m in Africa/Casablanca",
        "2026-02-15T02:35:00Z",
        "open from 2026-02-15T02:30:00Z until 2026-02-15T02:40:00Z",
    ),
    (
        "15 * * * * for 10m in Europe/Dublin",
        "2026-10-25T01:20:00Z",
        "open from 2026-10-25T01:15:00Z until 2026-10-25T01:25:00Z",
    ),
    // Clocks went on at 00:44:30, from midnight.
    (
        "44 * * * * for 10m in Africa/Monrovia",
        "1972-01-07T00:50:00Z",
        "open from 1972-01-07T00:44:30Z until 1972-01-07T00:54:30Z",
    ),
    (
        "44 * * * * for 10m in Africa/Monrovia",
        "1972-01-07T00:40:00Z",
        "closed from 1972-01-07T00:38:30Z until 1972-01-07T00:44:30Z",
    ),
    (
        "30 * * * * for 10m in Africa/Monrovia",
        "1972-01-07T00:50:00Z",
        "closed from 1972-01-07T00:24:30Z until 1972-01-07T01:30:00Z",
    ),
    (
        "30 0 * * * for 10m in Africa/Monrovia",
        "1972-01-07T00:50:00Z",
        "open from 1972-01-07T00:44:30Z until 1972-01-07T00:54:30Z",
    ),
];

#[test]
fn a_star_in_the_hour_follows_what_clocks_show_and_named_hours_open_once() {
    for (text, now, state) in CHANGES {
        assert_eq!(in_words(&window(text), at(now)), *state, "{text} at {now}");
    }
}
