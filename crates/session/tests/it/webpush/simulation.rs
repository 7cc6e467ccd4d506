//! One Web Push user agent, its sockets, a store and a network that lose, delay, reorder and fail as they like; and
//! what must hold whatever they do.

mod action;
mod socket;
mod store;
mod world;

use action::{Action, Post};
use proptest::prelude::*;
use world::World;

fn posts() -> impl Strategy<Value = Post> {
    let ttl = prop_oneof![1 => Just(0_u64), 1 => Just(20), 6 => Just(1_000_000)];
    (0..3_usize, ttl, prop::option::weighted(0.3, 0..2_usize), 0..4_u8)
        .prop_map(|(channel, ttl, topic, urgency)| Post { channel, ttl, topic, urgency })
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let any = || 0_usize..8;
    let action = prop_oneof![
        2 => Just(Action::Connect),
        1 => any().prop_map(Action::Leave),
        4 => any().prop_map(Action::Register),
        2 => any().prop_map(Action::Unregister),
        12 => posts().prop_map(Action::Post),
        1 => any().prop_map(Action::Cancel),
        4 => any().prop_map(Action::Acknowledge),
        3 => (0..4_u8).prop_map(Action::SetUrgency),
        8 => any().prop_map(Action::Read),
        5 => any().prop_map(Action::Perform),
        4 => any().prop_map(Action::Answer),
        8 => any().prop_map(Action::Serve),
        2 => any().prop_map(Action::FailBefore),
        2 => any().prop_map(Action::FailAfter),
        6 => any().prop_map(Action::Arrive),
        1 => any().prop_map(Action::Repeat),
        3 => any().prop_map(Action::Lose),
        6 => any().prop_map(Action::Mail),
        2 => any().prop_map(Action::Evict),
        2 => (0_u64..12).prop_map(Action::Wait),
    ];
    prop::collection::vec(action, 50..250)
}

proptest! {
    /// The invariants are asserted at every effect; see [`World`].
    #[test]
    fn no_message_is_lost_unwanted_or_one_too_many(actions in actions()) {
        let mut world = World::new();
        world.begin();
        for action in actions {
            world.act(action);
        }
        // The connected user agent gets all it knows of and wants, without a reconnect.
        world.settle();
        world.assert_wanted_messages_are_drained();
        // The next hello brings the rest.
        world.act(Action::Connect);
        world.settle();
        world.assert_all_drained();
        world.assert_former_sockets_ended();
    }
}
