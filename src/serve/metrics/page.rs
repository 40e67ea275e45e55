//! The text of a scrape, in Prometheus' format or in that of OpenMetrics.
//!
//! ```text
//! Prometheus     # TYPE tidegate_query_commits_total counter        tidegate_query_commits_total{query="C"} 3
//! OpenMetrics    # TYPE tidegate_query_commits counter              tidegate_query_commits_total{query="C"} 3      ...  # EOF
//! ```

use super::METRICS;
use crate::telemetry::histogram::HistogramSnapshot;
use std::fmt::{Display, Write};

/// Media type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Media type of OpenMetrics.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own.
    Text,
    /// OpenMetrics.
    Open,
}

impl Format {
    /// The format that an `accept` header prefers: OpenMetrics if it names it.
    pub(super) fn of(accept: Option<&str>) -> Format {
        let names =
            |accept: &str| accept.split(',').any(|part| part.trim().starts_with("application/openmetrics-text"));
        if accept.is_some_and(names) { Format::Open } else { Format::Text }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Text => TEXT,
            Format::Open => OPEN,
        }
    }
}

/// The text as it is put together.
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page { text: String::with_capacity(16 * 1024), format }
    }

    /// Begins a metric that [`METRICS`] names.
    pub(super) fn metric(&mut self, name: &str) {
        if let Some((_, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) {
            // A counter of OpenMetrics is called without its ending.
            let name = match self.format {
                Format::Open => name.strip_suffix("_total").filter(|_| *kind == "counter").unwrap_or(name),
                Format::Text => name,
            };
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (nth, (label, text)) in labels.iter().enumerate() {
            let open = if nth == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn single(&mut self, name: &str, value: impl Display) {
        self.metric(name);
        self.sample(name, &[], value);
    }

    /// A metric with one sample if its value is known.
    pub(super) fn known(&mut self, name: &str, value: Option<impl Display>) {
        self.metric(name);
        value.iter().for_each(|value| self.sample(name, &[], value));
    }

    /// The buckets, the sum and the count of a histogram.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &HistogramSnapshot) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in times.cumulative() {
            let bound = format!("{bound:?}");
            self.sample(&bucket, &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), times.count());
        self.sample(&format!("{name}_sum"), labels, times.sum_seconds());
        self.sample(&format!("{name}_count"), labels, times.count());
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::Open {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::Histogram;
    use std::time::Duration;

    #[test]
    fn counters_are_called_as_each_format_calls_them() {
        for (accept, family, end) in [
            (None, "# TYPE tidegate_query_commits_total counter\n", "} 3\n"),
            (Some("text/html"), "# TYPE tidegate_query_commits_total counter\n", "} 3\n"),
            (
                Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"),
                "# TYPE tidegate_query_commits counter\n",
                "# EOF\n",
            ),
        ] {
            let mut page = Page::new(Format::of(accept));
            page.metric("tidegate_query_commits_total");
            page.sample("tidegate_query_commits_total", &[("query", "a\"b")], 3);
            let text = page.finish();
            assert!(text.contains(family) && text.ends_with(end), "{text}");
            assert!(text.contains("tidegate_query_commits_total{query=\"a\\\"b\"} 3\n"), "{text}");
        }
    }

    #[test]
    fn a_histogram_ends_with_all_its_values() {
        let times = Histogram::default();
        times.record(Duration::from_millis(2));
        times.record(Duration::from_secs(60));
        let mut page = Page::new(Format::Text);
        page.histogram("h", &[("query", "C")], &times.snapshot());
        let text = page.finish();
        for line in [
            "h_bucket{query=\"C\",le=\"0.001\"} 0",
            "h_bucket{query=\"C\",le=\"0.0025\"} 1",
            "h_bucket{query=\"C\",le=\"30.0\"} 1",
            "h_bucket{query=\"C\",le=\"+Inf\"} 2",
            "h_sum{query=\"C\"} 60.002",
            "h_count{query=\"C\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }
}
