//! One user agent, its sockets, a store and a network that lose, delay, reorder and fail as they like; and
//! what must hold whatever they do.

mod action;
mod store;
mod world;

use crate::talk::settings;
use action::Action;
use proptest::prelude::*;
use world::World;

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let any = || 0_usize..8;
    let action = prop_oneof![
        2 => Just(Action::Connect),
        1 => Just(Action::HelloAgain),
        1 => any().prop_map(Action::Leave),
        4 => any().prop_map(Action::Register),
        2 => any().prop_map(Action::Unregister),
        8 => any().prop_map(Action::Write),
        4 => any().prop_map(Action::Acknowledge),
        8 => any().prop_map(Action::Read),
        5 => any().prop_map(Action::Perform),
        4 => any().prop_map(Action::Answer),
        8 => any().prop_map(Action::Serve),
        2 => any().prop_map(Action::FailBefore),
        2 => any().prop_map(Action::FailAfter),
        6 => any().prop_map(Action::Arrive),
        1 => any().prop_map(Action::Repeat),
        2 => any().prop_map(Action::Lose),
        6 => any().prop_map(Action::Mail),
        2 => any().prop_map(Action::Evict),
        2 => (0_u64..40).prop_map(Action::Wait),
    ];
    prop::collection::vec(action, 50..250)
}

proptest! {
    /// The invariants are asserted at every effect; see [`World`].
    #[test]
    fn nothing_is_lost_repeated_out_of_order_or_sent_to_a_closed_socket(actions in actions()) {
        let mut world = World::new(settings());
        world.begin();
        for action in actions {
            world.act(action);
        }
        // The connected user agent gets all it knows of, without a reconnect.
        world.settle();
        world.assert_channels_told_are_drained();
        // The next hello brings the rest.
        world.act(Action::Connect);
        world.settle();
        world.assert_all_drained();
        world.assert_former_sockets_ended();
    }
}
