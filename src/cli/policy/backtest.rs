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
    self, BacktestRequest, Draft, Pace, Progress, SAMPLES_DEFAULT, SAMPLES_MAX, SINCE_DEFAULT,
    TimeRange, grouped,
};
use quell_clock::Clock;
use quell_policy::PolicyKey;

/// How often a line says how far it is, where no bar can.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Policies to put over the stored ones: a file, or a folder of them; once or more
    #[arg(
        long = "file",
        value_name = "PATH",
        required_unless_present = "without"
    )]
    files: Vec<PathBuf>,
    /// A stored policy to try without: of --owner, else of the operator; once or more
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Try the files alone, as if nothing else were stored
    #[arg(long, requires = "files", conflicts_with = "without")]
    alone: bool,
    /// From when on: how long ago (7d, 36h, 90m) or when (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME", default_value = SINCE_DEFAULT)]
    since: String,
    /// Until when, in the same way; else until now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many examples of each kind of change are shown
    #[arg(long, value_name = "N", default_value_t = SAMPLES_DEFAULT)]
    samples: usize,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let request = request(arguments)?;
    with_database_until_told(async |pool, stop| {
        let shown = Shown::new(request.range, ProgressDrawTarget::stderr());
        let report = tokio::select! {
            report = backtest::run(pool, request, Pace::Full, |progress| shown.show(progress, |line| eprintln!("{line}"))) => report,
            () = stop => {
                shown.clear();
                // The page that is being read is waited for.
                eprintln!("stopping");
                anyhow::bail!("stopped before the end: there is no report");
            }
        };
        shown.clear();
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

/// How far it is, on stderr: a bar in a terminal, else a line now and then.
struct Shown {
    bar: ProgressBar,
    since: DateTime<Utc>,
    begun: Instant,
    line_at: std::cell::Cell<Instant>,
}

impl Shown {
    /// How many events there will be is not known without reading them: the bar goes by their time.
    fn new(range: TimeRange, target: ProgressDrawTarget) -> Self {
        let seconds = (range.until - range.since).num_seconds();
        let bar =
            ProgressBar::with_draw_target(Some(u64::try_from(seconds).unwrap_or_default()), target);
        // Only a template that cannot be read fails: then there is the crate's own.
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

    /// `print` takes the lines where there is no bar.
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

    /// What is written to a terminal of 80 columns, but for where the cursor goes.
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
        let shown = Shown::new(range(), target);
        assert_eq!(shown.bar.length(), Some(36_000));
        tokio::time::advance(Duration::from_secs(10)).await;
        for (hours, position, percent) in [(5, 18_000, " 50%"), (10, 36_000, "100%")] {
            terminal.written();
            shown.show(progress(hours), |line| panic!("{line}"));
            assert_eq!(shown.bar.position(), position);
            assert_eq!(shown.bar.message(), "20,000 tracks, 2,000/s");
            let written = terminal.written();
            let seen = format!("{percent}  20,000 tracks, 2,000/s  eta ");
            assert!(written.contains(&seen), "{written:?}");
        }
        // An event before the beginning is no huge number.
        shown.show(progress(-1), |line| panic!("{line}"));
        assert_eq!(shown.bar.position(), 0);
        terminal.written();
        shown.clear();
        assert_eq!(terminal.written(), "[cleared]");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_terminal_has_a_line_now_and_then() {
        let shown = Shown::new(range(), ProgressDrawTarget::hidden());
        let mut lines = Vec::new();
        for hours in 0..5 {
            shown.show(progress(hours), |line| lines.push(line.to_owned()));
            tokio::time::advance(LINE_EVERY / 2).await;
        }
        shown.clear();
        let expected = [
            "20,000 tracks, 2,000/s, up to 2026-03-01 02:00:00Z",
            "20,000 tracks, 1,000/s, up to 2026-03-01 04:00:00Z",
        ];
        assert_eq!(lines, expected);
    }
}
