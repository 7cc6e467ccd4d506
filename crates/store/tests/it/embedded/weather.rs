//! The embedded store on a disk that fails.

use super::{open_again, options};
use crate::{
    SetClock,
    faulty_disk::{Fault, FaultyDisk},
};
use beckon_store::{
    Cause, Store, StoreError,
    embedded::{EmbeddedStore, OpenError, Options},
};
use beckon_store_conformance::steps::*;
use beckon_types::{PutVersion, PutVersionOutcome};
use std::{path::Path, sync::Arc, time::Duration};

fn synced(data_dir: &Path, disk: &FaultyDisk) -> Options {
    Options { fsync: true, disk: Arc::new(disk.clone()), ..options(data_dir, &SetClock::new()) }
}

fn open_on(data_dir: &Path, disk: &FaultyDisk) -> Arc<dyn Store> {
    Arc::new(open_again(|| synced(data_dir, disk)))
}

/// Repeats a put until it is stored.
async fn stored_in_the_end(store: &Arc<dyn Store>, put: PutVersion) {
    let attempt = async || match store.put_version(put).await {
        Ok(PutVersionOutcome::Stored { .. }) => Some(()),
        Ok(PutVersionOutcome::Gone) => panic!("the client is gone"),
        Err(_) => None,
    };
    beckon_testbed::until("the store works again", attempt).await;
}

