//! `quell simulator`: the double of LiveKit alone.

use clap::Args;
use secrecy::ExposeSecret as _;
use url::Url;

use super::told_to_stop;
use crate::config::LogFormat;
use livekit_double::{Simulator, SimulatorConfig};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The port on loopback; 0 takes a free one
    #[arg(long, default_value_t = 7880)]
    port: u16,
    /// Where webhooks go; none are sent without
    #[arg(long, value_name = "URL")]
    webhook_url: Option<Url>,
    /// As `LiveKit`'s setting `room.enable_remote_unmute`
    #[arg(long)]
    enable_remote_unmute: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::log("warn", LogFormat::Text, None)?;
    let stop = told_to_stop()?;
    let simulator = Simulator::start(SimulatorConfig {
        listen: ([127, 0, 0, 1], arguments.port).into(),
        webhook_url: arguments.webhook_url.clone(),
        enable_remote_unmute: arguments.enable_remote_unmute,
        ..SimulatorConfig::default()
    })
    .await?;
    println!("LIVEKIT_URL={}", simulator.url());
    if let Some(key) = simulator.api_key() {
        println!("LIVEKIT_API_KEY={}", key.key);
        // Made up: it is in the source, and opens nothing else.
        println!("LIVEKIT_API_SECRET={}", key.secret.expose_secret());
    }
    println!("its control API is under /_sim/; Ctrl-C stops it");
    stop.await;
    simulator.shutdown().await;
    Ok(())
}
