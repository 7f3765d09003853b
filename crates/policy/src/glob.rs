//! Globs over names: `*` is any text, `?` one character, `[a-z]` and `[!a-z]` one of a class,
//! `{a,b}` one of several, `\` makes the next character plain.
//!
//! Why not `globset`: it matches paths, byte by byte. There `?` and classes split characters
//! outside ASCII, and `**` and `/` mean something; names of rooms and people know neither. Its
//! answers for plain ASCII are the oracle in the tests. Matching keeps a set of positions, so it
//! takes at most (length of the glob x length of the name) steps: no glob makes it slow.

/// A glob may have this many characters.
pub const GLOB_CHARS_MAX: usize = 256;

/// What is not itself in a glob.
const SPECIAL: [char; 6] = ['*', '?', '[', '{', '}', '\\'];

/// A compiled glob; case-sensitive, and it must match the whole name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    text: Box<str>,
    /// Before its first special character.
    prefix_bytes: usize,
    /// What follows after that.
    steps: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Goes on at any of these steps: the start of an alternation.
    Split(Vec<usize>),
    /// Goes on at this step: the end of an alternative.
    Jump(usize),
}

/// The longest text that every name has which a glob matches: an index looks globs up by it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// It is the whole name.
    Whole(&'a str),
    /// Names start with it; empty where there is no text that all have.
    Start(&'a str),
    /// Names end with it.
    End(String),
    /// It is somewhere in them.
    Inside(String),
}

/// Why a glob does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing in it.
    #[error("it is empty, and no name is")]
    Empty,
    /// Longer than [`GLOB_CHARS_MAX`].
    #[error("it has more than {GLOB_CHARS_MAX} characters")]
    TooLong,
    /// `[` without `]`.
    #[error("a `[` is never closed; write `\\[` for a plain bracket")]
    UnclosedClass,
    /// `[z-a]`.
    #[error("the range `{0}-{1}` runs backwards")]
    BackwardRange(char, char),
    /// `{` without `}`.
    #[error("a `{{` is never closed; write `\\{{` for a plain brace")]
    UnclosedAlternates,
    /// `}` without `{`.
    #[error("a `}}` was never opened; write `\\}}` for a plain brace")]
    UnopenedAlternates,
    /// `{` in `{`.
    #[error("a `{{` stands inside another; write the alternatives side by side")]
    NestedAlternates,
    /// `\` at the end.
    #[error("a `\\` stands at the end; write `\\\\` for a plain backslash")]
    DanglingEscape,
}

impl Glob {
    /// Compiles a glob.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        if pattern.chars().count() > GLOB_CHARS_MAX {
            return Err(GlobError::TooLong);
        }
        let prefix_bytes = pattern.find(SPECIAL).unwrap_or(pattern.len());
        let (_, rest) = pattern.split_at(prefix_bytes);
        let steps = Parser {
            rest: rest.chars(),
            steps: Vec::new(),
        }
        .parse()?;
        Ok(Self {
            text: pattern.into(),
            prefix_bytes,
            steps: steps.into(),
        })
    }

    /// How many steps it has beyond its plain start and a `*` at its end. To match a name costs at most
    /// this times the name's length.
    pub(super) fn wild_steps(&self) -> usize {
        match &*self.steps {
            [] | [Step::Star] => 0,
            steps => steps.len(),
        }
    }

    /// The glob as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The plain text that it starts with. Most globs are this and at most a `*`.
    fn prefix(&self) -> &str {
        self.text.get(..self.prefix_bytes).unwrap_or_default()
    }

    /// The text that an index looks it up by.
    pub(super) fn shape(&self) -> Shape<'_> {
        match &*self.steps {
            [] => Shape::Whole(self.prefix()),
            steps => {
                let (text, is_end) = longest_text(steps);
                if text.len() <= self.prefix_bytes {
                    Shape::Start(self.prefix())
                } else if is_end {
                    Shape::End(text)
                } else {
                    Shape::Inside(text)
                }
            }
        }
    }

    /// Whether it matches the whole of `name`.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.prefix()) else {
            return false;
        };
        match &*self.steps {
            [] => rest.is_empty(),
            [Step::Star] => true,
            steps => simulate(steps, rest),
        }
    }
}

impl Step {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(plain) => *plain == c,
            Self::Any | Self::Star => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
            Self::Split(_) | Self::Jump(_) => false,
        }
    }
}

/// The longest text that every name has which these steps match, and whether names end with it.
fn longest_text(steps: &[Step]) -> (String, bool) {
    let (mut longest, mut ends_at) = (String::new(), 0);
    let (mut run, mut position) = (String::new(), 0);
    while let Some(step) = steps.get(position) {
        position += 1;
        match step {
            Step::Char(c) => {
                run.push(*c);
                if run.len() > longest.len() {
                    longest.clone_from(&run);
                    ends_at = position;
                }
                continue;
            }
            Step::Any | Step::Star | Step::Class { .. } => {}
            // One alternative is as good as another: none of their texts is in every name.
            Step::Split(_) => {
                let mut inside = steps.iter().skip(position);
                let end = inside.find_map(|step| match step {
                    Step::Jump(to) => Some(*to),
                    Step::Char(_)
                    | Step::Any
                    | Step::Star
                    | Step::Class { .. }
                    | Step::Split(_) => None,
                });
                // Without a jump there is one alternative only, which is read on.
                position = end.unwrap_or(position);
            }
            Step::Jump(to) => position = *to,
        }
        run.clear();
    }
    (longest, ends_at == steps.len())
}

