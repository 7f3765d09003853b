//! `quell audit export`: actions as a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::FilterArguments;
use crate::access::Viewer;
use crate::audit::export::{ExportFormat, Exporter};
use crate::audit::history;
use crate::cli::policy::with_database;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// ndjson (a JSON object a line) or csv (RFC 4180)
    #[arg(long, default_value = "ndjson")]
    format: ExportFormat,
    /// The file; stdout without it
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = arguments.filter.filter()?;
    with_database(async |pool| {
        // Only for the bar: where counting takes too long, there is none.
        let total = history::count(pool, &filter).await.ok();
        let template = match total {
            Some(_) => "{bar:30} {human_pos} of {human_len} actions, {eta} left",
            None => "{spinner} {human_pos} actions",
        };
        let style = ProgressStyle::with_template(template)?;
        let progress = ProgressBar::new(total.unwrap_or_default()).with_style(style);
        progress.enable_steady_tick(Duration::from_millis(200));
        let mut exporter = Exporter::new(filter, arguments.format, Viewer::Operator);
        let mut out: Box<dyn io::Write> = match &arguments.output {
            Some(path) => {
                let file = File::create(path);
                Box::new(file.with_context(|| format!("{} cannot be written", path.display()))?)
            }
            None => Box::new(io::stdout().lock()),
        };
        while let Some(part) = exporter.next(pool).await? {
            match out.write_all(&part) {
                // A reader that has seen enough (`| head`) is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("the file cannot be written")?,
            }
            progress.set_position(exporter.rows);
        }
        out.flush().context("the file cannot be written")?;
        progress.finish_and_clear();
        if arguments.output.is_some() {
            eprintln!("{} actions", exporter.rows);
        }
        Ok(())
    })
    .await
}
