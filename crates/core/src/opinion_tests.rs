//! The opinion rules as truth tables in `testdata/opinion.txt` and `testdata/class.txt`, and against a second, naive implementation.
//!
//! `UPDATE_EXPECT=1 cargo test -p quorate-core` rewrites the answers in the tables; commit the change only when you understand it.

use super::*;
use crate::evidence::{Cause, Phase};
use crate::observation::AbstainReason;
use crate::verdict::{Class, Pattern};
use proptest::prelude::*;

fn vote(letter: char) -> Option<Vote> {
    match letter {
        'p' => Some(Vote::Pass),
        'w' => Some(Vote::Warn),
        'f' => Some(Vote::Fail { phase: Phase::Connect, cause: Cause::Refused }),
        'r' => Some(Vote::Fail { phase: Phase::Resolve, cause: Cause::NameNotFound }),
        'a' => Some(Vote::Abstain(AbstainReason::Isolated)),
        _ => None,
    }
}

/// `p:a` is a pass from zone a; a capital letter is the home agent; `-` is a missing vote.
fn voter(index: usize, word: &str) -> Option<Voter> {
    let (letter, zone) = word.split_once(':').unwrap_or((word, "z"));
    let letter = letter.chars().next().unwrap();
    let vote = vote(letter.to_ascii_lowercase())?;
    Some(Voter { agent: AgentId(index as u64), zone: Zone::new(zone).unwrap(), home: letter.is_uppercase(), vote })
}

fn table(file: &str, answer: impl Fn(&str) -> String) {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let rewritten: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("=>") {
            Some((question, _)) if !line.starts_with('#') => format!("{question}=> {}", answer(question)),
            _ => line.to_owned(),
        })
        .collect();
    let rewritten = rewritten.join("\n") + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &rewritten).unwrap();
    }
    for (line, (was, is)) in text.lines().zip(rewritten.lines()).enumerate() {
        assert_eq!(was, is, "{file}:{}; UPDATE_EXPECT=1 rewrites the table", line + 1);
    }
}

#[test]
fn opinion_table() {
    table("opinion.txt", |question| {
        let (head, votes) = question.split_once('|').unwrap();
        let mut head = head.split_whitespace();
        let ballot = Ballot {
            observers: head.next().unwrap().strip_prefix("k=").unwrap().parse().unwrap(),
            strained: head.next() == Some("strained"),
            voters: votes.split_whitespace().enumerate().filter_map(|(i, word)| voter(i, word)).collect(),
        };
        opinion(&ballot).map_or("keep".to_owned(), |verdict| verdict.to_string())
    });
}

#[test]
fn class_table() {
    table("class.txt", |question| {
        let words: Vec<_> = question.split_whitespace().collect();
        let pattern = Pattern {
            home_alive: words[0] == "alive",
            home: vote(words[1].chars().next().unwrap()),
            remote: words[3..].iter().filter_map(|w| vote(w.chars().next().unwrap())).collect(),
        };
        Class::of(&pattern).to_string()
    });
}

/// The rules once more, said as plainly as possible.
fn naive(ballot: &Ballot) -> Option<Verdict> {
    let of = |wanted: &[&str]| ballot.voters.iter().filter(|v| wanted.contains(&v.vote.word())).collect::<Vec<_>>();
    let (fails, reaches, passes) = (of(&["fail"]), of(&["pass", "warn"]), of(&["pass"]));
    let enough = |n: usize| n * 2 > ballot.observers as usize;
    let nameless = |v: &&&Voter| matches!(v.vote, Vote::Fail { phase: Phase::Resolve, .. });
    let against = fails.iter().filter(|v| reaches.is_empty() || !nameless(v)).count();
    let well = reaches.len() < 2 && reaches.iter().all(|v| !v.home);
    if enough(against) && against > reaches.len() && (!ballot.strained || well) {
        return Some(Verdict::Down);
    }
    if enough(fails.len() + reaches.len()) && !fails.is_empty() && !reaches.is_empty() {
        let apart = fails.iter().all(|f| reaches.iter().all(|r| r.zone != f.zone));
        let home_alone = reaches.iter().all(|r| r.home) && fails.iter().all(|f| !f.home);
        if (apart && fails.len() > 1) || home_alone {
            return Some(Verdict::Partial);
        }
    }
    if enough(passes.len()) {
        Some(Verdict::Up)
    } else if enough(reaches.len()) {
        Some(Verdict::Degraded)
    } else {
        None
    }
}

fn ballots() -> impl Strategy<Value = Ballot> {
    let voters = proptest::collection::vec((0usize..5, 0usize..3), 0..9);
    (1u32..9, voters, proptest::option::of(0usize..9), any::<bool>()).prop_map(|(observers, voters, home, strained)| {
        let voters = voters.into_iter().enumerate().map(|(i, (letter, zone))| Voter {
            agent: AgentId(i as u64),
            zone: Zone::new(["a", "b", "c"][zone]).unwrap(),
            home: home == Some(i),
            vote: vote(['p', 'w', 'f', 'a', 'r'][letter]).unwrap(),
        });
        Ballot { observers, voters: voters.collect(), strained }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_rules(ballot in ballots()) {
        prop_assert_eq!(opinion(&ballot), naive(&ballot));
    }

    /// Promise 5: what a majority of the assigned observers reaches is never called down.
    #[test]
    fn truth_wins(ballot in ballots()) {
        let reach = ballot.voters.iter().filter(|v| v.vote.reaches()).count();
        let fail = ballot.voters.iter().filter(|v| v.vote.fails()).count();
        if opinion(&ballot) == Some(Verdict::Down) {
            prop_assert!(fail > reach && fail * 2 > ballot.observers as usize);
        }
    }

    /// A vote that is withdrawn never makes an instance down.
    #[test]
    fn silence_condemns_nobody(ballot in ballots()) {
        for (i, voter) in ballot.voters.iter().enumerate() {
            if voter.vote.fails() {
                let mut fewer = ballot.clone();
                fewer.voters.remove(i);
                prop_assert!(opinion(&fewer) != Some(Verdict::Down) || opinion(&ballot) == Some(Verdict::Down));
            }
        }
    }
}
