//! Which known name comes near one that is not known.

/// Longest name that is compared; longer ones are nobody's slip of the pen.
const MAX_BYTES: usize = 128;

/// The known names nearest to `name`, at most `limit`; those within a third of its length, or that begin or end with it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<String> {
    if name.is_empty() || name.len() > MAX_BYTES {
        return Vec::new();
    }
    let near = |candidate: &'a str| {
        let distance = strsim::osa_distance(name, candidate);
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
        assert_eq!(nearest("tiemout", ["period", "timeout"], 1), ["timeout"]);
        assert_eq!(nearest("web@10.0.0.1:80", ["web@10.0.0.1:8080", "db@10.9.9.9:5432"], 3), ["web@10.0.0.1:8080"]);
        assert_eq!(nearest("web", ["web@10.0.0.1:8080"], 3), ["web@10.0.0.1:8080"]);
        assert!(nearest("xyzzy", ["timeout"], 3).is_empty() && nearest("", ["a"], 3).is_empty());
    }
}
