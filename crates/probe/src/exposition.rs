//! Samples of Prometheus' text format (version 0.0.4) and of OpenMetrics 1.0, as far as a number is looked for.

/// `name` or `name{label="value",...}`: which samples are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, labels, rest) = series(text.trim()).ok_or_else(|| {
            format!("{text:?} is not a sample's name, such as \"queue_depth\" or \"queue_depth{{queue=\\\"mail\\\"}}\"")
        })?;
        if !rest.is_empty() {
            return Err(format!("{text:?} goes on after the name and its labels"));
        }
        if let Some((label, _)) = labels.iter().find(|(label, _)| !is_label(label)) {
            return Err(format!("{text:?} holds {label:?}, which is not a label; a label is compared by `=` alone"));
        }
        Ok(Self { name: name.to_owned(), labels })
    }

    /// The values of all samples that fit: the same name, and each of the labels. `NaN`, which is no number, is among them.
    pub(crate) fn values(&self, text: &str) -> Vec<f64> {
        let value = |line: &str| {
            if !line.starts_with(self.name.as_str()) {
                return None;
            }
            let (name, labels, rest) = series(line)?;
            let fits = name == self.name && self.labels.iter().all(|wanted| labels.contains(wanted));
            rest.split_ascii_whitespace().next().filter(|_| fits)?.parse::<f64>().ok()
        };
        text.lines().filter_map(|line| value(line.trim_start())).collect()
    }

    /// Are all samples of this name within `text`, which is the beginning of a page? Those of one family stand together: they are over once another
    /// follows.
    pub(crate) fn is_over(&self, text: &str) -> bool {
        let named = |line: &str| -> Option<String> {
            let line = line.trim_start();
            let Some(comment) = line.strip_prefix('#') else { return series(line).map(|(name, ..)| name.to_owned()) };
            let mut words = comment.split_ascii_whitespace();
            let describes = words.next().is_some_and(|word| ["HELP", "TYPE", "UNIT"].contains(&word));
            words.next().filter(|_| describes).map(str::to_owned)
        };
        text.lines().rev().find_map(named).is_some_and(|last| family(&last) != family(&self.name))
    }
}

/// What a sample's name has in common with those of its family: a histogram's are mixed.
fn family(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count", "_total", "_created"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// A label as a selector has it (Prometheus' data model).
fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

type Series<'a> = (&'a str, Vec<(String, String)>, &'a str);

/// The name and the labels at the beginning of a line, and what follows.
fn series(line: &str) -> Option<Series<'_>> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !in_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let Some(mut rest) = rest.trim_start().strip_prefix('{') else { return Some((name, Vec::new(), rest)) };
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((name, labels, after));
        }
        let (label, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((label.trim().to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
        if !rest.trim_start().starts_with('}') && !after.trim_start().starts_with(',') {
            return None;
        }
    }
}

/// A text up to its closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP queue_depth How many wait.\n# TYPE queue_depth gauge\nqueue_depth{queue=\"mail\",host=\"a\"} 12\n\
        queue_depth{queue=\"mail\",host=\"b\"} 40 1700000000000\nqueue_depth{queue=\"a\\\"}b\"} 1\nqueue_depth_total 99\n\
        up 1\nrate 2.5e-3\nlost NaN\nbound +Inf\n";

    #[test]
    fn samples_are_found() {
        let values = |selector: &str| Selector::parse(selector).unwrap().values(TEXT);
        assert_eq!(values("queue_depth"), [12.0, 40.0, 1.0]);
        assert_eq!(values("queue_depth{queue=\"mail\"}"), [12.0, 40.0]);
        assert_eq!(values("queue_depth{ host=\"b\", queue=\"mail\" }"), [40.0]);
        assert_eq!(values("queue_depth{queue=\"a\\\"}b\"}"), [1.0]);
        assert_eq!((values("up"), values("rate"), values("bound")), (vec![1.0], vec![0.0025], vec![f64::INFINITY]));
        assert!(matches!(values("lost")[..], [lost] if lost.is_nan()) && values("queue").is_empty());
        for bad in ["", "1a", "a b", "a{", "a{b}", "a{b=\"c}", "a{b=\"c\" d=\"e\"}", "a{} 1"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
        for bad in ["a{b!=\"c\"}", "a{b=\"c\",d!=\"e\"}", "a{=\"c\"}", "a{1b=\"c\"}", "a{b-c=\"d\"}"] {
            let said = Selector::parse(bad).unwrap_err();
            assert!(said.contains("is not a label"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_family_is_over_once_another_begins() {
        let over = |text: &str| Selector::parse("depth_sum{a=\"b\"}").unwrap().is_over(text);
        for goes_on in [
            "",
            "depth_sum 1\n",
            "depth_sum 1\n# a note\n",
            "depth_sum 1\ndepth_bucket{le=\"1\"} 2\n",
            "# TYPE depth histogram\n",
        ] {
            assert!(!over(goes_on), "{goes_on:?}");
        }
        for other in ["depth_sum 1\nother 2\n", "depth_sum 1\n# HELP other How many.\n", "depth_sum 1\ndepths 2\n\n"] {
            assert!(over(other), "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", selector in "[a-z]{1,3}(\\{[a-z]=\"[^\"]{0,3}\"?,?\\}?)?") {
            if let Ok(selector) = Selector::parse(&selector) {
                let _ = selector.values(&text);
                let _ = selector.values(&format!("{}{{{text}", selector.name));
            }
        }
    }
}
