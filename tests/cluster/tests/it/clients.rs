//! The lives of today's clients, each in the words of its own (PROTOCOL.md section 7): connect, say hello, register,
//! get a message live and one that waited, acknowledge and ping as it does, come back, and unregister.
//!
//! Stock Firefox itself is in `tests/browser`; here is what it says.

use beckon_client::raw::{Frame, Options, SUBPROTOCOL};
use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    talk::new_channel,
    tls,
    webpush::{Client, ENCRYPTED, KEPT, authorization, expect_endpoint, id_of, new_signer, notification},
};
use beckon_testbed::{PATIENCE, plan::Shape};
use serde_json::{Value, json};

on_both_shapes![
    firefox_lives_its_life,
    kunifiedpush_lives_its_life,
    sunup_lives_its_life,
    autopush_manager_lives_its_life,
    all_live_their_lives_over_tls,
];

async fn all_live_their_lives_over_tls(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Tls);
    tokio::join!(firefox(&stage), kunifiedpush(&stage), sunup(&stage), autopush_manager(&stage));
}

/// A WebSocket as a client opens it that offers no subprotocol and has no origin.
async fn connect_plainly(stage: &Stage) -> Client {
    let options = Options { subprotocols: Vec::new(), ..Options::default() };
    let url = stage.next_connection_node().ws_url();
    let mut client = Client::from(tls::client_with(&url, options).await);
    assert_eq!(client.socket().subprotocol(), None);
    client
}

/// As Firefox opens it.
async fn connect_as_firefox(stage: &Stage) -> Client {
    let url = stage.next_connection_node().ws_url();
    let options = Options {
        origin: Some(url.clone()),
        subprotocols: vec![SUBPROTOCOL.to_owned()],
        ..Options::default()
    };
    let mut client = Client::from(tls::client_with(&url, options).await);
    assert_eq!(client.socket().subprotocol(), Some("push-notification"));
    client
}

/// A WebSocket Ping, and nothing but its Pong.
async fn ping_by_frame(client: &mut Client) {
    client.socket().send_ping("").await.unwrap();
    assert_eq!(client.socket().receive_within(PATIENCE).await.unwrap(), Frame::Pong("".into()));
}

fn text<'a>(message: &'a Value, name: &str) -> &'a str {
    message[name].as_str().unwrap_or_else(|| panic!("no {name} in {message}"))
}

async fn firefox_lives_its_life(shape: Shape) {
    firefox(&Stage::shared(shape, Profile::Defaults)).await;
}

async fn firefox(stage: &Stage) {
    let signer = new_signer();
    // Without subscriptions it sends no UAID, and null for broadcasts that it has not heard of.
    let mut client = connect_as_firefox(stage).await;
    let reply = client.ask(&json!({"messageType": "hello", "broadcasts": null, "use_webpush": true})).await;
    let uaid = text(&reply, "uaid").to_owned();
    assert!((1..=128).contains(&uaid.len()) && reply["use_webpush"] == true, "{reply}");
    assert!(reply["broadcasts"].is_object(), "{reply}");
    // The settings of the browser come by broadcast; the server need not have them.
    let subscribe = json!({
        "messageType": "broadcast_subscribe",
        "broadcasts": {"remote-settings/monitor_changes": "\"1600000000000\""},
    });
    let reply = client.ask(&subscribe).await;
    assert_eq!(reply["messageType"], "broadcast", "{reply}");
    // A page subscribes; the key is padded.
    let channel = new_channel();
    let key = format!("{}=", signer.public_key());
    let register = json!({"channelID": channel, "messageType": "register", "key": key});
    let endpoint = expect_endpoint(&client.ask(&register).await, &channel);
    let credential = authorization(&signer, &endpoint);
    let authorized = ("authorization", &*credential);
    // Live, in the encryption of old and of today; each is acknowledged by itself, with what became of it.
    let aesgcm = [
        ("ttl", "60"),
        authorized,
        ("content-encoding", "aesgcm"),
        ("encryption", "keyid=p256dh;salt=\"2rG0pFv7vE4zqvS1b9kG_w\""),
        ("crypto-key", "keyid=p256dh;dh=\"BKkQ2p\""),
    ];
    let id = stage.accepted(&endpoint, &aesgcm, "old style").await;
    let message = client.receive().await;
    assert_eq!((text(&message, "version"), text(&message, "channelID")), (&*id, &*channel));
    assert_eq!(message["headers"]["crypto_key"], "keyid=p256dh;dh=BKkQ2p", "{message}");
    let ack = |id: &str, code: u16| json!({"messageType": "ack", "updates": [{"channelID": channel, "version": id, "code": code}]});
    client.send(&ack(&id, 101)).await;
    let id = stage.accepted(&endpoint, &[KEPT, ENCRYPTED, authorized], "today's").await;
    assert_eq!(client.receive().await, notification(&channel, &id, "today's"));
    client.send(&ack(&id, 100)).await;
    // The user agent also reports that a handler threw.
    client.send(&json!({"messageType": "nack", "version": id, "code": 301})).await;
    // Thirty minutes later.
    assert_eq!(client.ask(&json!({})).await, json!({}));
    // The browser is closed, and opened again.
    client.leave().await;
    let waited = stage.accepted(&endpoint, &[KEPT, ENCRYPTED, authorized], "waited").await;
    let mut client = connect_as_firefox(stage).await;
    let hello = json!({
        "messageType": "hello", "broadcasts": {"remote-settings/monitor_changes": "\"1600000000000\""},
        "use_webpush": true, "uaid": uaid,
    });
    let reply = client.ask(&hello).await;
    assert_eq!(reply["uaid"], uaid, "{reply}");
    assert_eq!(client.receive().await, notification(&channel, &waited, "waited"));
    client.send(&ack(&waited, 102)).await;
    // The page unsubscribes.
    let reply = client.ask(&json!({"channelID": channel, "messageType": "unregister", "code": 200})).await;
    assert_eq!(reply, json!({"messageType": "unregister", "channelID": channel, "status": 200}));
    assert_eq!(stage.post(&endpoint, &[KEPT, authorized], "").await.status().as_u16(), 410);
    client.leave().await;
}

