//! The text that a scraper reads: `OpenMetrics` where it asks for that, else the Prometheus text format.

use std::borrow::Cow;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    Prometheus,
}

impl TextFormat {
    /// What to answer to these values of `Accept`.
    #[must_use]
    pub fn accepted<'a>(mut accept: impl Iterator<Item = &'a str>) -> Self {
        if accept.any(|kinds| kinds.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(super) fn text(self, registry: &Registry) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        encode(&mut text, registry).unwrap_or_default();
        match self {
            Self::OpenMetrics => text,
            Self::Prometheus => prometheus_text(&text),
        }
    }
}

/// The same metrics in the Prometheus text format. There, a family has the name of its samples: a counter's with
/// `_total`; and an info is a gauge. `prometheus-client` writes `OpenMetrics` alone, `HELP` before `TYPE`.
fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            help = words;
        } else if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').unwrap_or((words, ""));
            let (name, kind) = match kind {
                "counter" => (Cow::from(format!("{name}_total")), kind),
                "info" => (Cow::from(format!("{name}_info")), "gauge"),
                _ => (Cow::from(name), kind),
            };
            let help = help.split_once(' ').map_or("", |(_, help)| help);
            let (name, end) = (&*name, "\n");
            text.extend([
                "# HELP ", name, " ", help, end, "# TYPE ", name, " ", kind, end,
            ]);
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_openmetrics_has_it() {
        let check = |accept: &[&str], want| {
            assert_eq!(
                TextFormat::accepted(accept.iter().copied()),
                want,
                "{accept:?}"
            );
        };
        check(&[], TextFormat::Prometheus);
        check(&["*/*"], TextFormat::Prometheus);
        check(&["text/plain"], TextFormat::Prometheus);
        // Prometheus 2 and 3.
        check(
            &[
                "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            TextFormat::OpenMetrics,
        );
        check(
            &["text/plain", "application/openmetrics-text"],
            TextFormat::OpenMetrics,
        );
    }

    #[test]
    fn families_have_the_names_of_their_samples() {
        let open_metrics = "# HELP a Of a.\n# TYPE a counter\na_total{x=\"# y\"} 1\n\
                            # HELP b Of b.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                            # HELP c_seconds Of c.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds 0\n# EOF\n";
        let want = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                    # HELP b_info Of b.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                    # HELP c_seconds Of c.\n# TYPE c_seconds gauge\nc_seconds 0\n";
        assert_eq!(prometheus_text(open_metrics), want);
    }
}
