//! Whatever is lost, reordered or repeated on the way: whoever has every live batch has exactly the owner's records.

use super::*;
use proptest::prelude::*;
use quorate_core::{Observation, UnixMs, Vote, Zone};
use quorate_wire::Profile;

/// The higher ones are hosts.
fn id(instance: u8) -> InstanceId {
    match instance {
        0..30 => InstanceId::new(format!("i{instance}")).unwrap(),
        _ => InstanceId::host(AgentId(instance.into())),
    }
}

fn observed(instance: u8, n: u64) -> Record {
    let instance = id(instance);
    let observation = Observation { vote: Vote::Pass, detail: String::new(), since: UnixMs(n) };
    Record::Observed { instance, incarnation: 1, observation }
}

fn gone(instance: u8) -> Record {
    Record::ObservedGone(id(instance))
}

/// The records of an agent that has just started.
fn started(epoch: u32) -> OwnLog {
    let mut log = OwnLog::new(AgentId(1), epoch);
    let profile = Profile {
        name: "a".into(),
        zone: Zone::default(),
        address: ([10, 0, 0, 1], 7700).into(),
        api_address: String::new(),
        version: String::new(),
        left: false,
    };
    log.write(Record::Profile(profile.into()));
    log
}

/// All but the profile.
fn content(namespace: &Namespace) -> Vec<Record> {
    let mut records: Vec<_> =
        namespace.records().filter(|record| !matches!(record, Record::Profile(_))).cloned().collect();
    records.sort_by_key(Record::key);
    records
}

/// Copies as anti-entropy does, until nothing is wanted.
fn repair(copy: &mut Namespace, owner: &OwnLog) {
    let missing: Vec<_> = copy.missing().collect();
    for batch in owner.copy().since(copy.epoch(), copy.head(), &missing) {
        copy.take(batch);
    }
}

#[test]
fn live_batches_stay_few_however_much_changes() {
    let mut log = OwnLog::new(AgentId(1), 1);
    for n in 0..2000 {
        log.write(observed((n % 50) as u8, n));
        log.flush(|_| vec![]);
        assert!(log.copy().live().len() <= CLEAN_ABOVE + 1, "{} at {n}", log.copy().live().len());
    }
    let mut copy = Namespace::default();
    repair(&mut copy, &log);
    assert_eq!(content(&copy).len(), 50);
}

#[test]
fn equal_numbers_with_another_content_are_told_apart() {
    let log = |signature: u8| {
        let mut log = OwnLog::new(AgentId(1), 1);
        for instance in 1..4 {
            log.write(observed(instance, u64::from(signature)));
            log.flush(|_| vec![signature; 64]);
        }
        log
    };
    let (one, other) = (log(1), log(2));
    let numbers = |log: &OwnLog| (log.copy().epoch(), log.copy().head(), log.copy().missing().count());
    assert_eq!(numbers(&one), numbers(&other));
    assert_ne!(one.copy().content(), other.copy().content());
    let mut copy = Namespace::default();
    repair(&mut copy, &one);
    assert_eq!(copy.content(), one.copy().content());
}

#[test]
fn what_replaces_a_lost_batch_is_passed_on() {
    let mut log = OwnLog::new(AgentId(1), 1);
    let mut write = |instance, n| {
        log.write(observed(instance, n));
        log.flush(|_| vec![n as u8]).remove(0)
    };
    let (first, _lost, last) = (write(1, 1), write(1, 2), write(2, 3));
    let mut copy = Namespace::default();
    copy.take(first);
    copy.take(last);
    assert_eq!(copy.missing().collect::<Vec<_>>(), [2]);
    // The owner is gone for good: a third has from this copy all that it knows.
    let mut third = Namespace::default();
    copy.since(0, 0, &[]).into_iter().for_each(|batch| assert!(matches!(third.take(batch), Taken::News(_))));
    assert_eq!(content(&third), [observed(1, 1), observed(2, 3)]);
    assert_eq!(third.content(), copy.content());
}

