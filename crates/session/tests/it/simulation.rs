//! User agents of both dialects, their sockets, a store, and a network that loses, delays, reorders and fails as it
//! likes; and what must hold whatever happens.
//!
//! The store can lie, too: it performs steps that have failed, and goes back in time. What keeps that from doing harm can be
//! taken away, and then the same checks have to notice it.

mod agent;
mod event;
mod network;
mod simplepush;
mod socket;
mod store;
mod webpush;
mod world;

use crate::talk::settings;
use beckon_session::Settings;
use beckon_types::Dialect;
use event::{AgentEvent, Event, Publication};
use network::Cures;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};
use std::time::Duration;
use world::World;

/// Events after which the world comes to rest once.
const EVENTS_UNTIL_SETTLED: usize = 100;

/// Messages of the backlog that may be outstanding at once.
const BATCH_SIZE: usize = 3;

fn publications() -> impl Strategy<Value = Publication> {
    let ttl = prop_oneof![1 => Just(0_u64), 1 => Just(20), 6 => Just(1_000_000)];
    (0..3_usize, ttl, prop::option::weighted(0.3, 0..2_usize), 0..4_u8)
        .prop_map(|(channel, ttl, topic, urgency)| Publication { channel, ttl, topic, urgency })
}

/// Kinds of events whose weights are drawn.
const KINDS: usize = 13;

/// Each case draws the weights of most kinds of events, so that in some cases hardly anything fails and in others nearly
/// everything, and rare events come in numbers.
fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, 3, 8]), KINDS)
}

fn events(dialects: &'static [Dialect]) -> impl Strategy<Value = Vec<Event>> {
    let len = 60 * dialects.len()..300 * dialects.len();
    weights().prop_flat_map(move |weights| prop::collection::vec(event(dialects, &weights), len.clone()))
}

fn event(dialects: &'static [Dialect], weights: &[u32]) -> impl Strategy<Value = Event> + use<> {
    let network = |event: fn(usize) -> Event| (0_usize..8).prop_map(event).boxed();
    let of = move |event: BoxedStrategy<AgentEvent>| {
        let of_an_agent = (prop::sample::select(dialects), event);
        of_an_agent.prop_map(|(dialect, event)| Event::Of(dialect, event)).boxed()
    };
    let agent = |event: fn(usize) -> AgentEvent| of((0_usize..8).prop_map(event).boxed());
    let drawn: [BoxedStrategy<Event>; KINDS] = [
        network(Event::Repeat),
        network(Event::Stray),
        network(Event::Lose),
        network(Event::Evict),
        (0_u64..40).prop_map(Event::Wait).boxed(),
        agent(AgentEvent::Connect),
        agent(AgentEvent::Leave),
        agent(AgentEvent::Register),
        agent(AgentEvent::Unregister),
        agent(AgentEvent::Cancel),
        agent(AgentEvent::Ask),
        agent(AgentEvent::FailBefore),
        agent(AgentEvent::FailAfter),
    ];
    let drawn = weights.iter().copied().zip(drawn).filter(|(weight, _)| *weight > 0);
    let always = [
        (6, network(Event::Arrive)),
        (6, agent(AgentEvent::Reconnect)),
        (8, of(publications().prop_map(AgentEvent::Publish).boxed())),
        (6, agent(AgentEvent::Acknowledge)),
        (8, agent(AgentEvent::Serve)),
        (6, agent(AgentEvent::Read)),
        (4, agent(AgentEvent::Perform)),
        (4, agent(AgentEvent::Answer)),
        (6, agent(AgentEvent::Mail)),
    ];
    prop::strategy::Union::new_weighted(drawn.chain(always).collect())
}

/// How a store lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// It performs steps that have failed.
    Late,
    /// It loses what it had acknowledged.
    Backwards,
    /// It performs writes that are called failed, so that nobody hands them over.
    InVain,
}

fn lying_events(lie: Lie) -> impl Strategy<Value = Vec<Event>> {
    const DIALECTS: &[Dialect] = &[Dialect::SimplePush, Dialect::WebPush];
    weights().prop_flat_map(move |weights| {
        let lies = match lie {
            Lie::Late => (0_usize..8).prop_map(Event::Late).boxed(),
            Lie::Backwards => {
                let go_back = any::<bool>().prop_map(|clock_is_behind| Event::GoBack { clock_is_behind });
                prop_oneof![3 => Just(Event::Keep), 1 => go_back].boxed()
            }
            Lie::InVain => (prop::sample::select(DIALECTS), publications())
                .prop_map(|(dialect, publication)| Event::Of(dialect, AgentEvent::PublishInVain(publication)))
                .boxed(),
        };
        let one = prop_oneof![30 => event(DIALECTS, &weights), 1 => lies];
        prop::collection::vec(one, 120..600)
    })
}

/// Settings with which records are renewed often or never, and silent sockets are pinged or not. One of the two has to
/// find the sockets that nothing else ends: those that lost the UAID to a claim whose outcome was lost.
fn all_settings() -> impl Strategy<Value = Settings> {
    prop::sample::select(vec![(90, 0), (90, 100), (10_000_000, 100)]).prop_map(|(idle, keepalive)| Settings {
        batch_size: BATCH_SIZE,
        requests_max: 600,
        request_interval: Duration::from_millis(100),
        uaid_idle: Duration::from_secs(idle),
        keepalive_interval: Duration::from_secs(keepalive),
        ..settings()
    })
}

