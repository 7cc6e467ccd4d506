//! Performs steps on a store.

use super::{Names, Outcome, Step, key_hash, writes::Writes};
use crate::{
    message_steps::{LONG, payload, tag},
    steps::{random, version},
};
use beckon_store::Store;
use beckon_types::{
    Ack, AddChannel, Backlog, Draft, Fetch, Hello, HelloOutcome, KeyId, Nonce, Position, PutMessage,
    PutMessageOutcome, PutVersion,
};
use std::{sync::Arc, time::Duration};

const PERFORMED: &str = "the store performs the step";

/// Performs a step on a store.
pub async fn perform(store: &Arc<dyn Store>, names: &Names, writes: &mut Writes, step: &Step) -> Outcome {
    let Names { clients, channels, sockets } = names;
    match step.clone() {
        Step::Hello { client, socket, named, otherwise, listed, adopt, room, backlog_max } => {
            let listed = listed.map(|list| names.listed(list));
            let (client, presence) = (clients[client], sockets[socket]);
            let hello = Hello { client, presence, named, otherwise, listed, adopt, room, backlog_max };
            perform_hello(store, hello).await
        }
        Step::Release { client, socket, former } => {
            let former = former.map(|former| sockets[former]);
            store.release(clients[client], sockets[socket], former).await.expect(PERFORMED);
            Outcome::Done
        }
        Step::Snapshot { client, socket } => {
            let mut outcome = store.snapshot(clients[client], sockets[socket]).await.expect(PERFORMED);
            if let Ok(snapshot) = &mut outcome {
                snapshot.channels.sort_by_key(|channel| channel.id);
            }
            Outcome::Snapshot(outcome)
        }
        Step::Add { client, socket, channel, spelling, restricted, key, channels_max } => {
            let (client, presence, channel) = (clients[client], sockets[socket], channels[channel]);
            let (restricted, key) = (restricted.map(key_hash), KeyId(key));
            let add = AddChannel { client, presence, channel, spelling, restricted, key, channels_max };
            Outcome::Added(store.add_channel(add).await.expect(PERFORMED))
        }
        Step::Remove { client, socket, channel } => Outcome::Removed(
            store.remove_channel(clients[client], sockets[socket], channels[channel]).await.expect(PERFORMED),
        ),
        Step::Put { client, channel, version: number } => {
            let put =
                PutVersion { client: clients[client], channel: channels[channel], version: version(number) };
            Outcome::Put(store.put_version(put).await.expect(PERFORMED))
        }
        Step::Ack { client, acks } => {
            let acks =
                acks.iter().map(|(channel, version)| Ack { channel: channels[*channel], version: *version });
            store.ack_versions(clients[client], acks.collect()).await.expect(PERFORMED);
            Outcome::Done
        }
        Step::Send { .. } | Step::Fetch { .. } | Step::RemoveMessages { .. } => {
            perform_on_messages(store, names, writes, step).await
        }
    }
}

async fn perform_on_messages(
    store: &Arc<dyn Store>,
    names: &Names,
    writes: &mut Writes,
    step: &Step,
) -> Outcome {
    let Names { clients, channels, sockets } = names;
    match step.clone() {
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
        } => {
            let put = PutMessage {
                client: clients[client],
                channel: channels[channel],
                restricted: restricted.map(key_hash),
                key: KeyId(key),
                nonce: Nonce(random()),
                topic: topic.map(tag),
                draft: Draft {
                    urgency,
                    ttl: if stored { LONG } else { Duration::ZERO },
                    payload: (!body.is_empty()).then(|| payload(body)),
                },
                messages_max,
                reserve,
            };
            let nonce = put.nonce;
            let outcome = store.put_message(put).await.expect(PERFORMED);
            if let PutMessageOutcome::Accepted { sequence, .. } = outcome {
                writes.nonces.insert((client, sequence), nonce);
            }
            Outcome::Sent(outcome)
        }
        Step::Fetch { client, socket, after, max } => {
            let after = after.map(|(without_topic, sequence)| Position {
                without_topic,
                sequence: writes.stores(client, sequence),
            });
            let fetch = Fetch { client: clients[client], presence: sockets[socket], after, max };
            let outcome = store.fetch(fetch).await.expect(PERFORMED);
            Outcome::Fetched(outcome.map(with_whole_ttls))
        }
        Step::RemoveMessages { client, places } => {
            let places = places.into_iter().map(|(sequence, topic)| writes.place(client, sequence, topic));
            store.remove_messages(clients[client], places.collect()).await.expect(PERFORMED);
            Outcome::Done
        }
        Step::Hello { .. }
        | Step::Release { .. }
        | Step::Snapshot { .. }
        | Step::Add { .. }
        | Step::Remove { .. }
        | Step::Put { .. }
        | Step::Ack { .. } => panic!("not a step on messages"),
    }
}

async fn perform_hello(store: &Arc<dyn Store>, hello: Hello) -> Outcome {
    let mut outcome = store.hello(hello).await.expect(PERFORMED);
    if let HelloOutcome::Claimed { snapshot, backlog, .. } = &mut outcome {
        snapshot.channels.sort_by_key(|channel| channel.id);
        *backlog = with_whole_ttls(std::mem::take(backlog));
    }
    Outcome::Hello(outcome)
}

/// Restores the TTLs, of which an unpredictable part has passed.
fn with_whole_ttls(mut backlog: Backlog) -> Backlog {
    for message in &mut backlog.messages {
        if !message.draft.ttl.is_zero() && message.draft.ttl <= LONG {
            message.draft.ttl = LONG;
        }
    }
    backlog
}
