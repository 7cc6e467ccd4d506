//! Helpers that perform a step. A step that the store does not perform fails the case.

use beckon_store::{NodeEntry, Store};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, ChannelId, ClientId, ConnectionId, Dialect, Hello,
    HelloOutcome, KeyId, Listed, NodeId, Presence, PutVersion, PutVersionOutcome, Sequence, Snapshot,
    Spelling, Version,
};
use std::{collections::BTreeMap, sync::Arc};

/// A random number.
pub fn random() -> u64 {
    getrandom::u64().expect("randomness")
}

/// Sixteen random bytes.
fn random_id() -> [u8; 16] {
    (u128::from(random()) << 64 | u128::from(random())).to_be_bytes()
}

/// A new client.
pub fn new_client_id() -> ClientId {
    ClientId(random_id())
}

/// A new channel.
pub fn new_channel() -> ChannelId {
    ChannelId(random_id())
}

/// A new socket.
pub fn new_presence() -> Presence {
    Presence { node: NodeId(random()), connection: ConnectionId(random()) }
}

/// A new node.
pub fn new_node() -> NodeEntry {
    let ws_url = Some("ws://127.0.0.1:8080/".to_owned());
    let grpc_address = "127.0.0.1:8082".to_owned();
    let name = "node-1".to_owned();
    let keys = vec![random()];
    NodeEntry { node: NodeId(random()), name, grpc_address, workers: 2, ws_url, room: true, keys }
}

/// A version.
pub fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

/// A SimplePush hello with an empty list that adopts the UAID.
pub fn simplepush(client: ClientId, presence: Presence) -> Hello {
    let listed = Some(Listed::Channels(Vec::new()));
    Hello {
        client,
        presence,
        named: None,
        otherwise: Dialect::SimplePush,
        listed,
        adopt: true,
        room: true,
        backlog_max: 10,
    }
}

/// A Web Push hello that does not adopt the UAID.
pub fn webpush(client: ClientId, presence: Presence) -> Hello {
    let named = Some(Dialect::WebPush);
    Hello {
        client,
        presence,
        named,
        otherwise: Dialect::WebPush,
        listed: None,
        adopt: false,
        room: true,
        backlog_max: 10,
    }
}

/// A client that has said hello.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// Its socket.
    pub presence: Presence,
    /// Its channels, spelled [`Spelling::HYPHENATED`], with key 1.
    pub channels: Vec<ChannelId>,
}

/// A connected SimplePush client with this number of channels.
pub async fn connected(store: &Arc<dyn Store>, channels: usize) -> Client {
    let (client, presence) = (new_client_id(), new_presence());
    claim(store, simplepush(client, presence)).await;
    with_channels(store, Client { id: client, presence, channels: Vec::new() }, channels).await
}

/// A connected Web Push client with this number of channels.
pub async fn subscribed(store: &Arc<dyn Store>, channels: usize) -> Client {
    let (client, presence) = (new_client_id(), new_presence());
    claim(store, Hello { adopt: true, ..webpush(client, presence) }).await;
    with_channels(store, Client { id: client, presence, channels: Vec::new() }, channels).await
}

async fn with_channels(store: &Arc<dyn Store>, mut client: Client, channels: usize) -> Client {
    for _ in 0..channels {
        let channel = new_channel();
        register(store, &client, channel).await;
        client.channels.push(channel);
    }
    client
}

/// A disconnected SimplePush client with this number of channels.
pub async fn offline(store: &Arc<dyn Store>, channels: usize) -> Client {
    let client = connected(store, channels).await;
    release(store, client.id, client.presence).await;
    client
}

/// A hello of any outcome.
pub async fn say(store: &Arc<dyn Store>, hello: Hello) -> HelloOutcome {
    store.hello(hello).await.expect("hello")
}

/// A hello that claims the UAID: its dialect, the former presence and the snapshot.
pub async fn claim(store: &Arc<dyn Store>, hello: Hello) -> (Dialect, Option<Presence>, Snapshot) {
    let (dialect, former, snapshot, _) = claim_all(store, hello).await;
    (dialect, former, snapshot)
}

/// A hello that claims the UAID: the stored messages that it brings.
pub async fn claim_backlog(store: &Arc<dyn Store>, hello: Hello) -> Backlog {
    claim_all(store, hello).await.3
}

