//! `quell demo`.

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End after the audit instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("{}", arguments.once);
    Ok(())
}
