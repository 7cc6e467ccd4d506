//! Random steps have the same outcomes on every store as on the reference.

use crate::SetClock;
use beckon_store::Store;
use beckon_store_conformance::{
    model::CHANNELS, model::CLIENTS, model::KEYS, model::Names, model::SOCKETS, model::Step, model::TOPICS,
    model::perform::perform, model::reference::Model, model::writes::Writes,
};
use beckon_testbed::redis::RedisServer;
use beckon_types::{Dialect, Spelling, Urgency, Version};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::TestRunner};
use std::sync::Arc;

/// The number of runs on each store.
const RUNS: u32 = 48;

fn dialect() -> impl Strategy<Value = Dialect> {
    // SimplePush has more rules.
    select(vec![Dialect::SimplePush, Dialect::SimplePush, Dialect::WebPush])
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3_u64,
        (1_u64 << 53) - 1..(1 << 53) + 3,
        Version::MAX - 600..=Version::MAX,
        0..=Version::MAX
    ]
}

fn spelling() -> impl Strategy<Value = Spelling> {
    (any::<bool>(), prop_oneof![Just(0), any::<u32>()])
        .prop_map(|(hyphens, upper)| Spelling { hyphens, upper })
}

fn hello() -> impl Strategy<Value = Step> {
    let listed = option::weighted(0.9, option::weighted(0.9, vec(0..CHANNELS, 0..3)));
    let flags = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.9));
    let who = (0..CLIENTS, 0..SOCKETS);
    (who, option::weighted(0.3, dialect()), dialect(), listed, flags, 1..5_usize).prop_map(
        |((client, socket), named, otherwise, listed, (adopt, room), backlog_max)| Step::Hello {
            client,
            socket,
            named,
            otherwise,
            listed,
            adopt,
            room,
            backlog_max,
        },
    )
}

/// Usually the sequence of one of the writes of a run.
fn sequence() -> impl Strategy<Value = u64> {
    0..25_u64
}

fn topic() -> impl Strategy<Value = Option<u8>> {
    option::of(0..TOPICS)
}

/// Usually none, so that it usually equals the restriction of the channel.
fn restricted() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.2, 0..KEYS)
}

fn urgency() -> impl Strategy<Value = Urgency> {
    select(vec![Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High])
}

fn send() -> impl Strategy<Value = Step> {
    let what = (any::<u8>(), topic(), urgency(), "[a-z]{0,3}");
    let limits = (2..6_u32, 0..3_u32);
    (0..CLIENTS, 0..CHANNELS, restricted(), what, proptest::bool::weighted(0.8), limits).prop_map(
        |(client, channel, restricted, (key, topic, urgency, body), stored, (messages_max, reserve))| {
            Step::Send {
                client,
                channel,
                restricted,
                key,
                topic,
                urgency,
                stored,
                body,
                messages_max,
                reserve,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..CLIENTS, 0..SOCKETS);
    let acks = vec((0..CHANNELS, option::of(number().prop_map(|number| number as f64))), 0..4);
    prop_oneof![
        3 => hello(),
        1 => (who(), option::weighted(0.3, 0..SOCKETS))
            .prop_map(|((client, socket), former)| Step::Release { client, socket, former }),
        1 => who().prop_map(|(client, socket)| Step::Snapshot { client, socket }),
        4 => (who(), 0..CHANNELS, spelling(), restricted(), any::<u8>(), 1..=CHANNELS as u32).prop_map(
            |((client, socket), channel, spelling, restricted, key, channels_max)| Step::Add {
                client, socket, channel, spelling, restricted, key, channels_max
            }
        ),
        1 => (who(), 0..CHANNELS)
            .prop_map(|((client, socket), channel)| Step::Remove { client, socket, channel }),
        4 => (0..CLIENTS, 0..CHANNELS, number())
            .prop_map(|(client, channel, version)| Step::Put { client, channel, version }),
        3 => (0..CLIENTS, acks).prop_map(|(client, acks)| Step::Ack { client, acks }),
        6 => send(),
        2 => (who(), option::of((any::<bool>(), sequence())), 1..5_usize)
            .prop_map(|((client, socket), after, max)| Step::Fetch { client, socket, after, max }),
        2 => (0..CLIENTS, vec((sequence(), topic()), 0..6))
            .prop_map(|(client, places)| Step::RemoveMessages { client, places }),
    ]
}

/// Runs random steps on a store and on the reference.
async fn check(store: Arc<dyn Store>) {
    let handle = tokio::runtime::Handle::current();
    let config = ProptestConfig { cases: RUNS, failure_persistence: None, ..ProptestConfig::default() };
    let run = move || {
        TestRunner::new(config).run(&vec(step(), 1..90), |steps| {
            let (names, mut model, mut writes) = (Names::default(), Model::default(), Writes::default());
            for step in &steps {
                let expected = model.perform(&names, step);
                let outcome = handle.block_on(perform(&store, &names, &mut writes, step));
                let outcome = writes.in_terms_of_the_reference(step, &expected, outcome);
                prop_assert_eq!(outcome, expected, "{:?}", step);
            }
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}

#[tokio::test]
async fn random_steps_on_the_embedded_store_do_what_the_reference_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::embedded::open(directory.path(), &SetClock::new());
    check(Arc::new(store)).await;
}

#[tokio::test]
async fn random_steps_on_redis_do_what_the_reference_does() {
    let server = RedisServer::start();
    let store = beckon_store::redis::connect(&server.url(), Default::default()).await.unwrap();
    check(Arc::new(store)).await;
}
