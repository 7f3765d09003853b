//! Globs over names: `*` is any text, `?` one character, `[a-z]` and `[!a-z]` one of a class,
//! `{a,b}` one of several, `\` makes the next character plain.
//!
//! Why not `globset`: it matches paths, byte by byte. There `?` and classes split characters
//! outside ASCII, and `**` and `/` mean something; names of rooms and people know neither. Its
//! answers for plain ASCII are the oracle in the tests. Matching keeps a set of positions, so it
//! takes at most (length of the glob x length of the name) steps: no glob makes it slow.

/// A glob may have this many characters.
pub const GLOB_CHARS_MAX: usize = 256;

/// A compiled glob; case-sensitive, and it must match the whole name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    /// The plain text before the first special character. Most globs are this and at most a `*`.
    prefix: Box<str>,
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

/// What an index can find a glob by.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// This name and no other.
    Exact(&'a str),
    /// Every name that starts so.
    Prefix(&'a str),
    /// Names that hold this text and more; empty where there is no such text.
    Holds(String),
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
        let steps = Parser {
            rest: pattern.chars(),
            steps: Vec::new(),
        }
        .parse()?;
        let plain = steps
            .iter()
            .map_while(|step| match step {
                Step::Char(c) => Some(*c),
                Step::Any | Step::Star | Step::Class { .. } | Step::Split(_) | Step::Jump(_) => {
                    None
                }
            })
            .collect::<String>();
        let skipped = plain.chars().count();
        Ok(Self {
            prefix: plain.into(),
            // Targets count from the start of the whole glob.
            steps: steps
                .into_iter()
                .skip(skipped)
                .map(|step| step.moved_up(skipped))
                .collect(),
        })
    }

    /// What an index can find it by.
    pub(super) fn shape(&self) -> Shape<'_> {
        match &*self.steps {
            [] => Shape::Exact(&self.prefix),
            [Step::Star] => Shape::Prefix(&self.prefix),
            steps => Shape::Holds(longest_text(&self.prefix, steps)),
        }
    }

    /// Whether it matches the whole of `name`.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&*self.prefix) else {
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
    fn moved_up(self, by: usize) -> Self {
        match self {
            Self::Split(targets) => Self::Split(
                targets
                    .into_iter()
                    .map(|to| to.saturating_sub(by))
                    .collect(),
            ),
            Self::Jump(to) => Self::Jump(to.saturating_sub(by)),
            Self::Char(_) | Self::Any | Self::Star | Self::Class { .. } => self,
        }
    }

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

/// The longest text that every name which the glob matches has in it.
fn longest_text(prefix: &str, steps: &[Step]) -> String {
    let (mut longest, mut run) = (prefix.to_owned(), String::new());
    let mut position = 0;
    while let Some(step) = steps.get(position) {
        position += 1;
        match step {
            Step::Char(c) => {
                run.push(*c);
                if run.len() > longest.len() {
                    longest.clone_from(&run);
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
    longest
}

/// The positions that a glob can be at after what was read; `steps.len()` is its end.
struct Positions {
    at: Vec<usize>,
    seen: Vec<bool>,
    todo: Vec<usize>,
}

impl Positions {
    fn none(steps: &[Step]) -> Self {
        Self {
            at: Vec::new(),
            seen: vec![false; steps.len() + 1],
            todo: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.at.clear();
        self.seen.fill(false);
    }

    /// Adds a position and all that follow from it without reading anything.
    fn add(&mut self, steps: &[Step], first: usize) {
        self.todo.push(first);
        while let Some(position) = self.todo.pop() {
            match self.seen.get_mut(position) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match steps.get(position) {
                Some(Step::Split(targets)) => self.todo.extend(targets),
                Some(Step::Jump(to)) => self.todo.push(*to),
                Some(Step::Star) => {
                    self.at.push(position);
                    self.todo.push(position + 1);
                }
                _ => self.at.push(position),
            }
        }
    }
}

fn simulate(steps: &[Step], name: &str) -> bool {
    let mut now = Positions::none(steps);
    let mut next = Positions::none(steps);
    now.add(steps, 0);
    for c in name.chars() {
        next.clear();
        for position in &now.at {
            match steps.get(*position) {
                Some(Step::Star) => next.add(steps, *position),
                Some(step) if step.takes(c) => next.add(steps, position + 1),
                _ => {}
            }
        }
        if next.at.is_empty() {
            return false;
        }
        std::mem::swap(&mut now, &mut next);
    }
    now.at.contains(&steps.len())
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    steps: Vec<Step>,
}

/// An alternation that is being read: where it starts, its alternatives, the jumps to its end.
struct Open {
    split: usize,
    starts: Vec<usize>,
    jumps: Vec<usize>,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Vec<Step>, GlobError> {
        let mut open: Option<Open> = None;
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
                    open = Some(Open {
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

    fn close(&mut self, alternation: Open) {
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