#[tokio::test]
async fn a_disk_that_failed_for_a_while_is_used_again_and_nothing_accepted_is_lost() {
    for fault in [Fault::Full, Fault::Broken, Fault::SyncFails] {
        let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let store = open_on(directory.path(), &disk);
        let client = connected(&store, 200).await;
        let mut accepted = Vec::new();
        for (number, channel) in client.channels.iter().enumerate() {
            if number == 100 {
                disk.set(Some(fault));
            }
            let put = PutVersion { client: client.id, channel: *channel, version: version(number as u64) };
            match store.put_version(put).await {
                Ok(PutVersionOutcome::Stored { .. }) => accepted.push((*channel, Some(number as u64))),
                Ok(PutVersionOutcome::Gone) => panic!("the client is gone"),
                Err(StoreError::Unavailable { cause, .. }) => {
                    assert!(number >= 100, "{number}");
                    assert!(matches!(cause, Cause::Disk | Cause::Full), "{fault:?}: {cause}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(accepted.len() < 200, "{fault:?} has had no effect");
        disk.set(None);
        let last = client.channels[199];
        stored_in_the_end(&store, PutVersion { client: client.id, channel: last, version: version(1) }).await;
        // The client has kept its seat.
        let stored = pending(&snapshot(&store, &client).await);
        for (channel, number) in accepted {
            assert_eq!(stored[&channel], number, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_step_whose_caller_has_given_up_is_not_performed() {
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let store = open_on(directory.path(), &disk);
    let client = connected(&store, 2).await;
    disk.set(Some(Fault::Slow(Duration::from_millis(200))));
    let [first, second] = [0, 1].map(|index| {
        let put = PutVersion { client: client.id, channel: client.channels[index], version: version(1) };
        store.put_version(put)
    });
    let first = tokio::task::JoinSet::from_iter([first]);
    // The writer has taken the first one.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let gave_up = tokio::time::timeout(Duration::from_millis(50), second).await;
    assert!(gave_up.is_err(), "the disk is slow");
    disk.set(None);
    first.join_all().await.pop().unwrap().unwrap();
    let expected = [(client.channels[0], Some(1)), (client.channels[1], None)];
    assert_eq!(pending(&snapshot(&store, &client).await), expected.into());
}

type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_file_needs_the_operator() {
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let store = open_on(directory.path(), &disk);
    offline(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let damages: [(&str, Damage); 4] = [
        ("not a database", |content| content[..9].fill(b'x')),
        ("both roots", |content| content[64..320].fill(0xff)),
        ("cut off", |content| content.truncate(100)),
        ("cut in half", |content| content.truncate(content.len() / 2)),
    ];
    for (name, damage) in damages {
        let damaged = FaultyDisk::default();
        let mut content = Vec::new();
        disk.damage("store.redb", |bytes| content.clone_from(bytes));
        beckon_store::embedded::Disk::open(&damaged, &directory.path().join("store.redb")).unwrap();
        damaged.damage("store.redb", |bytes| {
            *bytes = content;
            damage(bytes);
        });
        let error = EmbeddedStore::open(synced(directory.path(), &damaged)).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("beckon restore"), "{name}: {error}");
    }
}

/// Bits are flipped anywhere, or the end is missing: the file is refused, or steps on it succeed or fail one by one. Nothing hangs,
/// and the store does not end.
#[tokio::test]
async fn a_file_with_flipped_bits_or_without_its_end_is_refused_or_served() {
    const ROUNDS: u64 = 60;
    const CLIENTS: usize = 50;
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let mut random = random_numbers(13);
    let store = open_on(directory.path(), &disk);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(offline(&store, 2).await);
    }
    store.close().await.unwrap();
    drop(store);
    let mut whole = Vec::new();
    disk.damage("store.redb", |content| whole.clone_from(content));
    let (mut refused, mut served) = (0, 0);
    for round in 0..ROUNDS {
        disk.damage("store.redb", |content| {
            content.clone_from(&whole);
            let bits = content.len() as u64 * 8;
            match round % 4 {
                0 => content.truncate((random() % (bits / 8)) as usize),
                flips => (0..1 << (3 * flips)).map(|_| random() % bits).for_each(|bit| {
                    content[(bit / 8) as usize] ^= 1 << (bit % 8);
                }),
            }
        });
        // The log is that of the whole file.
        let store: Arc<dyn Store> = match EmbeddedStore::open(synced(directory.path(), &disk)) {
            Ok(store) => Arc::new(store),
            Err(error) => {
                let needs_operator = matches!(error, OpenError::Damaged { .. } | OpenError::Newer(_));
                assert!(needs_operator, "round {round}: {error}");
                refused += 1;
                continue;
            }
        };
        served += 1;
        let puts = clients.iter().map(|client| {
            store.put_version(PutVersion {
                client: client.id,
                channel: client.channels[0],
                version: version(7),
            })
        });
        let outcomes = futures_util::future::join_all(puts).await;
        let timed_out = outcomes
            .iter()
            .any(|outcome| outcome.as_ref().is_err_and(|error| error.cause() == Cause::Timeout));
        assert!(!timed_out, "round {round}: {outcomes:?}");
    }
    assert!(refused > 0 && served > 0, "{refused} refused, {served} served");
}

/// A page that is damaged fails the steps that need it, and no others in the same batch.
#[tokio::test]
async fn a_damaged_page_fails_its_own_steps_only() {
    const CLIENTS: usize = 200;
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let store = open_on(directory.path(), &disk);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connected(&store, 2).await);
    }
    clients.sort_by_key(|client| client.id.0);
    store.close().await.unwrap();
    drop(store);
    // The page that has the record of one client in the middle: its type is overwritten.
    let lost = clients[CLIENTS / 2].channels[0];
    disk.damage("store.redb", |content| {
        let places: Vec<_> = (0..content.len() - 16).filter(|at| content[*at..*at + 16] == lost.0).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| content[at / 4096 * 4096] = 0xee);
    });
    let store = open_on(directory.path(), &disk);
    let puts = clients.iter().map(|client| {
        let put = PutVersion { client: client.id, channel: client.channels[0], version: version(7) };
        store.put_version(put)
    });
    let outcomes = futures_util::future::join_all(puts).await;
    let damaged = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!((1..CLIENTS / 2).contains(&damaged), "{damaged} of {CLIENTS} failed");
    for outcome in &outcomes {
        match outcome {
            Ok(outcome) => assert!(matches!(outcome, PutVersionOutcome::Stored { .. })),
            Err(error) => assert_eq!(error.cause(), Cause::Damaged, "{error}"),
        }
    }
    for (client, outcome) in clients.iter().zip(outcomes) {
        if outcome.is_ok() {
            let (_, _, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
            assert_eq!(pending(&snapshot)[&client.channels[0]], Some(7));
        }
    }
}

/// What was accepted is there after the power has failed in the middle of a commit, whichever sectors were written.
#[tokio::test]
async fn a_power_failure_loses_nothing_accepted() {
    const ROUNDS: u64 = 60;
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let mut random = random_numbers(7);
    let store = open_on(directory.path(), &disk);
    let client = offline(&store, 20).await;
    drop(store);
    let mut written = vec![(0, 0); client.channels.len()];
    for round in 1..=ROUNDS {
        let store = open_on(directory.path(), &disk);
        disk.break_after(random() % 60);
        for number in 0.. {
            let index = (random() % 20) as usize;
            let value = round * 1000 + number;
            let put =
                PutVersion { client: client.id, channel: client.channels[index], version: version(value) };
            // A write that failed may be there or not.
            written[index].1 = value;
            match store.put_version(put).await {
                Ok(outcome) => assert!(matches!(outcome, PutVersionOutcome::Stored { .. })),
                Err(_) => break,
            }
            written[index].0 = value;
        }
        drop(store);
        disk.cut_power(|| random().is_multiple_of(2));
        let store = open_on(directory.path(), &disk);
        let (_, _, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
        let found = pending(&snapshot);
        for (channel, (accepted, latest)) in client.channels.iter().zip(&mut written) {
            let found = found[channel].unwrap_or(0);
            assert!(found == *accepted || found == *latest, "round {round}: {found}, not {accepted}");
            (*accepted, *latest) = (found, found);
        }
    }
}

/// Without fsync a power failure loses the end of what was written, and nothing in front of that.
#[tokio::test]
async fn without_fsync_a_power_failure_loses_the_end_only() {
    const ROUNDS: u64 = 60;
    let (directory, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let open = || -> Arc<dyn Store> {
        Arc::new(open_again(|| Options { fsync: false, ..synced(directory.path(), &disk) }))
    };
    let mut random = random_numbers(11);
    let store = open();
    let client = offline(&store, 10).await;
    store.close().await.unwrap();
    drop(store);
    let mut last = 0;
    for round in 0..ROUNDS {
        let store = open();
        let puts = 1 + random() % 300;
        for number in last + 1..=last + puts {
            let channel = client.channels[(number % 10) as usize];
            stored(&store, client.id, channel, number).await;
        }
        // The process lives on and loses its disk, so that it cannot write anything more when it is closed.
        disk.set(Some(Fault::Broken));
        drop(store);
        disk.cut_power(|| random().is_multiple_of(2));
        let store = open();
        let (_, _, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
        let found = pending(&snapshot);
        let newest = found.values().flatten().max().copied().unwrap_or(0);
        assert!(newest >= last, "round {round}: {newest}, and {last} was on the disk");
        for number in newest.saturating_sub(9).max(1)..=newest {
            let channel = client.channels[(number % 10) as usize];
            assert_eq!(found[&channel], Some(number), "round {round}, newest {newest}");
        }
        last = newest;
        store.close().await.unwrap();
    }
}

/// A sequence of numbers that is the same for the same seed (SplitMix64).
fn random_numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[tokio::test]
async fn a_database_belongs_to_its_token_keys() {
    let directory = tempfile::tempdir().unwrap();
    let open = |keys: &[u64]| {
        let clock = SetClock::new();
        EmbeddedStore::open(Options { keys: keys.to_vec(), ..options(directory.path(), &clock) })
    };
    // The keys of one start after the other, and whether they are accepted.
    for (keys, is_accepted) in [
        (&[1][..], true),
        (&[2], false),
        (&[2, 1], true),
        (&[2], true),
        (&[1], false),
        (&[], true),
        (&[2], true),
    ] {
        match open(keys) {
            Ok(store) => assert!(is_accepted, "{keys:?} {store:?}"),
            Err(OpenError::OtherKeys(_)) => assert!(!is_accepted, "{keys:?}"),
            Err(error) => panic!("{keys:?}: {error}"),
        }
    }
}

/// A clock that is a year ahead for half an hour, or for good, and one that was a year behind.
#[tokio::test]
async fn a_clock_that_jumps_a_year_and_back_expires_nothing() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store: Arc<dyn Store> = Arc::new(super::open(directory.path(), &clock));
    let client = offline(&store, 1).await;
    stored(&store, client.id, client.channels[0], 1).await;
    // Whether the client is still there after half an hour of this.
    let half_an_hour = async || {
        for _ in 0..30 {
            clock.advance(Duration::from_secs(60));
            store.nodes().await.unwrap();
        }
    };
    clock.advance(YEAR);
    half_an_hour().await;
    clock.go_back(YEAR);
    half_an_hour().await;
    stored(&store, client.id, client.channels[0], 2).await;
    clock.go_back(YEAR);
    half_an_hour().await;
    // Seen by a clock that is behind.
    claim(&store, simplepush(client.id, client.presence)).await;
    release(&store, client.id, client.presence).await;
    clock.advance(YEAR);
    half_an_hour().await;
    stored(&store, client.id, client.channels[0], 3).await;
    // A clock that stays a year ahead is right after an hour: everything has expired.
    clock.advance(YEAR);
    half_an_hour().await;
    stored(&store, client.id, client.channels[0], 4).await;
    half_an_hour().await;
    assert_eq!(put(&store, client.id, client.channels[0], 5).await, PutVersionOutcome::Gone);
}
