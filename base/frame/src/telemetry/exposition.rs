//! The two formats in which `/metrics` answers. OpenMetrics 1.0 is for whoever asks for it; everybody else gets the older text
//! format, where a counter's help and type stand under the name that its series have, with `_total`.

use std::fmt::Write as _;

/// How metrics are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0: ends with `# EOF`.
    OpenMetrics,
}

impl Exposition {
    /// OpenMetrics where the header `accept` names it with no less weight than plain text.
    pub fn asked_for(accept: Option<&str>) -> Exposition {
        let weight = |media: &str| {
            let kinds = accept.unwrap_or_default().split(',').filter_map(|kind| {
                let mut parts = kind.split(';').map(str::trim);
                let named = parts.next()?.eq_ignore_ascii_case(media);
                let weight =
                    parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
                named.then_some(weight?)
            });
            kinds.fold(0.0_f32, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Exposition::OpenMetrics } else { Exposition::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text format out of OpenMetrics. Series are written the same in both; only what describes a family differs.
pub(super) fn text_of(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 256);
    // The help stands before the type, and its name hangs on the type.
    let mut help: Option<(&str, &str)> = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), said) => help = Some((name, said.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some((_, said)) = help.take().filter(|(of, _)| *of == name) {
                    // Quotes are escaped in OpenMetrics only. Writing to a text can't fail.
                    let _ = writeln!(text, "# HELP {name}{suffix} {}", said.replace("\\\"", "\""));
                }
                let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
            }
            // Units, and the end.
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_openmetrics_gets_it() {
        let of = |accept| Exposition::asked_for(Some(accept));
        assert_eq!(Exposition::asked_for(None), Exposition::Text);
        for accept in
            ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0", "application/json"]
        {
            assert_eq!(of(accept), Exposition::Text, "{accept}");
        }
        // What Prometheus sends, and what it sends when it was told to prefer the older format.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(of(prometheus), Exposition::OpenMetrics);
        assert_eq!(
            of("text/plain;version=0.0.4;q=0.5, application/openmetrics-text; q=0.4"),
            Exposition::Text
        );
        assert_eq!(of("application/openmetrics-text"), Exposition::OpenMetrics);
    }

    #[test]
    fn families_are_described_under_the_names_of_their_series() {
        let open = "# HELP a A \\\"counter\\\".\n# TYPE a counter\na_total{x=\"# HELP\"} 1\n\
                    # HELP b_seconds A gauge.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 0.5\n\
                    # HELP c Info.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total A \"counter\".\n# TYPE a_total counter\na_total{x=\"# HELP\"} 1\n\
                    # HELP b_seconds A gauge.\n# TYPE b_seconds gauge\nb_seconds 0.5\n\
                    # HELP c_info Info.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(text_of(open), text);
    }
}