async fn claim_all(store: &Arc<dyn Store>, hello: Hello) -> (Dialect, Option<Presence>, Snapshot, Backlog) {
    match say(store, hello).await {
        HelloOutcome::Claimed { dialect, former, snapshot, backlog } => (dialect, former, snapshot, backlog),
        other @ (HelloOutcome::Blocked
        | HelloOutcome::Unknown { .. }
        | HelloOutcome::Deleted { .. }
        | HelloOutcome::ListMissing
        | HelloOutcome::NoRoom) => panic!("expected a claim, not {other:?}"),
    }
}

/// Releases the presence.
pub async fn release(store: &Arc<dyn Store>, client: ClientId, presence: Presence) {
    store.release(client, presence, None).await.expect("release");
}

/// Gives a client back to the socket that had it before.
pub async fn give_back(store: &Arc<dyn Store>, client: ClientId, presence: Presence, former: Presence) {
    store.release(client, presence, Some(former)).await.expect("release");
}

/// An `add_channel` of a client: spelled [`Spelling::HYPHENATED`], with key 1, of no more than 200 channels.
pub fn addition(client: &Client, channel: ChannelId) -> AddChannel {
    let Client { id: client, presence, .. } = *client;
    AddChannel {
        client,
        presence,
        channel,
        spelling: Spelling::HYPHENATED,
        restricted: None,
        key: KeyId(1),
        channels_max: 200,
    }
}

/// Any outcome of `add_channel`.
pub async fn add(store: &Arc<dyn Store>, add: AddChannel) -> AddChannelOutcome {
    store.add_channel(add).await.expect("add_channel")
}

/// Registers a channel: the last sequence before it.
pub async fn register(store: &Arc<dyn Store>, client: &Client, channel: ChannelId) -> Sequence {
    match add(store, addition(client, channel)).await {
        AddChannelOutcome::Registered { sequence, .. } => sequence,
        other @ (AddChannelOutcome::Full | AddChannelOutcome::NotOwner(_)) => {
            panic!("expected a registered channel, not {other:?}")
        }
    }
}

/// Unregisters a channel.
pub async fn unregister(store: &Arc<dyn Store>, client: &Client, channel: ChannelId) {
    let outcome = store.remove_channel(client.id, client.presence, channel).await.expect("remove_channel");
    assert_eq!(outcome, Ok(()));
}

/// A put of any outcome.
pub async fn put(
    store: &Arc<dyn Store>,
    client: ClientId,
    channel: ChannelId,
    number: u64,
) -> PutVersionOutcome {
    store.put_version(PutVersion { client, channel, version: version(number) }).await.expect("put_version")
}

/// A put that is stored: its sequence, and the socket that owns the client.
pub async fn stored(
    store: &Arc<dyn Store>,
    client: ClientId,
    channel: ChannelId,
    number: u64,
) -> (Sequence, Option<Presence>) {
    match put(store, client, channel, number).await {
        PutVersionOutcome::Stored { sequence, presence, previous: _ } => (sequence, presence),
        PutVersionOutcome::Gone => panic!("expected a stored version"),
    }
}

/// Acknowledges one channel.
pub async fn ack(store: &Arc<dyn Store>, client: ClientId, channel: ChannelId, version: Option<f64>) {
    store.ack_versions(client, vec![Ack { channel, version }]).await.expect("ack_versions");
}

/// What is pending on each channel of a snapshot.
pub fn pending(snapshot: &Snapshot) -> BTreeMap<ChannelId, Option<u64>> {
    let pending = |version: Option<Version>| version.map(Version::number);
    snapshot.channels.iter().map(|channel| (channel.id, pending(channel.pending))).collect()
}

/// The snapshot of a client that owns its UAID.
pub async fn snapshot(store: &Arc<dyn Store>, client: &Client) -> Snapshot {
    store.snapshot(client.id, client.presence).await.expect("snapshot").expect("the owner")
}

/// What is pending on one channel of a client that owns its UAID.
pub async fn pending_on(store: &Arc<dyn Store>, client: &Client, channel: ChannelId) -> Option<u64> {
    pending(&snapshot(store, client).await)[&channel]
}
