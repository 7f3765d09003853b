//! What holds of every problem that a reader tells of.

use quell_policy::problem::PROBLEMS_MAX;
use quell_policy::{Problem, Problems};

/// A message for people has fewer characters, whatever it is about.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The problems of a YAML text are clear, and stand within it.
pub fn check_in_text(problems: &Problems, text: &str) {
    check(problems);
    for problem in &problems.problems {
        check_place(problem, text);
    }
}

/// The problems of a JSON text are clear.
pub fn check(problems: &Problems) {
    assert!(!problems.problems.is_empty(), "refused without a reason");
    assert!(problems.problems.len() <= PROBLEMS_MAX);
    assert!(problems.left_off == 0 || problems.problems.len() == PROBLEMS_MAX);
    assert!(!problems.to_string().is_empty());
    for problem in &problems.problems {
        check_message(problem);
    }
}

/// A problem, or a warning, says something, and not without end.
pub fn check_message(problem: &Problem) {
    let Problem { message, hint, .. } = problem;
    assert!(!message.trim().is_empty(), "{problem:?}");
    assert!(message.chars().count() < MESSAGE_CHARS_MAX, "{problem:?}");
    assert!(
        hint.as_ref().is_none_or(|hint| !hint.trim().is_empty()),
        "{problem:?}"
    );
    // Terminals and logs show them: what came from outside is shown with escapes.
    let shown = problem.to_string();
    let unseen = |c: char| c.is_control() && c != '\n';
    assert!(!shown.contains(unseen), "{problem:?}");
}

/// A problem, or a warning, in a YAML text has its place there.
pub fn check_place(problem: &Problem, text: &str) {
    let (Some(line), Some(column)) = (problem.line, problem.column) else {
        panic!("without a place: {problem:?}");
    };
    let lines = lines(text);
    let length = lines.get(usize::try_from(line - 1).unwrap_or(usize::MAX));
    // What is missing at the end of the text is missed behind its last character.
    let is_inside = match length {
        Some(length) => (1..=*length + 1).contains(&column),
        None => line == u64::try_from(lines.len()).unwrap_or(0) + 1 && column == 1,
    };
    assert!(is_inside, "out of the text: {problem:?}");
}

/// How many characters each line has. YAML's lines end as people's do: LF, CR LF or CR.
fn lines(text: &str) -> Vec<u64> {
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    unified
        .split('\n')
        .map(|line| u64::try_from(line.chars().count()).unwrap_or(u64::MAX))
        .collect()
}
