//! Reads what strangers and callers may take.

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
    }
}
