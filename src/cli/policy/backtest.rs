//! `quell policy backtest`: what a draft would have done with the tracks that were published.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::files::Files;
use super::output::{Format, TIME, print_out};
use super::{OwnerArguments, with_database_until_told};
use crate::access::Viewer;
use crate::backtest::{
    self, BacktestRequest, Pace, Progress, SAMPLES_DEFAULT, SAMPLES_MAX, SINCE_DEFAULT, TimeRange,
    grouped,
};
use crate::draft::Draft;
use quell_clock::Clock;
use quell_policy::PolicyKey;

/// How often progress is printed as a line, where stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Policies to put over the stored ones: a file, or a folder of files; may be repeated
    #[arg(
        long = "file",
        value_name = "PATH",
        required_unless_present = "without"
    )]
    files: Vec<PathBuf>,
    /// Leave out this stored policy, of --owner or else of the operator; may be repeated
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Try the files alone, without the other stored policies
    #[arg(long, requires = "files", conflicts_with = "without")]
    alone: bool,
    /// Begin this long ago (7d, 36h, 90m) or at this time (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME", default_value = SINCE_DEFAULT)]
    since: String,
    /// End at this time, in the same form; now by default
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show at most this many samples of each kind of change
    #[arg(long, value_name = "N", default_value_t = SAMPLES_DEFAULT)]
    samples: usize,
    /// The format of the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let request = request(arguments)?;
    with_database_until_told(async |pool, stop| {
        let display = ProgressDisplay::new(request.range, ProgressDrawTarget::stderr());
        let report = tokio::select! {
            report = backtest::run(pool, request, Pace::Full, |progress| display.show(progress, |line| eprintln!("{line}"))) => report,
            () = stop => {
                display.clear();
                // The command ends when the page that is being read is there.
                eprintln!("stopping");
                anyhow::bail!("stopped before the end: there is no report");
            }
        };
        display.clear();
        let report = report?;
        let text = match arguments.format {
            Format::Text => report.to_string(),
            Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        };
        print_out(&text)
    })
    .await
}

fn request(arguments: &Arguments) -> anyhow::Result<BacktestRequest> {
    let owner = arguments.owner.owner();
    if arguments.samples > SAMPLES_MAX {
        anyhow::bail!("--samples is at most {SAMPLES_MAX}");
    }
    let policies = if arguments.files.is_empty() {
        Vec::new()
    } else {
        Files::find(&arguments.files)?.load()?
    };
    let without = arguments.without.iter().map(|name| PolicyKey {
        owner: owner.clone(),
        name: name.clone(),
    });
    Ok(BacktestRequest {
        draft: Draft {
            policies,
            without: without.collect(),
            alone: arguments.alone,
        },
        range: TimeRange::read(
            &arguments.since,
            arguments.until.as_deref(),
            Clock::system().now(),
        )?,
        after: None,
        tenant: owner.into(),
        viewer: Viewer::Operator,
        samples_max: arguments.samples,
    })
}

/// Shows progress on stderr: a bar in a terminal, else a line every 10 s.
struct ProgressDisplay {
    bar: ProgressBar,
    since: DateTime<Utc>,
    begun: Instant,
    line_at: std::cell::Cell<Instant>,
}

impl ProgressDisplay {
    /// The bar shows the time of the events, since their number is unknown before they are read.
    fn new(range: TimeRange, target: ProgressDrawTarget) -> Self {
        let seconds = (range.until - range.since).num_seconds();
        let bar =
            ProgressBar::with_draw_target(Some(u64::try_from(seconds).unwrap_or_default()), target);
        // An invalid template would leave the crate's default style.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  eta {eta}")
        {
            bar.set_style(style);
        }
        let begun = Instant::now();
        Self {
            bar,
            since: range.since,
            begun,
            line_at: std::cell::Cell::new(begun),
        }
    }

    /// `print` is called with a line where there is no bar.
    fn show(&self, progress: Progress, print: impl FnOnce(&str)) {
        let Progress { tracks, at } = progress;
        let millis = self.begun.elapsed().as_millis().max(1);
        let a_second = u128::from(tracks) * 1_000 / millis;
        let a_second = u64::try_from(a_second).unwrap_or(u64::MAX);
        let done = format!("{} tracks, {}/s", grouped(tracks), grouped(a_second));
        if self.bar.is_hidden() {
            if self.line_at.get().elapsed() >= LINE_EVERY {
                self.line_at.set(Instant::now());
                print(&format!("{done}, up to {}", at.format(TIME)));
            }
            return;
        }
        let position = (at - self.since).num_seconds();
        self.bar
            .set_position(u64::try_from(position).unwrap_or_default());
        self.bar.set_message(done);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::TimeDelta;
    use indicatif::TermLike;

    use super::*;

    /// Records what is written to a terminal of 80 columns, without the cursor's moves.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn written(&self) -> String {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            self.write_str("[cleared]")
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn range() -> TimeRange {
        let since = "2026-03-01T00:00:00Z".parse().unwrap();
        let until = since + TimeDelta::hours(10);
        TimeRange { since, until }
    }

    fn progress(hours: i64) -> Progress {
        Progress {
            tracks: 20_000,
            at: range().since + TimeDelta::hours(hours),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_has_a_bar_that_goes_by_the_time_of_the_events() {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let display = ProgressDisplay::new(range(), target);
        assert_eq!(display.bar.length(), Some(36_000));
        tokio::time::advance(Duration::from_secs(10)).await;
        for (hours, position, percent) in [(5, 18_000, " 50%"), (10, 36_000, "100%")] {
            terminal.written();
            display.show(progress(hours), |line| panic!("{line}"));
            assert_eq!(display.bar.position(), position);
            assert_eq!(display.bar.message(), "20,000 tracks, 2,000/s");
            let written = terminal.written();
            let seen = format!("{percent}  20,000 tracks, 2,000/s  eta ");
            assert!(written.contains(&seen), "{written:?}");
        }
        // An event before the beginning does not wrap around.
        display.show(progress(-1), |line| panic!("{line}"));
        assert_eq!(display.bar.position(), 0);
        terminal.written();
        display.clear();
        assert_eq!(terminal.written(), "[cleared]");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_terminal_has_a_line_now_and_then() {
        let display = ProgressDisplay::new(range(), ProgressDrawTarget::hidden());
        let mut lines = Vec::new();
        for hours in 0..5 {
            display.show(progress(hours), |line| lines.push(line.to_owned()));
            tokio::time::advance(LINE_EVERY / 2).await;
        }
        display.clear();
        let expected = [
            "20,000 tracks, 2,000/s, up to 2026-03-01 02:00:00Z",
            "20,000 tracks, 1,000/s, up to 2026-03-01 04:00:00Z",
        ];
        assert_eq!(lines, expected);
    }
}
