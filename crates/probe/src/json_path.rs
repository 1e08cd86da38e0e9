//! JSON paths (RFC 9535), without those whose evaluation could take long.
//!
//! A check comes from another agent and the document from the far end, so the work must not grow faster than the document: a path may
//! descend (`..`) once, or filter (`?`) once without wildcards after it, and selects no lists of names or numbers (`,`).

use quorate_core::check::limits::MAX_JSON_PATH_BYTES;
use serde_json::Value;
use serde_json_path::JsonPath;

/// The values that `path` selects.
pub(crate) fn select<'a>(path: &str, document: &'a Value) -> Result<Vec<&'a Value>, String> {
    Ok(parse(path)?.query(document).all())
}

/// Reads a path.
pub(crate) fn parse(path: &str) -> Result<JsonPath, String> {
    if path.len() > MAX_JSON_PATH_BYTES {
        return Err(format!("too long; at most {MAX_JSON_PATH_BYTES} bytes"));
    }
    let grammar = without_quoted(path);
    let (descents, filters) = (grammar.matches("..").count(), grammar.matches('?').count());
    let after = grammar.split_once('?').map_or("", |(_, after)| after);
    if grammar.contains(',') || descents + filters > 1 || after.contains(['*', ':', '?']) {
        let rule =
            "may descend (`..`) or filter (`?`) once, without a wildcard inside of the filter and without lists (`,`)";
        return Err(format!("{path:?} {rule}"));
    }
    JsonPath::parse(path).map_err(|error| format!("{path:?} is not a JSON path: {error}"))
}

/// The path less what stands in quotes: a name or a text, of which no character selects anything.
fn without_quoted(path: &str) -> String {
    let (mut rest, mut open) = (String::with_capacity(path.len()), None);
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match open {
            None => {
                rest.push(c);
                open = Some(c).filter(|c| ['\'', '"'].contains(c));
            }
            Some(quote) if c == quote => {
                rest.push(c);
                open = None;
            }
            // What a backslash stands before closes nothing.
            Some(_) if c == '\\' => {
                chars.next();
            }
            Some(_) => {}
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_unless_they_could_take_long() {
        for good in ["$", "$.a.b[0]", "$['a b']", "$.a[*].b[*]", "$..status", "$.checks[?@.name == 'db'].ok"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for quoted in
            ["$.checks[?@.name == 'db:write, *'].ok", "$['a,b']..c", "$[\"what?\"][?@.a == \"..\"]", r"$['\'?'][?@.a]"]
        {
            assert!(parse(quoted).is_ok(), "{quoted}");
        }
        for smuggled in [r"$['\'']['a','b']", r#"$["'"][*,*]"#, r"$['\\'][*,*]", "$['a'][?@.b][?@['c']]"] {
            assert!(parse(smuggled).is_err(), "{smuggled}");
        }
        let long = format!("$.{}", "a".repeat(300));
        for bad in ["", "a.b", "$.", "$..a..b", "$..[?@.a]", "$[?@[*] == 1]", "$[*,*][*,*]", "$[?@[?@.a]]", &long] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
