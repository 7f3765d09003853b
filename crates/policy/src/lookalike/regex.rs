//! Regular expressions that somebody took for a glob, and the glob that says the same.

use crate::glob::Glob;

/// What follows an escape that stands for many characters.
const CLASSES: [char; 6] = ['d', 'D', 'w', 'W', 's', 'S'];
/// The largest number behind a character class that looks like a regular expression's repetition: `\d{4}`.
const REPEATED_MAX: u32 = 4;

/// Whether a text says what regular expressions are full of, and what no name has. Names have dots,
/// brackets and signs of their own: `user.*` and `Team (Sales|EU)` are globs as they stand.
pub(crate) fn is_regex(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let before = |index: usize| index.checked_sub(1).and_then(at);
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    let starts_word = |c: Option<char>| c.is_none_or(|c| matches!(c, '-' | '/' | ':' | '^'));
    let mut index = 0;
    while let Some(c) = at(index) {
        let next = at(index + 1);
        let found = match c {
            '\\' => {
                index += 1;
                match next {
                    Some('.') => true,
                    // `CORP\willi` is a name of Windows'.
                    Some(class) if CLASSES.contains(&class) => !is_letter(at(index + 1)),
                    _ => false,
                }
            }
            '.' => match next {
                Some('*') => starts_word(before(index)),
                Some('+') => at(index + 2) != Some('+'),
                Some('{') => repeats(chars.get(index + 1..)),
                _ => false,
            },
            ']' => next == Some('+') || repeats(chars.get(index + 1..)),
            '(' if next == Some('?') => at(index + 2).is_some_and(|c| ":=!<Pims".contains(c)),
            '(' => {
                let inside = chars.get(index + 1..).unwrap_or_default();
                let end = inside.iter().position(|c| *c == ')');
                let (inside, after) = end.map_or((inside, None), |end| {
                    (inside.get(..end).unwrap_or_default(), inside.get(end + 1))
                });
                let repeated = matches!(after, Some('*' | '+' | '?'));
                end.is_some()
                    && before(index) != Some(' ')
                    && (inside.contains(&'|') || repeated && starts_word(before(index)))
            }
            _ => false,
        };
        if found {
            return true;
        }
        index += 1;
    }
    is_anchored(text)
}

/// Whether a text has signs of a regular expression that a name or a value may well have, but
/// a glob of rooms and identities hardly.
pub(crate) fn is_regex_in_glob(text: &str) -> bool {
    let ends = text
        .strip_suffix('$')
        .and_then(|text| text.chars().next_back());
    let ends = ends.is_some_and(|c| c.is_lowercase() || matches!(c, '*' | '+' | ']' | ')' | '}'));
    let either = text.split('|').count() > 1
        && !text.contains([' ', '('])
        && text.split('|').all(|part| !part.is_empty());
    is_regex(text) || ends || either || is_like(text)
}

/// Whether a room's glob ends in `.*` without any other dot: `webinar.*`. Identities have dots.
pub(crate) fn is_regex_of_room(text: &str) -> bool {
    let stem = text.strip_suffix(".*").unwrap_or_default();
    stem.chars()
        .all(|c| c.is_alphabetic() || matches!(c, '-' | '_'))
        && stem.ends_with(char::is_alphabetic)
}

/// `^webinar`, `/webinar/`, and not `^_^`.
fn is_anchored(text: &str) -> bool {
    let starts = text.strip_prefix('^').and_then(|text| text.chars().next());
    let slashes = text
        .strip_prefix('/')
        .and_then(|text| text.strip_suffix('/').or_else(|| text.strip_suffix("/i")));
    starts.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '[' | '(' | '\\'))
        || slashes.is_some_and(|inside| !inside.is_empty() && !inside.contains('/'))
}

/// A pattern of SQL's LIKE: `webinar-%`, and not `100%`.
pub(crate) fn is_like(text: &str) -> bool {
    let ends = text
        .strip_suffix('%')
        .and_then(|text| text.chars().next_back());
    let starts = text.strip_prefix('%').and_then(|text| text.chars().next());
    [ends, starts]
        .into_iter()
        .flatten()
        .any(|c| c.is_alphabetic() || matches!(c, '-' | '_'))
}

