//! Loads a running quell with signed webhooks, as livekit-server would send them, and prints what came of
//! it as JSON. The LiveKit double that quell asks runs in this process.
//!
//! `benches/load/bench_load.py` starts the others, runs the scenarios and makes the table.

mod bare;
mod livekit;
mod scenario;
mod spread;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use url::Url;

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers every request as soon as its body is read: the yardstick of `ingest`.
    Bare {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Runs one scenario.
    Run(Run),
}

/// One scenario, and how much of it.
#[derive(Debug, clap::Args)]
struct Run {
    scenario: Scenario,
    /// Where webhooks go.
    #[arg(long)]
    webhook_url: Url,
    /// Where the double listens: quell's `LIVEKIT_URL`.
    #[arg(long)]
    livekit: SocketAddr,
    /// Events a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How long.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Rooms.
    #[arg(long, default_value_t = 200)]
    rooms: usize,
    /// Connections, where each sends its next event when the last is answered.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Events of tracks that are gone.
    #[arg(long, default_value_t = 400)]
    gone: usize,
    /// Rooms beside them in which nothing happens: 20 participants with a camera each, whom a policy may be about.
    #[arg(long, default_value_t = 0)]
    crowded: usize,
    /// Sets names apart, so that no run meets what an earlier one left.
    #[arg(long)]
    prefix: String,
}

impl Run {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scenario {
    /// Forbidden microphones at a rate, each of a participant of its own.
    Forbidden,
    /// Tracks that are gone, then one forbidden microphone.
    Gone,
    /// One participant publishes again and again; others now and then.
    Flood,
    /// As many participant events as are answered.
    Ingest,
    /// Events at a rate, one in ten of a track that no policy forbids.
    Answers,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    drop(rustls::crypto::ring::default_provider().install_default());
    let report = match arguments.command {
        Command::Bare { listen } => return bare::serve(listen).await,
        Command::Run(run) => match run.scenario {
            Scenario::Forbidden => scenario::forbidden(&run).await?,
            Scenario::Gone => scenario::gone(&run).await?,
            Scenario::Flood => scenario::flood(&run).await?,
            Scenario::Ingest => scenario::ingest(&run).await?,
            Scenario::Answers => scenario::answers(&run).await?,
        },
    };
    spread::print(&report)
}
