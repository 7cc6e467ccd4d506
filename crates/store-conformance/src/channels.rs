//! Cases about registering and unregistering channels.

use crate::{cases::cases, steps::*};
use beckon_types::{AddChannel, AddChannelOutcome, KeyId, NotOwner, PutVersionOutcome, Spelling};

cases! { $ channels channel_cases:

/// A channel that is registered already gets the spelling of this register; what is pending on it, and the key of its
/// token, do not change.
async fn a_channel_registered_again_keeps_its_key_and_what_is_pending(store) {
    let client = connected(&store, 1).await;
    let channel = client.channels[0];
    let (sequence, _) = stored(&store, client.id, channel, 7).await;
    for spelling in [Spelling::PLAIN, Spelling { hyphens: true, upper: 3 }, Spelling { hyphens: false, upper: 1 << 31 }] {
        let again = AddChannel { spelling, key: KeyId(2), ..addition(&client, channel) };
        let expected = AddChannelOutcome::Registered { key: KeyId(1), sequence };
        assert_eq!(add(&store, again).await, expected);
        let [kept] = snapshot(&store, &client).await.channels[..] else { panic!("one channel") };
        assert_eq!((kept.spelling, kept.pending), (spelling, Some(version(7))));
    }
}

/// A new channel has the key of its first register, and nothing pending.
async fn a_new_channel_is_registered_with_its_key(store) {
    let client = connected(&store, 0).await;
    for key in [0, b'0', 255] {
        let channel = new_channel();
        for again in [key, 77] {
            let addition = AddChannel { key: KeyId(again), ..addition(&client, channel) };
            let AddChannelOutcome::Registered { key: kept, .. } = add(&store, addition).await else {
                panic!("registered expected")
            };
            assert_eq!(kept, KeyId(key));
        }
        assert_eq!(pending_on(&store, &client, channel).await, None);
    }
}

/// If there are `channels_max` channels, a further one is refused, and one that is registered already is not.
async fn a_client_has_no_more_than_the_maximum_of_channels(store) {
    let client = connected(&store, 3).await;
    let full = AddChannel { channels_max: 3, ..addition(&client, new_channel()) };
    assert_eq!(add(&store, full).await, AddChannelOutcome::Full);
    assert_eq!(snapshot(&store, &client).await.channels.len(), 3);
    let again = AddChannel { channels_max: 3, ..addition(&client, client.channels[0]) };
    assert!(matches!(add(&store, again).await, AddChannelOutcome::Registered { .. }));
    unregister(&store, &client, client.channels[0]).await;
    assert!(matches!(add(&store, full).await, AddChannelOutcome::Registered { .. }));
}

/// A socket that does not own the UAID registers nothing.
async fn only_the_owner_registers(store) {
    let client = connected(&store, 0).await;
    for (id, presence) in [(client.id, new_presence()), (new_client_id(), client.presence)] {
        let foreign = AddChannel { client: id, presence, ..addition(&client, new_channel()) };
        assert_eq!(add(&store, foreign).await, AddChannelOutcome::NotOwner(NotOwner));
    }
    assert!(snapshot(&store, &client).await.channels.is_empty());
}

/// Unregisters a channel, and removes what is pending on it.
async fn an_unregistered_channel_is_gone_with_what_is_pending(store) {
    let client = connected(&store, 2).await;
    let channel = client.channels[0];
    let (sequence, _) = stored(&store, client.id, channel, 1).await;
    unregister(&store, &client, channel).await;
    assert_eq!(put(&store, client.id, channel, 2).await, PutVersionOutcome::Gone);
    assert_eq!(pending(&snapshot(&store, &client).await), [(client.channels[1], None)].into());
    let registered_again = register(&store, &client, channel).await;
    assert_eq!(registered_again, sequence, "earlier writes have lower sequences than later ones");
    assert_eq!(pending_on(&store, &client, channel).await, None);
    assert!(stored(&store, client.id, channel, 3).await.0 > registered_again);
}

/// Unregistering a channel that is not registered succeeds.
async fn unregistering_an_unknown_channel_succeeds(store) {
    let client = connected(&store, 1).await;
    unregister(&store, &client, new_channel()).await;
    assert_eq!(snapshot(&store, &client).await.channels.len(), 1);
}

/// A socket that does not own the UAID unregisters nothing.
async fn only_the_owner_unregisters(store) {
    let client = connected(&store, 1).await;
    let channel = client.channels[0];
    assert_eq!(store.remove_channel(client.id, new_presence(), channel).await, Ok(Err(NotOwner)));
    assert_eq!(store.remove_channel(new_client_id(), client.presence, channel).await, Ok(Err(NotOwner)));
    assert_eq!(snapshot(&store, &client).await.channels.len(), 1);
}

/// A client may have as many channels as Web Push allows, and all of them are seen.
async fn two_thousand_channels_are_kept(store) {
    const CHANNELS: usize = 2000;
    let client = connected(&store, 0).await;
    let additions = (0..CHANNELS).map(|_| AddChannel { channels_max: 2000, ..addition(&client, new_channel()) });
    let outcomes = futures_util::future::join_all(additions.map(|addition| add(&store, addition))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, AddChannelOutcome::Registered { .. })));
    let seen = snapshot(&store, &client).await;
    assert_eq!(seen.channels.len(), CHANNELS);
    let puts = seen.channels.iter().map(|channel| stored(&store, client.id, channel.id, 1));
    futures_util::future::join_all(puts).await;
    let acks = seen.channels.iter().map(|channel| beckon_types::Ack { channel: channel.id, version: Some(1.0) });
    store.ack_versions(client.id, acks.collect()).await.expect("ack_versions");
    assert!(snapshot(&store, &client).await.channels.iter().all(|channel| channel.pending.is_none()));
}

}