/// The invariants are asserted at every effect of a session; see [`agent::Agent`] and the two dialects.
fn run(settings: Settings, dialects: &[Dialect], events: Vec<Event>) {
    let mut world = World::new(settings, Cures::ALL, dialects);
    world.begin();
    for events in events.chunks(EVENTS_UNTIL_SETTLED) {
        events.iter().for_each(|event| world.happen(*event));
        // Connected user agents get all that they know of and want, without a reconnect.
        world.settle();
        world.assert_claims_are_verified();
        world.assert_known_channels_are_drained();
    }
    // The next hello brings the rest.
    world.reconnect();
    world.settle();
    world.assert_all_channels_are_drained();
    world.assert_former_sockets_ended();
}

/// [`run`] with a store that lies, and some of the cures.
fn run_lying(settings: Settings, cures: Cures, lie: Lie, events: &[Event]) {
    let mut world = World::new(settings, cures, &[Dialect::SimplePush, Dialect::WebPush]);
    world.begin();
    for events in events.chunks(EVENTS_UNTIL_SETTLED) {
        events.iter().for_each(|event| world.happen(*event));
        if lie == Lie::Late {
            world.assert_claims_are_held();
        }
        world.settle();
        world.assert_claims_are_verified();
        world.assert_known_channels_are_drained();
        if lie == Lie::InVain {
            // What else fails may take longer to be repeated, and what happens to claims to be noticed.
            events.iter().filter(|event| event.is_harmless()).for_each(|event| world.happen(*event));
            world.settle_briefly();
            world.assert_known_channels_are_drained();
        }
    }
    world.reconnect();
    world.settle();
    world.assert_all_channels_are_drained();
    world.assert_former_sockets_ended();
}

/// Whether the checks notice this lie when only these cures are there. The events are the same each time.
fn is_noticed(cures: Cures, lie: Lie) -> bool {
    let config = Config { cases: 2000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome =
        TestRunner::new_with_rng(config, random).run(&(all_settings(), lying_events(lie)), |drawn| {
            let (settings, events) = drawn;
            run_lying(settings, cures, lie, &events);
            Ok(())
        });
    match outcome {
        Ok(()) => false,
        Err(TestError::Fail(..)) => true,
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[test]
fn it_is_noticed_when_steps_have_no_deadline() {
    assert!(is_noticed(Cures { deadlines: false, ..Cures::ALL }, Lie::Late));
}

#[test]
fn it_is_noticed_when_sequences_do_not_follow_the_clock() {
    assert!(is_noticed(Cures { clock: false, ..Cures::ALL }, Lie::Backwards));
}

#[test]
fn it_is_noticed_when_writes_do_not_say_which_one_was_before() {
    assert!(is_noticed(Cures { previous: false, ..Cures::ALL }, Lie::InVain));
}

/// The message was accepted for a channel that only the store had, because it went back to before the unregister.
#[test]
fn a_channel_that_comes_back_with_the_store_is_read_when_it_is_registered_again() {
    let settings = Settings { batch_size: BATCH_SIZE, ..settings() };
    let of = |event| Event::Of(Dialect::WebPush, event);
    let publication = Publication { channel: 0, ttl: 1_000_000, topic: None, urgency: 2 };
    let events = [
        Event::Keep,
        of(AgentEvent::Unregister(6)),
        of(AgentEvent::Serve(6)),
        Event::GoBack { clock_is_behind: false },
        of(AgentEvent::Publish(publication)),
        Event::Wait(33),
        Event::Arrive(6),
        of(AgentEvent::Serve(3)),
        of(AgentEvent::Register(0)),
    ];
    run_lying(settings, Cures::ALL, Lie::Backwards, &events);
}

/// The third hello takes the UAID away from the socket in use, and its outcome is lost. Then the second one, which is as late,
/// takes it away from the third: the socket in use is evicted by neither, and finds out when it verifies its claim.
#[test]
fn a_socket_that_nothing_evicts_finds_out_that_it_lost_its_claim() {
    let settings = Settings {
        batch_size: BATCH_SIZE,
        uaid_idle: Duration::from_secs(90),
        keepalive_interval: Duration::ZERO,
        ..settings()
    };
    let events = [
        AgentEvent::Connect(0),
        AgentEvent::Connect(0),
        AgentEvent::Read(2),
        AgentEvent::Connect(0),
        AgentEvent::Serve(7),
        AgentEvent::Perform(6),
        AgentEvent::FailBefore(2),
    ];
    let events = events.map(|event| Event::Of(Dialect::SimplePush, event));
    run_lying(settings, Cures::ALL, Lie::Late, &events);
}

proptest! {
    #[test]
    fn a_step_that_has_failed_does_not_take_a_client_away(settings in all_settings(), events in lying_events(Lie::Late)) {
        run_lying(settings, Cures::ALL, Lie::Late, &events);
    }

    #[test]
    fn a_write_that_is_called_failed_follows_the_next_notification(
        settings in all_settings(),
        events in lying_events(Lie::InVain),
    ) {
        run_lying(settings, Cures::ALL, Lie::InVain, &events);
    }

    #[test]
    fn a_store_that_goes_back_in_time_makes_no_client_deaf(
        settings in all_settings(),
        events in lying_events(Lie::Backwards),
    ) {
        run_lying(settings, Cures::ALL, Lie::Backwards, &events);
    }

    #[test]
    fn no_update_is_lost_repeated_or_out_of_order(
        settings in all_settings(),
        events in events(&[Dialect::SimplePush]),
    ) {
        run(settings, &[Dialect::SimplePush], events);
    }

    #[test]
    fn no_message_is_lost_repeated_unwanted_or_one_too_many(
        settings in all_settings(),
        events in events(&[Dialect::WebPush]),
    ) {
        run(settings, &[Dialect::WebPush], events);
    }

    #[test]
    fn clients_of_both_dialects_do_not_disturb_each_other(
        settings in all_settings(),
        events in events(&[Dialect::SimplePush, Dialect::WebPush]),
    ) {
        run(settings, &[Dialect::SimplePush, Dialect::WebPush], events);
    }
}
