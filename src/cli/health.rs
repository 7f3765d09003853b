//! `quell health`: asks the quell beside it whether it answers, for containers without a shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::policy::output::print_out;
use crate::config::{Config, Environment};

/// What answers at all does so in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run() -> anyhow::Result<()> {
    // Nothing else is needed, and a secret's file may be closed to whoever asks.
    let environment = Environment::of_process().only(&["HOST", "PORT"]);
    let config = Config::from_environment(&environment)?;
    let url = url(&config.host, config.port)?;
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?;
    let asked = client.get(&url).send().await;
    let answer = asked.with_context(|| {
        format!("{url} does not answer: check that `quell serve` runs, with the same HOST and PORT")
    })?;
    if !answer.status().is_success() {
        bail!("{url} answered {}", answer.status());
    }
    print_out(&format!("{url} answers\n"))
}

/// Where a server that listens on `host` and `port` is asked.
fn url(host: &str, port: u16) -> anyhow::Result<String> {
    if port == 0 {
        bail!("PORT is 0, so quell took a port that nobody else knows: set PORT to a number");
    }
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    };
    Ok(format!("http://{host}:{port}/healthz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_server_can_be_reached() {
        for (host, want) in [
            ("127.0.0.1", "http://127.0.0.1:80/healthz"),
            ("0.0.0.0", "http://127.0.0.1:80/healthz"),
            ("::", "http://[::1]:80/healthz"),
            ("fd00::1", "http://[fd00::1]:80/healthz"),
            ("quell.internal", "http://quell.internal:80/healthz"),
        ] {
            assert_eq!(url(host, 80).unwrap(), want);
        }
        assert!(
            url("127.0.0.1", 0)
                .unwrap_err()
                .to_string()
                .contains("PORT")
        );
    }
}
