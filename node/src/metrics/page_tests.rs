//! The table of `docs/metrics.md` is made from the catalogue, and no document names a metric that is not in it.

use super::{CATALOGUE, Described, Kind};
use std::path::{Path, PathBuf};

const HEAD: &str = "| name | kind | labels | meaning |\n|---|---|---|---|\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn row(metric: &Described) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help)
}

#[test]
fn the_page_has_the_table_of_the_catalogue() {
    let path = root().join("docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(HEAD).unwrap();
    let (found, after) = rest.split_once("\n\n").unwrap();
    let wanted: String = CATALOGUE.iter().map(row).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{HEAD}{wanted}\n{after}")).unwrap();
        return;
    }
    assert_eq!(format!("{found}\n"), wanted, "docs/metrics.md differs from the catalogue; UPDATE_EXPECT=1 rewrites it");
}

/// Names as they are used in expressions: with the suffixes of a histogram's series.
fn is_known(name: &str) -> bool {
    let histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let is = |wanted: &str, metric: &Described| metric.name == wanted;
    CATALOGUE.iter().any(|metric| is(name, metric))
        || histogram.is_some_and(|base| CATALOGUE.iter().any(|m| is(base, m) && m.kind == Kind::Histogram))
}

#[test]
fn every_metric_that_is_named_exists() {
    let pattern = regex::Regex::new(
        r"\b(quorate|http_request|health_check|external_call|sse|queue_job|circuit_breaker|ratelimit)s?_[a-z0-9_]+\b",
    )
    .unwrap();
    let mut unknown = Vec::new();
    let mut files = vec![root().join("README.md"), root().join("docs/metrics.md")];
    let mut folders = vec![root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let names = pattern.find_iter(&text).map(|found| found.as_str().to_owned());
        unknown.extend(names.filter(|name| !is_known(name)).map(|name| format!("{}: {name}", file.display())));
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn names_follow_the_conventions() {
    for metric in CATALOGUE {
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains(['|', '"', '\n']), "{}", metric.name);
        assert!(!metric.labels.contains(&"instance"), "{}: that is the scrape target's own label", metric.name);
        assert_eq!(CATALOGUE.iter().filter(|other| other.name == metric.name).count(), 1, "{} twice", metric.name);
    }
}
