//! `quell policy plan`: which live tracks a draft would silence, before anything is written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::task::TaskTracker;

use super::files::Files;
use super::output::{Format, print_out};
use super::{OwnerArguments, with_database_and_config};
use crate::access::Viewer;
use crate::config::Config;
use crate::draft::Draft;
use crate::livekit::{LiveKit, NOT_CONFIGURED};
use crate::metrics::Metrics;
use crate::plan::{self, Plan, PlanRequest};
use crate::postgres::Pool;
use crate::sweep::Reader;
use quell_clock::Clock;
use quell_policy::PolicyKey;

/// Whoever waits at a terminal may stop it.
const TIME_MAX: Duration = Duration::from_mins(30);

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Policies to put over the stored ones: files, or folders of them, as `apply` takes them
    #[arg(required_unless_present = "without")]
    paths: Vec<PathBuf>,
    /// Leave out this stored policy, of --owner or else of the operator; may be repeated
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Try the files alone, without the other stored policies
    #[arg(long, requires = "paths", conflicts_with = "without")]
    alone: bool,
    /// Go on after this room
    #[arg(long, value_name = "ROOM")]
    after: Option<String>,
    /// The format of the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let owner = arguments.owner.owner();
    let policies = if arguments.paths.is_empty() {
        Vec::new()
    } else {
        Files::find(&arguments.paths)?.load()?
    };
    let without = arguments.without.iter().map(|name| PolicyKey {
        owner: owner.clone(),
        name: name.clone(),
    });
    let draft = Draft {
        policies,
        without: without.collect(),
        alone: arguments.alone,
    };
    let request = PlanRequest {
        tenant: owner.clone().into(),
        after: arguments.after.clone(),
        ..request(Some(draft))
    };
    with_database_and_config(async |config, pool| {
        let plan = make(config, pool, request).await?;
        let shown = match arguments.format {
            Format::Text => plan.to_string(),
            Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        };
        print_out(&shown)
    })
    .await
}

/// A plan of all rooms, for whoever runs the command line.
pub(in crate::cli) fn request(draft: Option<Draft>) -> PlanRequest {
    PlanRequest {
        draft,
        tenant: None,
        room: None,
        after: None,
        viewer: Viewer::Operator,
        time_max: TIME_MAX,
    }
}

/// Makes a plan without a server.
pub(in crate::cli) async fn make(
    config: &Config,
    pool: &Pool,
    request: PlanRequest,
) -> anyhow::Result<Plan> {
    let clock = Clock::system();
    let livekit = config.livekit.as_ref();
    let livekit = livekit.ok_or_else(|| anyhow::anyhow!(NOT_CONFIGURED))?;
    let livekit = LiveKit::new(livekit, clock.clone())?;
    let tracker = TaskTracker::new();
    let (reader, asking) = Reader::new(&livekit, config, &Metrics::new(), &tracker);
    // It ends with the reader.
    tracker.spawn(asking);
    Ok(plan::make((), pool, &reader, request, clock.now()).await?)
}
