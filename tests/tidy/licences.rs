//! Licences and banned packages, read from `deny.toml`: the same rules as `cargo deny check`, without needing that tool.

use crate::dependencies::metadata;
use crate::tree::{report, root};
use std::collections::BTreeSet;
use toml::Value;

fn table(file: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn strings<'a>(list: &'a Value, key: Option<&str>) -> Vec<&'a str> {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| match key {
            Some(key) => entry[key].as_str().expect("a string"),
            None => entry.as_str().expect("a string"),
        })
        .collect()
}

#[test]
fn every_licence_is_allowed() {
    let deny = table("deny.toml");
    let allowed: BTreeSet<&str> = strings(&deny["licenses"]["allow"], None).into_iter().collect();
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for package in metadata().packages {
        let expression = package.license.clone().unwrap_or_default();
        let words: BTreeSet<&str> = allowed.iter().copied().filter(|name| expression.contains(*name)).collect();
        used.extend(words);
        if !permits(&expression, &allowed) {
            faults.push(format!("{} {}: {expression:?}", package.name, package.version));
        }
    }
    faults.extend(allowed.difference(&used).map(|name| format!("{name} is allowed but not used")));
    report("licences that deny.toml allows", &faults);
}

#[test]
fn no_banned_package_is_in_the_lock_file() {
    let (deny, lock) = (table("deny.toml"), table("Cargo.lock"));
    let banned = strings(&deny["bans"]["deny"], Some("name"));
    let present = strings(&lock["package"], Some("name"));
    let faults: Vec<_> = present.iter().filter(|name| banned.contains(name)).map(ToString::to_string).collect();
    report("packages that deny.toml bans", &faults);
}

#[test]
fn one_version_of_the_tls_stack() {
    let lock = table("Cargo.lock");
    let present = strings(&lock["package"], Some("name"));
    for name in ["rustls", "ring", "quinn", "rustls-webpki"] {
        assert_eq!(present.iter().filter(|other| **other == name).count(), 1, "versions of {name}");
    }
}

/// Does an SPDX expression hold when exactly the names in `allowed` may be used? `AND` binds closer than `OR`; a slash is an old `OR`.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let mut rest = words.as_slice();
    let holds = any_of(&mut rest, allowed);
    holds && rest.is_empty()
}

fn any_of(rest: &mut &[String], allowed: &BTreeSet<&str>) -> bool {
    let mut holds = all_of(rest, allowed);
    while rest.first().is_some_and(|word| word == "OR") {
        *rest = &rest[1..];
        holds |= all_of(rest, allowed);
    }
    holds
}

fn all_of(rest: &mut &[String], allowed: &BTreeSet<&str>) -> bool {
    let mut holds = one(rest, allowed);
    while rest.first().is_some_and(|word| word == "AND") {
        *rest = &rest[1..];
        holds &= one(rest, allowed);
    }
    holds
}

fn one(rest: &mut &[String], allowed: &BTreeSet<&str>) -> bool {
    let Some((word, after)) = rest.split_first() else { return false };
    *rest = after;
    if word != "(" {
        return allowed.contains(word.as_str());
    }
    let holds = any_of(rest, allowed);
    *rest = rest.split_first().map_or(&[], |(_closing, after)| after);
    holds
}

#[test]
fn expressions_are_read_as_spdx_says() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for (expression, holds) in [
        ("MIT", true),
        ("Apache-2.0 OR MIT", true),
        ("Apache-2.0/MIT", true),
        ("Apache-2.0 AND MIT", false),
        ("Apache-2.0 AND (ISC OR MIT)", false),
        ("(Apache-2.0 OR MIT) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("Apache-2.0 OR MIT AND GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(permits(expression, &allowed), holds, "{expression}");
    }
}
