//! Reads what strangers and callers may take.

use std::time::Duration;

use super::HttpConfig;
use super::reader::EnvReader;

const MUTES_PER_SECOND_DEFAULT: u32 = 100;
const REQUESTS_PER_SECOND_DEFAULT: u32 = 50;

pub(super) fn read(reader: &mut EnvReader<'_>) -> HttpConfig {
    let mutes_per_second = reader.positive("QUELL_CALLER_MUTES_PER_SECOND");
    let requests_per_second = reader.positive("QUELL_CALLER_REQUESTS_PER_SECOND");
    HttpConfig {
        connections_max: reader.positive("QUELL_HTTP_CONNECTIONS"),
        connections_per_peer_max: reader.positive("QUELL_HTTP_CONNECTIONS_PER_PEER"),
        metrics_listen: reader.optional(
            "QUELL_METRICS_LISTEN",
            "an address and a port, such as 127.0.0.1:9090",
        ),
        mutes_per_second: mutes_per_second.unwrap_or(MUTES_PER_SECOND_DEFAULT),
        requests_per_second: requests_per_second.unwrap_or(REQUESTS_PER_SECOND_DEFAULT),
        drain_delay: Duration::from_secs(drain_delay(reader)),
    }
}

/// Orchestrators kill what has not ended in minutes.
const DRAIN_DELAY_SECONDS_MAX: u64 = 300;

fn drain_delay(reader: &mut EnvReader<'_>) -> u64 {
    let name = "QUELL_DRAIN_DELAY_SECONDS";
    let seconds = reader.parsed(name, 0, "a whole number of seconds");
    if seconds > DRAIN_DELAY_SECONDS_MAX {
        reader.problems.push(format!(
            "{name} is {seconds}, but may be {DRAIN_DELAY_SECONDS_MAX} at most"
        ));
    }
    seconds
}
