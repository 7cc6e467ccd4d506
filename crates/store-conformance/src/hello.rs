//! Cases about hello, release and snapshot: which socket owns a UAID.

use crate::{cases::cases, steps::*};
use beckon_types::{
    Claim, Dialect, Hello, HelloOutcome, KeyId, Listed, NotOwner, PutVersionOutcome, Snapshot, Spelling,
};

cases! { $ hello hello_cases:

/// The dialect is the one that is named, else the one that is stored, else `otherwise`.
async fn the_dialect_is_the_one_named_else_the_one_stored_else_otherwise(store) {
    let (client, presence) = (new_client_id(), new_presence());
    let named = Hello { named: Some(Dialect::WebPush), ..simplepush(client, presence) };
    assert_eq!(claim(&store, named).await.0, Dialect::WebPush);
    let unnamed = Hello { otherwise: Dialect::SimplePush, ..simplepush(client, presence) };
    assert_eq!(claim(&store, unnamed).await.0, Dialect::WebPush, "the one stored");
    for otherwise in [Dialect::SimplePush, Dialect::WebPush] {
        let hello = Hello { otherwise, ..simplepush(new_client_id(), presence) };
        assert_eq!(claim(&store, hello).await.0, otherwise);
        let hello = Hello { otherwise, adopt: false, ..simplepush(new_client_id(), presence) };
        assert_eq!(say(&store, hello).await, HelloOutcome::Unknown { dialect: otherwise });
    }
}

/// A UAID that is stored for another dialect is unknown, and does not change.
async fn a_uaid_stored_for_another_dialect_is_unknown_and_does_not_change(store) {
    let client = connected(&store, 1).await;
    let hello = Hello { adopt: true, ..webpush(client.id, new_presence()) };
    assert_eq!(say(&store, hello).await, HelloOutcome::Unknown { dialect: Dialect::WebPush });
    assert_eq!(stored(&store, client.id, client.channels[0], 1).await.1, Some(client.presence));

    let other = new_client_id();
    claim(&store, Hello { adopt: true, ..webpush(other, new_presence()) }).await;
    let hello = Hello { named: Some(Dialect::SimplePush), ..simplepush(other, new_presence()) };
    assert_eq!(say(&store, hello).await, HelloOutcome::Unknown { dialect: Dialect::SimplePush });
}

/// SimplePush without a list is refused; this is checked first.
async fn simplepush_without_a_list_is_refused_first(store) {
    let client = connected(&store, 1).await;
    for client in [client.id, new_client_id()] {
        let hello = Hello { listed: None, room: false, ..simplepush(client, new_presence()) };
        assert_eq!(say(&store, hello).await, HelloOutcome::ListMissing);
    }
    snapshot(&store, &client).await;
}

/// SimplePush without room is refused; this is checked second.
async fn simplepush_without_room_is_refused_second(store) {
    let client = connected(&store, 1).await;
    for listed in [Listed::Impossible, Listed::Channels(vec![new_channel()])] {
        let hello = Hello { listed: Some(listed), room: false, ..simplepush(client.id, new_presence()) };
        assert_eq!(say(&store, hello).await, HelloOutcome::NoRoom);
    }
    snapshot(&store, &client).await;
}

/// Web Push needs neither room nor a list.
async fn web_push_needs_neither_room_nor_a_list(store) {
    let (client, presence) = (new_client_id(), new_presence());
    let hello = Hello { adopt: true, room: false, ..webpush(client, presence) };
    assert_eq!(claim(&store, hello.clone()).await, (Dialect::WebPush, None, Snapshot::default()));
    let hello = Hello { listed: Some(Listed::Impossible), adopt: false, ..hello };
    assert_eq!(claim(&store, hello).await.1, Some(presence));
}

/// A stored SimplePush UAID whose listed channels are all registered is claimed; channels that the list lacks are
/// kept.
async fn a_uaid_whose_listed_channels_are_registered_is_claimed(store) {
    let client = offline(&store, 3).await;
    for listed in [&client.channels[..], &client.channels[..1], &[]] {
        let listed = Some(Listed::Channels(listed.to_vec()));
        let hello = Hello { listed, adopt: false, ..simplepush(client.id, new_presence()) };
        let (dialect, _, snapshot) = claim(&store, hello).await;
        assert_eq!(dialect, Dialect::SimplePush);
        assert_eq!(snapshot.channels.len(), 3, "channels that the list lacks are kept");
    }
}

/// A stored SimplePush UAID with a listed channel that is not registered is deleted with all its channels.
async fn a_uaid_with_a_listed_channel_that_is_not_registered_is_deleted(store) {
    let client = connected(&store, 2).await;
    let listed = Some(Listed::Channels(vec![client.channels[0], new_channel()]));
    let hello = Hello { listed, ..simplepush(client.id, new_presence()) };
    assert_eq!(say(&store, hello).await, HelloOutcome::Deleted { former: Some(client.presence) });
    for channel in &client.channels {
        assert_eq!(put(&store, client.id, *channel, 1).await, PutVersionOutcome::Gone);
    }
    assert_eq!(store.snapshot(client.id, client.presence).await, Ok(Err(NotOwner)));
}

/// A stored SimplePush UAID with an impossible list is deleted, even if no socket owned it.
async fn a_uaid_with_an_impossible_list_is_deleted(store) {
    let client = offline(&store, 1).await;
    let hello = Hello { listed: Some(Listed::Impossible), ..simplepush(client.id, new_presence()) };
    assert_eq!(say(&store, hello).await, HelloOutcome::Deleted { former: None });
    assert_eq!(put(&store, client.id, client.channels[0], 1).await, PutVersionOutcome::Gone);
}

/// A UAID that is not stored is claimed if `adopt` is set and, in SimplePush, the list is empty.
async fn an_unknown_uaid_is_claimed_only_if_it_may_be_adopted(store) {
    let presence = new_presence();
    claim(&store, simplepush(new_client_id(), presence)).await;
    claim(&store, Hello { adopt: true, ..webpush(new_client_id(), presence) }).await;
    let refused = HelloOutcome::Unknown { dialect: Dialect::SimplePush };
    for listed in [Listed::Impossible, Listed::Channels(vec![new_channel()])] {
        let client = new_client_id();
        let hello = Hello { listed: Some(listed), ..simplepush(client, presence) };
        assert_eq!(say(&store, hello).await, refused);
        let hello = Hello { adopt: false, ..simplepush(client, presence) };
        assert_eq!(say(&store, hello).await, refused, "nothing was stored");
    }
    let refused = HelloOutcome::Unknown { dialect: Dialect::WebPush };
    assert_eq!(say(&store, webpush(new_client_id(), presence)).await, refused);
}

/// A claim returns the former presence, if there was one, even if it belongs to the same socket.
async fn a_claim_returns_the_former_presence(store) {
    let (client, first, second) = (new_client_id(), new_presence(), new_presence());
    assert_eq!(claim(&store, simplepush(client, first)).await.1, None);
    assert_eq!(claim(&store, simplepush(client, first)).await.1, Some(first));
    assert_eq!(claim(&store, simplepush(client, second)).await.1, Some(first));
    release(&store, client, second).await;
    assert_eq!(claim(&store, simplepush(client, first)).await.1, None);
}

/// A claim returns all channels with what is pending on them, and the sequence of the last write.
async fn a_claim_returns_all_channels_and_the_last_sequence(store) {
    let client = connected(&store, 2).await;
    let odd = Spelling { hyphens: false, upper: 0x8000_0001 };
    let third = new_channel();
    add(&store, beckon_types::AddChannel { spelling: odd, key: KeyId(9), ..addition(&client, third) }).await;
    stored(&store, client.id, client.channels[0], 5).await;
    let (last, _) = stored(&store, client.id, third, beckon_types::Version::MAX).await;
    let (_, _, claimed) = claim(&store, simplepush(client.id, new_presence())).await;
    assert_eq!(claimed.sequence, last);
    let expected = [(client.channels[0], Some(5)), (client.channels[1], None), (third, Some(i64::MAX as u64))];
    assert_eq!(pending(&claimed), expected.into());
    for channel in claimed.channels {
        assert_eq!(channel.spelling, if channel.id == third { odd } else { Spelling::HYPHENATED });
    }
}

/// Clears the presence, if it is still this one; a presence that a newer hello has claimed is kept.
async fn a_socket_releases_only_its_own_presence(store) {
    let client = connected(&store, 1).await;
    let newer = new_presence();
    claim(&store, simplepush(client.id, newer)).await;
    release(&store, client.id, client.presence).await;
    assert_eq!(stored(&store, client.id, client.channels[0], 1).await.1, Some(newer));
    release(&store, client.id, newer).await;
    assert_eq!(stored(&store, client.id, client.channels[0], 2).await.1, None);
    release(&store, new_client_id(), newer).await;
}

/// With `former`, the client is given back to that socket instead, if it is still the releasing one's.
async fn a_client_is_given_back_to_its_former_socket(store) {
    for channels in [1, 0] {
        let client = connected(&store, channels).await;
        let before = snapshot(&store, &client).await;
        let (late, newer) = (new_presence(), new_presence());
        claim(&store, simplepush(client.id, late)).await;
        give_back(&store, client.id, late, client.presence).await;
        assert_eq!(store.verify(client.id, late).await, Ok(Claim::Taken));
        assert_eq!(snapshot(&store, &client).await, before, "the record is kept");
        assert_eq!(claim(&store, simplepush(client.id, newer)).await.1, Some(client.presence));
        give_back(&store, client.id, late, client.presence).await;
        assert_eq!(store.verify(client.id, client.presence).await, Ok(Claim::Taken), "it is a newer socket's");
        release(&store, client.id, newer).await;
        give_back(&store, client.id, newer, client.presence).await;
        assert_eq!(store.verify(client.id, client.presence).await, Ok(Claim::Lost), "it is nobody's");
    }
}

/// The record of a client without channels is deleted.
async fn the_record_of_a_released_client_without_channels_is_deleted(store) {
    let client = connected(&store, 1).await;
    unregister(&store, &client, client.channels[0]).await;
    for client in [client.id, connected(&store, 0).await.id] {
        let presence = new_presence();
        claim(&store, simplepush(client, presence)).await;
        release(&store, client, presence).await;
        let hello = Hello { adopt: false, ..simplepush(client, presence) };
        assert_eq!(say(&store, hello).await, HelloOutcome::Unknown { dialect: Dialect::SimplePush });
    }
}

/// A snapshot has all channels and what is pending on them.
async fn a_snapshot_has_all_channels_and_what_is_pending(store) {
    let client = connected(&store, 2).await;
    let (last, _) = stored(&store, client.id, client.channels[1], 0).await;
    let seen = snapshot(&store, &client).await;
    assert_eq!(seen.sequence, last);
    assert_eq!(pending(&seen), [(client.channels[0], None), (client.channels[1], Some(0))].into());
}

/// The owner of a UAID learns the sequence of the last write and how many channels are registered, and any other socket whether
/// another one is the owner.
async fn a_claim_is_verified_for_its_owner_only(store) {
    let client = connected(&store, 1).await;
    let sequence = snapshot(&store, &client).await.sequence;
    assert_eq!(store.verify(client.id, client.presence).await, Ok(Claim::Owned { last: sequence, channels: 1 }));
    let (last, _) = stored(&store, client.id, client.channels[0], 3).await;
    assert_eq!(store.verify(client.id, client.presence).await, Ok(Claim::Owned { last, channels: 1 }));
    assert_eq!(store.verify(client.id, new_presence()).await, Ok(Claim::Taken));
    assert_eq!(store.verify(new_client_id(), client.presence).await, Ok(Claim::Lost));
    let newer = new_presence();
    claim(&store, simplepush(client.id, newer)).await;
    assert_eq!(store.verify(client.id, client.presence).await, Ok(Claim::Taken));
    assert_eq!(store.verify(client.id, newer).await, Ok(Claim::Owned { last, channels: 1 }));
    release(&store, client.id, newer).await;
    assert_eq!(store.verify(client.id, newer).await, Ok(Claim::Lost));
    let stranger = connected(&store, 0).await;
    let none = Claim::Owned { last: Default::default(), channels: 0 };
    assert_eq!(store.verify(stranger.id, stranger.presence).await, Ok(none));
    for count in 1..=3 {
        register(&store, &stranger, new_channel()).await;
        let claim = Claim::Owned { last: Default::default(), channels: count };
        assert_eq!(store.verify(stranger.id, stranger.presence).await, Ok(claim));
    }
}

/// A socket that does not own the UAID gets no snapshot.
async fn a_snapshot_is_for_the_owner_only(store) {
    let client = connected(&store, 1).await;
    assert_eq!(store.snapshot(client.id, new_presence()).await, Ok(Err(NotOwner)));
    assert_eq!(store.snapshot(new_client_id(), client.presence).await, Ok(Err(NotOwner)));
    let same_node = beckon_types::Presence { connection: new_presence().connection, ..client.presence };
    assert_eq!(store.snapshot(client.id, same_node).await, Ok(Err(NotOwner)));
    release(&store, client.id, client.presence).await;
    assert_eq!(store.snapshot(client.id, client.presence).await, Ok(Err(NotOwner)));
}

}
