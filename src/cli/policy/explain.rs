//! `quell policy explain`: why a track is muted or not, by facts, by an event, or by who is in a
//! room.

mod text;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use serde_json::Value;

use super::files::Files;
use super::output::{Format, print_out};
use super::{CommandLine, configured, with_database};
use crate::config::{Config, Environment};
use crate::explain::{
    ExplainError, Explainer, PARSER_MESSAGE_CHARS_MAX, PolicySource, Question, Reply, Subject,
};
use crate::livekit::LiveKit;
use crate::metrics::Metrics;
use crate::policy_store::Policies;
use crate::postgres::Pool;
use quell_clock::Clock;
use quell_policy::terminal::cut;
use quell_policy::{CompiledPolicy, PolicySet, json};

const FACTS_BYTES_MAX: u64 = 1 << 20;
const HOW_TO_WRITE_TIMES: &str = "write it with its offset, such as 2026-03-02T22:30:00+01:00";

const USAGE: &str = "quell policy explain --event <ID> [--then | --now]
       quell policy explain --room <ROOM> --identity <IDENTITY> [--track <SID>]
       quell policy explain --facts <FILE>";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
#[command(group(ArgGroup::new("subject").required(true).args(["event", "room", "facts"])))]
pub(in crate::cli) struct Arguments {
    /// Explain the track of this webhook event (`EV_...`, or `SW_...` of a sweep, as in the audit), as it was recorded
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Explain the tracks of --identity in this room, as LiveKit shows them now
    #[arg(long, requires = "identity")]
    room: Option<String>,
    /// The identity of the participant
    #[arg(long, requires = "room", conflicts_with_all = ["event", "facts"])]
    identity: Option<String>,
    /// Only the track with this SID
    #[arg(long, value_name = "SID", requires = "room", conflicts_with_all = ["event", "facts"])]
    track: Option<String>,
    /// Explain a track with these facts, in JSON; - reads stdin
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Decide by the policies in force when the event was decided on (default for an event)
    #[arg(long, conflicts_with_all = ["now", "room", "facts"])]
    then: bool,
    /// Decide on the event by the policies in force now
    #[arg(long, conflicts_with_all = ["room", "facts"])]
    now: bool,
    /// Decide by the policies in these files or folders instead of the stored ones
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["then", "now"])]
    file: Vec<PathBuf>,
    /// Decide for this time, such as 2026-03-02T22:30:00+01:00; by default now, or the time of the event's decision
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<DateTime<Utc>>,
    /// The format of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Show all policies that do not apply, not only the 20 that come closest; at most 1,000 policies
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let question = question(arguments)?;
    let of_files = match arguments.file.as_slice() {
        [] => None,
        paths => Some(compiled(paths)?),
    };
    let reply = match of_files {
        Some(policies) if arguments.event.is_none() => {
            // Neither the policies nor the facts are in the database.
            let config = arguments.room.as_ref().map(|_| configured()).transpose()?;
            explain(
                None,
                config.as_ref(),
                policies,
                PolicySource::Files,
                question,
            )
            .await?
        }
        of_files => {
            let config = arguments
                .room
                .as_ref()
                .map(|_| Config::from_environment(&Environment::of_process()));
            let config = config.transpose()?;
            with_database(async |pool| {
                let (policies, source) = match of_files {
                    Some(policies) => (policies, PolicySource::Files),
                    None => (in_force(pool).await?, PolicySource::Now),
                };
                explain(Some(pool), config.as_ref(), policies, source, question).await
            })
            .await?
        }
    };
    let shown = match arguments.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&reply)?),
        Format::Text => text::of(&reply, arguments.all),
    };
    print_out(&shown)
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|error| format!("{error}; {HOW_TO_WRITE_TIMES}"))?;
    Ok(time.to_utc())
}

fn question(arguments: &Arguments) -> anyhow::Result<Question> {
    let mut at = arguments.at;
    let subject = match (&arguments.event, &arguments.room, &arguments.identity) {
        (Some(event), ..) => Subject::Event(event.clone()),
        (None, Some(room), Some(identity)) => Subject::Live {
            room: room.clone(),
            identity: identity.clone(),
            track: arguments.track.clone(),
        },
        _ => {
            let file = arguments.facts.as_deref();
            let given = facts(file.unwrap_or_else(|| Path::new("-")))?;
            at = at.or(given.at);
            Subject::Facts(given.facts)
        }
    };
    let policies = match (arguments.then, arguments.now) {
        (true, _) => Some(PolicySource::Then),
        (_, true) => Some(PolicySource::Now),
        _ => None,
    };
    Ok(Question {
        subject,
        at,
        policies,
    })
}