async fn kunifiedpush_lives_its_life(shape: Shape) {
    kunifiedpush(&Stage::shared(shape, Profile::Defaults)).await;
}

async fn kunifiedpush(stage: &Stage) {
    let signer = new_signer();
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&json!({"messageType": "hello"})).await;
    assert_eq!(reply["status"], 200, "{reply}");
    let uaid = text(&reply, "uaid").to_owned();
    let channel = new_channel();
    let key = signer.public_key();
    assert_eq!(key.len(), 87);
    let register = json!({"messageType": "register", "channelID": channel, "key": key});
    let endpoint = expect_endpoint(&client.ask(&register).await, &channel);
    let credential = authorization(&signer, &endpoint);
    let headers = [KEPT, ENCRYPTED, ("urgency", "normal"), ("authorization", &*credential)];
    // One ack per message, without code.
    let ack = |id: &str| json!({"messageType": "ack", "updates": [{"channelID": channel, "version": id}]});
    let id = stage.accepted(&endpoint, &headers, "live").await;
    assert_eq!(client.receive().await, notification(&channel, &id, "live"));
    client.send(&ack(&id)).await;
    // On battery, it asks for what matters.
    let urgency = client.ask(&json!({"messageType": "urgency", "min": "normal"})).await;
    assert_eq!(urgency, json!({"messageType": "urgency", "status": 200}));
    for _ in 0..2 {
        ping_by_frame(&mut client).await;
    }
    // The network is lost, without a word.
    drop(client);
    let waited =
        [stage.accepted(&endpoint, &headers, "0").await, stage.accepted(&endpoint, &headers, "1").await];
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&json!({"messageType": "hello", "uaid": uaid})).await;
    assert_eq!((&reply["status"], &reply["uaid"]), (&json!(200), &json!(uaid)));
    for (index, id) in waited.iter().enumerate() {
        assert_eq!(client.receive().await, notification(&channel, id, &index.to_string()));
        client.send(&ack(id)).await;
    }
    let reply = client.ask(&json!({"messageType": "unregister", "channelID": channel})).await;
    assert_eq!(reply["status"], 200, "{reply}");
    let answer = stage.post(&endpoint, &headers, "x").await;
    assert_eq!(answer.status().as_u16(), 410);
    client.leave().await;
}

async fn sunup_lives_its_life(shape: Shape) {
    sunup(&Stage::shared(shape, Profile::Defaults)).await;
}

