//! The two formats of an exposition.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format of before, which `promtool check metrics` and people with curl read.
    Text,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as the format of before, for metrics that are counters, gauges and histograms: a
/// counter is declared there by its full name, and there is no mark at the end.
pub(super) fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    let mut line = |words: &str| {
        text.push_str(words);
        text.push('\n');
    };
    while let Some(this) = lines.next() {
        let declared = lines.peek().filter(|_| this.starts_with("# HELP "));
        match declared.and_then(|it| it.strip_prefix("# TYPE ")?.strip_suffix(" counter")) {
            Some(name) => {
                let help = this.strip_prefix("# HELP ").unwrap_or_default();
                let help = help.strip_prefix(name).unwrap_or_default();
                line(&format!("# HELP {name}_total{help}"));
                line(&format!("# TYPE {name}_total counter"));
                lines.next();
            }
            None if this == "# EOF" => {}
            None => line(this),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_declared_by_their_full_names() {
        let open_metrics = "# HELP a Of a.\n# TYPE a counter\na_total{b=\"c\"} 1\n\
                            # HELP d Of d.\n# TYPE d gauge\nd 2\n# EOF\n";
        let text = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n\
                    # HELP d Of d.\n# TYPE d gauge\nd 2\n";
        assert_eq!(super::text(open_metrics), text);
    }
}
