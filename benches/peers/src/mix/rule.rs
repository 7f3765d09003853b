//! Rules in a form of no engine: each engine's own is made from them.

use super::{chance, random};

/// How many of a hundred rules go by what.
const ROOMS: usize = 70;
const ROOM_STARTS: usize = 15;
const IDENTITIES: usize = 10;
const ROOM_GLOBS: usize = 3;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub place: Place,
    /// About microphones only, and what may be one; else about any sound.
    pub microphones: bool,
    /// Leaves alone whose attribute `role` is `host` or `moderator`.
    pub exempts_hosts: bool,
    pub when: Option<When>,
    pub hours: Option<&'static Hours>,
    pub first_minutes: Option<i64>,
    pub effect: Effect,
    pub mode: Mode,
    pub priority: u16,
}

/// Where a rule is about.
#[derive(Debug, Clone)]
pub enum Place {
    Room(String),
    /// `start*`
    RoomStart(String),
    /// `*end`
    RoomEnd(String),
    /// `*text*`
    RoomInside(String),
    /// `start*end`
    RoomEnds(String, String),
    Identity(String),
    /// Phone callers of this region (an attribute), in any room.
    Callers(String),
}

/// A condition, one of six forms.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// The room has more participants than this.
    Crowded(i64),
    /// The identity does not start with `staff-`.
    NotStaff,
    /// The room's plan is `free` or `trial`, and it is not being recorded.
    Plan,
    /// The class in the room's metadata, where there is one, is of this level or higher, or the
    /// participant has no name.
    Level(i64),
    /// At least this many publish, and the codec is not that for bad networks.
    Publishers(i64),
    /// The track's name has `screen` in it, or the participant has the attribute `watched`.
    Watched,
}

/// Times of the week at which some rules are in force.
#[derive(Debug)]
pub struct Hours {
    pub name: &'static str,
    pub cron: &'static str,
    pub duration: &'static str,
    pub timezone: &'static str,
    /// Whether that is now ([`super::now`]); the proof finds out if it is wrong.
    pub open: bool,
}

const fn hours(
    name: &'static str,
    cron: &'static str,
    duration: &'static str,
    timezone: &'static str,
    open: bool,
) -> Hours {
    Hours {
        name,
        cron,
        duration,
        timezone,
        open,
    }
}

/// All of them.
pub const HOURS: [Hours; 6] = [
    hours("night", "0 22 * * *", "8h", "Europe/Berlin", false),
    hours("lessons", "0 8 * * MON-FRI", "6h", "Europe/Berlin", true),
    hours("office", "0 9 * * MON-FRI", "8h", "America/New_York", false),
    hours("weekend", "0 0 * * SAT-SUN", "24h", "UTC", false),
    hours("talks", "0 10-18/2 * * *", "90m", "Europe/London", true),
    hours("evening", "30 17 * * *", "5h", "Asia/Tokyo", true),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Mute,
    Exempt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    DryRun,
    Off,
}

impl Rule {
    /// The `n`th rule.
    pub fn new(n: usize) -> Self {
        Self {
            name: format!("policy-{n}"),
            place: Place::new(n),
            microphones: chance(n, 1, 50),
            exempts_hosts: chance(n, 2, 33),
            when: chance(n, 3, 20).then(|| When::new(n)),
            hours: chance(n, 5, 10).then(|| &HOURS[random(n, 6) as usize % HOURS.len()]),
            first_minutes: chance(n, 7, 4).then(|| 10 + 10 * (random(n, 8) % 6) as i64),
            effect: if chance(n, 9, 10) {
                Effect::Exempt
            } else {
                Effect::Mute
            },
            mode: match random(n, 10) % 100 {
                0..5 => Mode::DryRun,
                5..8 => Mode::Off,
                _ => Mode::Enforce,
            },
            priority: 100 + (random(n, 11) % 7) as u16,
        }
    }
}

impl Place {
    fn new(n: usize) -> Self {
        let (kind, place) = (n % 100, n / 100);
        if kind < ROOMS {
            Self::Room(format!("class-{kind}-{place}"))
        } else if kind < ROOMS + ROOM_STARTS {
            Self::RoomStart(format!("course-{kind}-{place}-"))
        } else if kind < ROOMS + ROOM_STARTS + IDENTITIES {
            Self::Identity(format!("user-{kind}-{place}"))
        } else if kind < ROOMS + ROOM_STARTS + IDENTITIES + ROOM_GLOBS {
            match kind % ROOM_GLOBS {
                0 => Self::RoomEnd(format!("-stage-{place}")),
                1 => Self::RoomInside(format!("-live{place}-")),
                _ => Self::RoomEnds(format!("tour-{place}-"), "-main".to_owned()),
            }
        } else {
            Self::Callers(format!("region-{kind}-{place}"))
        }
    }
}

impl When {
    fn new(n: usize) -> Self {
        match random(n, 4) % 6 {
            0 => Self::Crowded(20 + (random(n, 12) % 20) as i64),
            1 => Self::NotStaff,
            2 => Self::Plan,
            3 => Self::Level(1 + (random(n, 12) % 4) as i64),
            4 => Self::Publishers(2 + (random(n, 12) % 4) as i64),
            _ => Self::Watched,
        }
    }
}

/// The first `count` rules.
pub fn rules(count: usize) -> Vec<Rule> {
    (0..count).map(Rule::new).collect()
}