async fn sunup(stage: &Stage) {
    const APPS: usize = 30;
    let signer = new_signer();
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&json!({"messageType": "hello", "uaid": null})).await;
    assert_eq!((&reply["status"], &reply["use_webpush"]), (&json!(200), &json!(true)), "{reply}");
    let uaid = text(&reply, "uaid").to_owned();
    // All apps are registered again at once when the UAID changed. A key is as the app gave it, if it gave one.
    let channels: Vec<_> = (0..APPS).map(|_| new_channel()).collect();
    for (index, channel) in channels.iter().enumerate() {
        let key = (index % 2 == 0).then(|| signer.public_key());
        client.send(&json!({"messageType": "register", "channelID": channel, "key": key})).await;
    }
    let mut endpoints = Vec::new();
    for _ in &channels {
        let reply = client.receive().await;
        let channel = text(&reply, "channelID").to_owned();
        endpoints.push((expect_endpoint(&reply, &channel), channel));
    }
    let ack = |channel: &str, id: &str| json!({"messageType": "ack", "updates": [{"channelID": channel, "version": id}]});
    for (endpoint, channel) in &endpoints {
        let credential = authorization(&signer, endpoint);
        let headers = [KEPT, ENCRYPTED, ("authorization", &*credential)];
        let id = stage.accepted(endpoint, &headers, "live").await;
        assert_eq!(client.receive().await, notification(channel, &id, "live"));
        client.send(&ack(channel, &id)).await;
    }
    for _ in 0..3 {
        ping_by_frame(&mut client).await;
    }
    // It would answer every `{}` that it did not ask for.
    client.expect_nothing().await;
    // An endpoint in a failed reply would be handed to the app.
    let reply = client.ask(&json!({"messageType": "register", "channelID": new_channel(), "key": "x"})).await;
    assert_eq!((&reply["status"], reply.get("pushEndpoint")), (&json!(400), None), "{reply}");
    drop(client);
    let (endpoint, channel) = endpoints.iter().find(|(endpoint, _)| endpoint.contains("/v1/")).unwrap();
    let id = stage.message(endpoint, "waited").await;
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&json!({"messageType": "hello", "uaid": uaid})).await;
    assert_eq!(reply["uaid"], uaid, "{reply}");
    assert_eq!(client.receive().await, notification(channel, &id, "waited"));
    client.send(&ack(channel, &id)).await;
    for (endpoint, channel) in &endpoints {
        let reply = client.ask(&json!({"messageType": "unregister", "channelID": channel})).await;
        assert_eq!(reply["status"], 200, "{reply}");
        let credential = authorization(&signer, endpoint);
        let answer = stage.post(endpoint, &[KEPT, ("authorization", &credential)], "").await;
        assert_eq!(answer.status().as_u16(), 410);
    }
    client.leave().await;
}

async fn autopush_manager_lives_its_life(shape: Shape) {
    autopush_manager(&Stage::shared(shape, Profile::Defaults)).await;
}

async fn autopush_manager(stage: &Stage) {
    let signer = new_signer();
    let hello = |uaid: Value, channels: &[&str]| json!({"messageType": "hello", "uaid": uaid, "channelIDs": channels, "use_webpush": true});
    for none in [json!(null), json!("")] {
        let reply = connect_plainly(stage).await.ask(&hello(none, &[])).await;
        assert_eq!(reply["status"], 200, "{reply}");
    }
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&hello(json!(null), &[])).await;
    let uaid = text(&reply, "uaid").to_owned();
    let channel = new_channel();
    let register = json!({"messageType": "register", "channelID": channel, "key": signer.public_key()});
    let endpoint = expect_endpoint(&client.ask(&register).await, &channel);
    let credential = authorization(&signer, &endpoint);
    let headers = [KEPT, ENCRYPTED, ("authorization", &*credential)];
    // Acks are collected for half a minute.
    let mut updates = Vec::new();
    for round in 0..5 {
        let id = id_of(&stage.post(&endpoint, &headers, round.to_string()).await);
        assert_eq!(client.receive().await, notification(&channel, &id, &round.to_string()));
        updates.push(json!({"channelID": channel, "version": id, "code": 100}));
    }
    let last = updates.pop().unwrap();
    client.send(&json!({"messageType": "ack", "updates": updates})).await;
    assert_eq!(client.ask(&json!({"messageType": "ping"})).await, json!({}));
    client.leave().await;
    // The last one was not collected in time.
    let waited = stage.accepted(&endpoint, &headers, "waited").await;
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&hello(json!(uaid), &[&channel])).await;
    assert_eq!(reply["uaid"], uaid, "{reply}");
    assert_eq!(client.receive().await["version"], last["version"]);
    assert_eq!(client.receive().await, notification(&channel, &waited, "waited"));
    let updates = [last, json!({"channelID": channel, "version": waited, "code": 100})];
    client.send(&json!({"messageType": "ack", "updates": updates})).await;
    let reply = client.ask(&json!({"messageType": "unregister", "channelID": channel, "code": 200})).await;
    assert_eq!(reply["status"], 200, "{reply}");
    let answer = stage.post(&endpoint, &headers, "x").await;
    assert_eq!(answer.status().as_u16(), 410);
    client.leave().await;
    // Without channels a UAID may be forgotten; it gets one in any case.
    let mut client = connect_plainly(stage).await;
    let reply = client.ask(&hello(json!(uaid), &[])).await;
    assert_eq!(reply["status"], 200, "{reply}");
    client.expect_nothing().await;
}