/// Whether `{3}` or `{2,4}` starts these characters.
fn repeats(chars: Option<&[char]>) -> bool {
    let text: String = chars.unwrap_or_default().iter().collect();
    let inside = text.strip_prefix('{').and_then(|text| text.split_once('}'));
    inside.is_some_and(|(inside, _)| {
        !inside.is_empty() && inside.chars().all(|c| c.is_ascii_digit() || c == ',')
    })
}

/// The glob that was probably meant; none where no glob says the same.
pub(crate) fn as_glob(text: &str) -> Option<String> {
    let unslashed = text
        .strip_prefix('/')
        .and_then(|text| text.strip_suffix('/').or_else(|| text.strip_suffix("/i")));
    let text = unslashed.unwrap_or(text);
    if is_like(text) && !is_regex(text) {
        return Some(text.replace('%', "*"));
    }
    let (start, inner) = text
        .strip_prefix('^')
        .map_or((false, text), |inner| (true, inner));
    let (end, inner) = inner
        .strip_suffix('$')
        .map_or((false, inner), |inner| (true, inner));
    let either: Vec<&str> = inner.split('|').collect();
    let mut glob = if either.len() > 1 && !inner.contains('(') {
        let parts: Option<Vec<String>> = either.iter().map(|part| sequence(part)).collect();
        format!("{{{}}}", parts?.join(","))
    } else {
        sequence(inner)?
    };
    // A regular expression that is anchored at one end is about a part of the name.
    if (end || unslashed.is_some()) && !start {
        glob.insert(0, '*');
    }
    if (start || unslashed.is_some()) && !end {
        glob.push('*');
    }
    while glob.contains("**") {
        glob = glob.replace("**", "*");
    }
    Glob::new(&glob).is_ok().then_some(glob)
}

/// A row of characters, classes and groups.
fn sequence(text: &str) -> Option<String> {
    let mut glob = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..)?;
        let (one, after) = match c {
            '\\' => {
                let escaped = after.chars().next()?;
                let one = match escaped {
                    'd' => "[0-9]".to_owned(),
                    'w' | 'S' | 'D' | 'W' => "?".to_owned(),
                    c if c.is_alphanumeric() => return None,
                    c if "*?[]{}\\".contains(c) => format!("\\{c}"),
                    c => c.to_string(),
                };
                (one, after.get(escaped.len_utf8()..)?)
            }
            '[' => {
                let (inside, after) = after.split_once(']')?;
                if inside.is_empty() || inside.contains(['[', '\\']) {
                    return None;
                }
                (format!("[{inside}]"), after)
            }
            '(' => {
                let (inside, after) = after.split_once(')')?;
                let inside = inside.strip_prefix("?:").unwrap_or(inside);
                let parts: Option<Vec<String>> = inside.split('|').map(sequence).collect();
                if inside.contains(['(', '?']) || after.starts_with(['*', '+', '?', '{']) {
                    return None;
                }
                let parts = parts?;
                let one = if parts.len() == 1 {
                    parts.concat()
                } else {
                    format!("{{{}}}", parts.join(","))
                };
                (one, after)
            }
            // Dots in names are plain, and seldom escaped.
            '.' if !after.starts_with(['*', '+', '{']) => (".".to_owned(), after),
            '.' => ("?".to_owned(), after),
            '^' | '$' | '|' | ')' | '*' | '+' | '?' | '{' | '}' | ',' => return None,
            c => (c.to_string(), after),
        };
        let is_class = one == "?" || one.starts_with('[');
        rest = after;
        if let Some(after) = rest.strip_prefix(['*', '+']) {
            if !is_class {
                return None;
            }
            glob.push('*');
            rest = after;
        } else if let Some((times, after)) =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            match times.parse::<u32>() {
                Ok(times) if times <= REPEATED_MAX => (0..times).for_each(|_| glob.push_str(&one)),
                _ if is_class => glob.push('*'),
                _ => return None,
            }
            rest = after;
        } else {
            glob.push_str(&one);
        }
    }
    Some(glob)
}
