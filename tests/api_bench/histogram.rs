//! A histogram on a metrics page.

/// Upper bounds in ascending order, with how many values do not exceed each.
#[derive(Debug, Clone)]
pub struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Reads the one of that name, which has no labels.
    pub fn read(page: &str, name: &str) -> Self {
        let prefix = format!("{name}_bucket{{le=\"");
        let lines = page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
        let read = |(bound, count): (&str, &str)| {
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
            (bound, count.parse().expect("a count"))
        };
        let buckets: Vec<_> = lines.map(read).collect();
        assert!(!buckets.is_empty(), "there is no {name}");
        Self(buckets)
    }

    /// What came to it since it was `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|((bound, now), (_, then))| (*bound, now - then)).collect())
    }

    /// How many values.
    pub fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, all)| *all)
    }

    /// The value that this share does not exceed; between two bounds as if values were spread evenly, as Prometheus does.
    pub fn percentile(&self, share: f64) -> f64 {
        let wanted = self.0.last().map_or(0.0, |(_, all)| all * share);
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= wanted && bound.is_finite() {
                return lower + (bound - lower) * (wanted - below) / (count - below).max(1.0);
            }
            (lower, below) = (*bound, *count);
        }
        lower
    }
}