/// The content of a file for `--facts`.
struct FactsFile {
    facts: Value,
    /// The time to decide for, where the file has one.
    at: Option<DateTime<Utc>>,
}

/// Reads a file for `--facts`: the facts alone, or a question or an answer with `facts` and `at`.
fn facts(file: &Path) -> anyhow::Result<FactsFile> {
    let is_stdin = file.as_os_str() == "-";
    let name = if is_stdin {
        "stdin".to_owned()
    } else {
        file.display().to_string()
    };
    let failed = || format!("{name} cannot be read");
    let mut text = String::new();
    let mut input: Box<dyn Read> = if is_stdin {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).with_context(failed)?)
    };
    // One byte more than the limit is enough to see that the file is too long.
    let read = input.by_ref().take(FACTS_BYTES_MAX + 1);
    let length = { read }.read_to_string(&mut text).with_context(failed)?;
    if u64::try_from(length)? > FACTS_BYTES_MAX {
        anyhow::bail!("{name} is longer than {FACTS_BYTES_MAX} bytes: these are no facts");
    }
    let value = json::read(text.as_bytes()).map_err(|error| anyhow::anyhow!("{name} {error}"))?;
    given(value).with_context(|| format!("{name} cannot be asked about"))
}

fn given(mut value: Value) -> anyhow::Result<FactsFile> {
    let Some(facts) = value.get_mut("facts").map(Value::take) else {
        return Ok(FactsFile {
            facts: value,
            at: None,
        });
    };
    let fields = value.as_object().into_iter().flatten();
    // Of an answer, only `facts` and `at` belong to the question.
    let is_answer = value.get("summary").is_some();
    let strange = fields.map(|(key, _)| key.as_str());
    let mut strange = strange.filter(|key| !is_answer && !matches!(*key, "facts" | "at"));
    match strange.next() {
        Some("policies") => anyhow::bail!(
            "`policies` is no part of such a file: leave it out; --file says by which policies, and without it those in force are meant"
        ),
        Some(key) => anyhow::bail!(
            "`{}` is no part of such a file: beside `facts` it may have `at`",
            cut(key, PARSER_MESSAGE_CHARS_MAX)
        ),
        None => {}
    }
    let at = match value.get("at") {
        None | Some(Value::Null) => None,
        Some(Value::String(at)) => {
            Some(time(at).map_err(|error| anyhow::anyhow!("`at` is no time: {error}"))?)
        }
        Some(_) => anyhow::bail!("`at` is no time: {HOW_TO_WRITE_TIMES}"),
    };
    Ok(FactsFile { facts, at })
}

/// The policies of files; they have no revisions yet.
fn compiled(paths: &[PathBuf]) -> anyhow::Result<Arc<PolicySet>> {
    let policies = Files::find(paths)?.load()?;
    let compiled: Result<Vec<_>, _> = policies
        .iter()
        .map(|policy| CompiledPolicy::new(policy, 0))
        .collect();
    Ok(Arc::new(PolicySet::new(compiled?)))
}

/// The stored policies in force, as a server reads them.
async fn in_force(pool: &Pool) -> anyhow::Result<Arc<PolicySet>> {
    Ok(Policies::load(pool, Metrics::new()).await?.snapshot())
}

async fn explain(
    pool: Option<&Pool>,
    config: Option<&Config>,
    policies: Arc<PolicySet>,
    policy_source: PolicySource,
    question: Question,
) -> anyhow::Result<Reply> {
    let clock = Clock::system();
    let livekit = config.and_then(|config| config.livekit.as_ref());
    let livekit = match livekit {
        Some(config) => Some((LiveKit::new(config, clock.clone())?, config.timeout)),
        None => None,
    };
    let explainer = Explainer {
        pool: pool.cloned(),
        livekit,
        policies,
        policy_source,
        now: clock.now(),
    };
    let reply = explainer
        .explain(&CommandLine::new().principal(), question)
        .await;
    reply.map_err(|error| {
        if let ExplainError::NotRepeatable(policy) = &error {
            return anyhow::anyhow!(
                "the decision cannot be repeated: {policy}\nask by the policies in force with --now"
            );
        }
        error.into()
    })
}