/// Enough bits for every step of the longest glob and its end.
const WORDS: usize = GLOB_CHARS_MAX / 64 + 1;

/// The positions that a glob can be at after what was read, a bit each; `steps.len()` is its end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Positions([u64; WORDS]);

impl Positions {
    const NONE: Self = Self([0; WORDS]);

    /// Adds a position; returns whether it is new.
    fn insert(&mut self, position: usize) -> bool {
        let bit = 1 << (position % 64);
        match self.0.get_mut(position / 64) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn contains(&self, position: usize) -> bool {
        let word = self.0.get(position / 64);
        word.is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..).step_by(64).zip(self.0).flat_map(|(first, word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros())
                    .ok()
                    .filter(|_| left != 0)?;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }

    /// Adds a position and all that follow from it without reading anything.
    fn reach(&mut self, steps: &[Step], position: usize) {
        if !self.insert(position) {
            return;
        }
        match steps.get(position) {
            Some(Step::Split(targets)) => {
                for target in targets {
                    self.reach(steps, *target);
                }
            }
            Some(Step::Jump(to)) => self.reach(steps, *to),
            Some(Step::Star) => self.reach(steps, position + 1),
            Some(Step::Char(_) | Step::Any | Step::Class { .. }) | None => {}
        }
    }
}

fn simulate(steps: &[Step], name: &str) -> bool {
    let mut now = Positions::NONE;
    now.reach(steps, 0);
    for c in name.chars() {
        let mut next = Positions::NONE;
        for position in now.iter() {
            match steps.get(position) {
                Some(Step::Star) => next.reach(steps, position),
                Some(step) if step.takes(c) => next.reach(steps, position + 1),
                _ => {}
            }
        }
        if next == Positions::NONE {
            return false;
        }
        now = next;
    }
    now.contains(steps.len())
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    steps: Vec<Step>,
}

/// An alternation that is being read: where it starts, its alternatives, the jumps to its end.
struct OpenBracket {
    split: usize,
    starts: Vec<usize>,
    jumps: Vec<usize>,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Vec<Step>, GlobError> {
        let mut open: Option<OpenBracket> = None;
        // Not the last step's: that may be a star inside the alternation that has just ended.
        let mut was_star = false;
        while let Some(c) = self.rest.next() {
            let follows_star = std::mem::replace(&mut was_star, c == '*');
            match (c, &mut open) {
                ('*', _) if follows_star => {}
                ('*', _) => self.steps.push(Step::Star),
                ('?', _) => self.steps.push(Step::Any),
                ('[', _) => self.class()?,
                ('\\', _) => {
                    let plain = self.rest.next().ok_or(GlobError::DanglingEscape)?;
                    self.steps.push(Step::Char(plain));
                }
                ('{', Some(_)) => return Err(GlobError::NestedAlternates),
                ('{', None) => {
                    open = Some(OpenBracket {
                        split: self.steps.len(),
                        starts: vec![self.steps.len() + 1],
                        jumps: Vec::new(),
                    });
                    self.steps.push(Step::Split(Vec::new()));
                }
                (',', Some(alternation)) => {
                    alternation.jumps.push(self.steps.len());
                    self.steps.push(Step::Jump(0));
                    alternation.starts.push(self.steps.len());
                }
                ('}', None) => return Err(GlobError::UnopenedAlternates),
                ('}', Some(_)) => {
                    if let Some(alternation) = open.take() {
                        self.close(alternation);
                    }
                }
                (plain, _) => self.steps.push(Step::Char(plain)),
            }
        }
        if open.is_some() {
            return Err(GlobError::UnclosedAlternates);
        }
        Ok(self.steps)
    }

    fn close(&mut self, alternation: OpenBracket) {
        let end = self.steps.len();
        for jump in alternation.jumps {
            if let Some(step) = self.steps.get_mut(jump) {
                *step = Step::Jump(end);
            }
        }
        if let Some(step) = self.steps.get_mut(alternation.split) {
            *step = Step::Split(alternation.starts);
        }
    }

    /// The rest of a class, after its `[`. A `]` that comes first is plain.
    fn class(&mut self) -> Result<(), GlobError> {
        let mut negated = false;
        let mut next = self.rest.next();
        if matches!(next, Some('!' | '^')) {
            negated = true;
            next = self.rest.next();
        }
        let mut ranges = Vec::new();
        loop {
            let c = next.ok_or(GlobError::UnclosedClass)?;
            if c == ']' && !ranges.is_empty() {
                break;
            }
            let from = self.class_char(c)?;
            let mut ahead = self.rest.clone();
            // `a-` before the closing bracket is an `a` and a plain `-`.
            let to = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(to)) if to != ']' => {
                    self.rest = ahead;
                    self.class_char(to)?
                }
                _ => from,
            };
            if to < from {
                return Err(GlobError::BackwardRange(from, to));
            }
            ranges.push((from, to));
            next = self.rest.next();
        }
        self.steps.push(Step::Class { negated, ranges });
        Ok(())
    }

    fn class_char(&mut self, c: char) -> Result<char, GlobError> {
        if c == '\\' {
            return self.rest.next().ok_or(GlobError::UnclosedClass);
        }
        Ok(c)
    }
}
