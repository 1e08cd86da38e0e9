//! Which known name comes near one that is not known.

/// How many letters must be changed, added, dropped or swapped with their neighbour to make `b` of `a`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swap)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// Longest name that is compared; longer ones are nobody's slip of the pen.
const MAX_BYTES: usize = 128;

/// The known names nearest to `name`, at most `limit`; those within a third of its length, or that begin or end with it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<String> {
    if name.is_empty() || name.len() > MAX_BYTES {
        return Vec::new();
    }
    let near = |candidate: &'a str| {
        let distance = distance(name, candidate);
        let part = candidate.starts_with(name) || candidate.ends_with(name);
        (part || distance <= name.len().max(candidate.len()) / 3).then_some((distance, candidate))
    };
    let mut found: Vec<_> = known.into_iter().filter_map(near).collect();
    found.sort_unstable();
    found.into_iter().take(limit).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(nearest("tiemout", ["period", "timeout"], 1), ["timeout"]);
        assert_eq!(nearest("web@10.0.0.1:80", ["web@10.0.0.1:8080", "db@10.9.9.9:5432"], 3), ["web@10.0.0.1:8080"]);
        assert_eq!(nearest("web", ["web@10.0.0.1:8080"], 3), ["web@10.0.0.1:8080"]);
        assert!(nearest("xyzzy", ["timeout"], 3).is_empty() && nearest("", ["a"], 3).is_empty());
    }
}