#[test]
fn a_new_epoch_hides_nothing_until_it_is_complete() {
    let mut old = started(1);
    old.write(observed(1, 1));
    old.write(observed(2, 1));
    let mut copy = Namespace::default();
    old.flush(|_| vec![]).into_iter().for_each(|batch| assert_ne!(copy.take(batch), Taken::Refused));
    let mut new = started(2);
    new.write(observed(1, 2));
    let first = new.flush(|_| vec![]);
    new.write(observed(3, 2));
    let second = new.flush(|_| vec![]);
    copy.take(Arc::clone(&second[0]));
    assert_eq!(content(&copy).len(), 3, "the first batch of the new epoch is still missing");
    copy.take(Arc::clone(&first[0]));
    assert_eq!(content(&copy), [observed(1, 2), observed(3, 2)]);
    assert_eq!(copy.take(Arc::clone(&first[0])), Taken::Known);
}

/// A faulty owner begins ever new starts and never brings one to its end.
#[test]
fn starts_that_never_end_hold_no_more_than_one() {
    let mut copy = Namespace::default();
    for epoch in 1..=4 * MAX_RECORDS as u32 / 10_000 {
        let record = |n: u32| {
            let instance = InstanceId::new(format!("i{epoch}-{n}")).unwrap();
            let observation = Observation { vote: Vote::Pass, detail: String::new(), since: UnixMs(1) };
            Record::Observed { instance, incarnation: 1, observation }
        };
        let records = (0..10_000).map(record).collect();
        let batch = Batch { owner: AgentId(1), epoch, seq: 1, live: vec![1], records, signature: vec![] };
        copy.take(Arc::new(batch));
        assert!(copy.records().count() <= 2 * MAX_RECORDS, "{epoch}");
    }
}

#[test]
fn a_start_in_many_batches_hides_nothing() {
    let start = |epoch: u32| {
        let mut log = started(epoch);
        for instance in 0..3000 {
            let instance = InstanceId::new(format!("i{instance}")).unwrap();
            let observation =
                Observation { vote: Vote::Pass, detail: "x".repeat(100), since: UnixMs(u64::from(epoch)) };
            log.write(Record::Observed { instance, incarnation: 1, observation });
        }
        log.flush(|_| vec![])
    };
    let (old, new) = (start(1), start(2));
    assert!(new.len() > 2, "{} batches", new.len());
    let mut copy = Namespace::default();
    old.into_iter().for_each(|batch| assert_ne!(copy.take(batch), Taken::Refused));
    for batch in new {
        assert_eq!(content(&copy).len(), 3000);
        assert_ne!(copy.take(batch), Taken::Refused);
    }
    assert_eq!(content(&copy).len(), 3000);
    assert!(
        copy.records()
            .all(|record| !matches!(record, Record::Observed { observation, .. } if observation.since == UnixMs(1)))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn copies_converge(
        writes in proptest::collection::vec((0u8..60, any::<bool>(), any::<bool>(), 0u8..4), 1..300),
    ) {
        let mut log = started(1);
        let mut copy = Namespace::default();
        let mut late: Vec<Arc<Batch>> = Vec::new();
        let mut written = BTreeMap::new();
        for (n, (instance, delete, flush, fate)) in writes.into_iter().enumerate() {
            let record = if delete { gone(instance) } else { observed(instance, n as u64) };
            written.insert(record.key(), record.clone());
            log.write(record);
            if !flush { continue }
            for batch in log.flush(|_| vec![]) {
                match fate {
                    0 => {}                                 // lost
                    1 => late.push(batch),                  // late
                    2 => { copy.take(Arc::clone(&batch)); copy.take(batch); }
                    _ => { copy.take(batch); late.drain(..).rev().for_each(|b| { copy.take(b); }) }
                }
                prop_assert!(copy.records().filter_map(host_of).all(|host| copy.may_speak_of(&InstanceId::host(host))));
            }
        }
        log.flush(|_| vec![]);
        repair(&mut copy, &log);
        prop_assert_eq!(copy.missing().count(), 0);
        let written: Vec<_> = written.into_values().filter(|record| !record.is_tombstone()).collect();
        prop_assert_eq!(content(log.copy()), written);
        prop_assert_eq!(content(&copy), content(log.copy()));
        let hosts: Vec<_> = (0..64).map(|host| InstanceId::host(AgentId(host))).collect();
        let spoken = hosts.iter().filter(|host| copy.may_speak_of(host)).count();
        let told = hosts.iter().filter(|host| copy.record(&RecordKey::Observed((*host).clone())).is_some()).count();
        // Of those that are never spoken of most are known not to be, where few are.
        prop_assert!(told > 8 || spoken < 48, "{} of 64 may be spoken of, {} are", spoken, told);
    }
}
