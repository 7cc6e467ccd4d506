//! [`UserAgent`]: what it asks for, and what it does when a connection is lost.

use crate::script::{PATIENCE, Script, Side};
use beckon_client::{
    backoff::Backoff,
    error::Error,
    user_agent::{Event, Options, UserAgent},
};
use beckon_types::{ChannelId, Uaid};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, time::timeout};

const UAID: &str = "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6";
const OTHER_UAID: &str = "b7d1f0a94c3e4d2fa1065e8c9b3d7f20";
const CHANNEL: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";
const SECOND: &str = "6fa1c3e2-d40b-4f5a-8c7e-9b1032a4d5f6";
const THIRD: &str = "4f0c6a3e-8f55-4d0b-b7b4-2a9d11c0e6ff";

fn uaid(text: &str) -> Uaid {
    Uaid::parse(text).unwrap().0
}

fn channel(text: &str) -> ChannelId {
    ChannelId::parse(text).unwrap().0
}

/// Reconnects at once, and offers no subprotocol, because the script selects none.
fn hasty() -> Options {
    let at_once = Duration::from_millis(1);
    let mut options = Options { backoff: Backoff { first: at_once, longest: at_once }, ..Options::default() };
    options.socket.subprotocols.clear();
    options
}

fn known() -> Options {
    Options { uaid: Some(uaid(UAID)), channels: vec![channel(CHANNEL), channel(SECOND)], ..hasty() }
}

fn hello(uaid: &str, channels: &[&str]) -> Value {
    json!({"messageType": "hello", "uaid": uaid, "channelIDs": channels})
}

fn greeting(uaid: &str) -> Value {
    json!({"messageType": "hello", "uaid": uaid, "status": 200})
}

fn registered(channel: &str, endpoint: &str) -> Value {
    json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": endpoint})
}

fn notification(channel: &str, version: u64) -> Value {
    json!({"messageType": "notification", "updates": [{"channelID": channel, "version": version}]})
}

async fn event(agent: &mut UserAgent) -> Event {
    timeout(PATIENCE, agent.next_event()).await.unwrap()
}

/// A user agent that has these channels already, and the server's side of its connection.
async fn connected(script: &Script, options: Options) -> (UserAgent, Side) {
    let url = script.url();
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting(UAID)).await;
        side
    };
    let (agent, side) = tokio::join!(UserAgent::connect(&url, options), server);
    (agent.unwrap(), side)
}

#[tokio::test]
async fn a_reply_is_found_among_notifications() {
    let script = Script::listen().await;
    let (mut agent, mut side) = connected(&script, known()).await;
    let server = async {
        assert_eq!(side.heard().await, json!({"messageType": "register", "channelID": CHANNEL}));
        side.says(notification(SECOND, 1)).await;
        side.says(json!({})).await;
        side.says(registered(SECOND, "another")).await;
        side.says(registered(CHANNEL, "e1")).await;
    };
    let (endpoint, ()) = tokio::join!(agent.register(channel(CHANNEL)), server);
    assert_eq!(endpoint.unwrap(), "e1");
    let Event::Notification(updates) = event(&mut agent).await else { panic!("it was kept") };
    assert_eq!((updates[0].channel, updates[0].version.number()), (channel(SECOND), 1));
    agent.acknowledge(&updates).await.unwrap();
    agent.acknowledge(&[]).await.unwrap();
    let ack = json!({"messageType": "ack", "updates": [{"channelID": SECOND, "version": 1}]});
    assert_eq!(side.heard().await, ack);
    let (_, code) = tokio::join!(agent.close(), side.hears_a_close());
    assert_eq!(code, 1000);
}

#[tokio::test]
async fn a_refused_register_leaves_the_connection_as_it_is() {
    let script = Script::listen().await;
    let (mut agent, mut side) = connected(&script, known()).await;
    let request = json!({"messageType": "register", "channelID": THIRD});
    let mut refusal = request.clone();
    refusal["status"] = json!(500);
    refusal["error"] = json!("Internal Error");
    let (refused, ()) = tokio::join!(agent.register(channel(THIRD)), side.answers(request, refusal));
    assert!(matches!(refused, Err(Error::Rejected { status: 500, .. })), "{refused:?}");
    assert_eq!(agent.channels(), [channel(CHANNEL), channel(SECOND)]);
    let answer = side.answers(json!({"messageType": "ping"}), json!({}));
    let (ponged, ()) = tokio::join!(agent.ping(), answer);
    ponged.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_restored_with_the_same_uaid_and_channels() {
    let script = Script::listen().await;
    let (mut agent, side) = connected(&script, known()).await;
    let (lost, ()) = tokio::join!(event(&mut agent), side.closes(1001));
    let Event::Disconnected { error: Error::Closed(close), .. } = lost else { panic!("{lost:?}") };
    assert_eq!(close.code, 1001);
    // The server is not ready yet: the first attempt fails.
    let server = async {
        let mut tcp = script.tcp().await;
        let unavailable = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
        tcp.write_all(unavailable).await.unwrap();
        tcp
    };
    let (lost, _tcp) = tokio::join!(event(&mut agent), server);
    let Event::Disconnected { error: Error::Refused { status: 503, .. }, .. } = lost else {
        panic!("{lost:?}")
    };
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting(UAID)).await;
        side.says(notification(CHANNEL, 7)).await;
        side
    };
    let (back, _side) = tokio::join!(event(&mut agent), server);
    assert!(matches!(back, Event::Connected { new_uaid: false }), "{back:?}");
    let next = event(&mut agent).await;
    assert!(matches!(&next, Event::Notification(updates) if updates[0].version.number() == 7), "{next:?}");
}

#[tokio::test]
async fn with_another_uaid_all_channels_are_registered_again() {
    let script = Script::listen().await;
    let (mut agent, mut side) = connected(&script, known()).await;
    side.says(notification(CHANNEL, 1)).await;
    let (first, ()) = tokio::join!(
        async {
            // While it waits for the reply, the user agent reads a notification for the former UAID.
            let registered = agent.register(channel(THIRD)).await;
            (registered.unwrap_err(), event(&mut agent).await)
        },
        async {
            assert_eq!(side.heard().await["channelID"], THIRD);
            side.closes(1011).await;
        }
    );
    let (Error::Closed(_), Event::Notification(_)) = first else { panic!("{first:?}") };
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting(OTHER_UAID)).await;
        for channel in [CHANNEL, SECOND] {
            let request = json!({"messageType": "register", "channelID": channel});
            side.answers(request, registered(channel, &format!("new {channel}"))).await;
        }
        side
    };
    let (back, side) = tokio::join!(event(&mut agent), server);
    assert!(matches!(back, Event::Connected { new_uaid: true }), "{back:?}");
    for text in [CHANNEL, SECOND] {
        let Event::NewEndpoint { channel: of, endpoint } = event(&mut agent).await else { panic!("{text}") };
        assert_eq!((of, endpoint), (channel(text), format!("new {text}")));
    }
    assert_eq!(agent.uaid(), Some(uaid(OTHER_UAID)));
    drop(side);
}

#[tokio::test]
async fn an_attempt_that_fails_halfway_goes_on_with_the_uaid_that_it_was_given() {
    let script = Script::listen().await;
    let (mut agent, side) = connected(&script, known()).await;
    drop(side);
    let lost = event(&mut agent).await;
    assert!(matches!(lost, Event::Disconnected { .. }), "{lost:?}");
    // Another UAID, but not all channels have an endpoint yet.
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting(OTHER_UAID)).await;
        side.answers(json!({"messageType": "register", "channelID": CHANNEL}), registered(CHANNEL, "e"))
            .await;
        assert_eq!(side.heard().await["channelID"], SECOND);
    };
    let (lost, ()) = tokio::join!(event(&mut agent), server);
    assert!(matches!(lost, Event::Disconnected { .. }), "{lost:?}");
    // Both channels may have been registered under it.
    assert_eq!(agent.uaid(), Some(uaid(OTHER_UAID)));
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(OTHER_UAID, &[CHANNEL, SECOND]), greeting(OTHER_UAID)).await;
        for channel in [CHANNEL, SECOND] {
            let request = json!({"messageType": "register", "channelID": channel});
            side.answers(request, registered(channel, &format!("new {channel}"))).await;
        }
        side
    };
    let (back, _side) = tokio::join!(event(&mut agent), server);
    assert!(matches!(back, Event::Connected { new_uaid: true }), "{back:?}");
    for text in [CHANNEL, SECOND] {
        let next = event(&mut agent).await;
        assert!(matches!(&next, Event::NewEndpoint { channel: of, .. } if *of == channel(text)), "{next:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_but_not_for_ever() {
    let (first, second) = (Script::listen().await, Script::listen().await);
    let (first_url, second_url) = (first.url(), second.url());
    let send_away = async |script: &Script, to: &str| {
        let mut side = script.accept().await;
        let redirect = json!({"messageType": "hello", "uaid": UAID, "status": 307, "redirect": to});
        side.answers(hello(UAID, &[CHANNEL, SECOND]), redirect).await;
        side.closes(1000).await;
    };
    let servers = async {
        send_away(&first, &second_url).await;
        let mut side = second.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting(UAID)).await;
        side
    };
    let (agent, side) = tokio::join!(UserAgent::connect(&first_url, known()), servers);
    let mut agent = agent.unwrap();
    // When that connection ends, it starts again at its own URL.
    drop(side);
    let lost = event(&mut agent).await;
    assert!(matches!(lost, Event::Disconnected { .. }), "{lost:?}");
    let servers = async {
        for _ in 0..4 {
            send_away(&first, &first_url).await;
        }
    };
    let agents = async {
        for _ in 0..4 {
            let away = event(&mut agent).await;
            assert!(matches!(away, Event::Disconnected { error: Error::Rejected { status: 307, .. }, .. }));
        }
    };
    tokio::join!(servers, agents);
    let failed = async {
        let mut side = first.accept().await;
        let full = json!({"messageType": "hello", "uaid": UAID, "status": 429});
        side.answers(hello(UAID, &[CHANNEL, SECOND]), full).await;
        side
    };
    let (away, _side) = tokio::join!(event(&mut agent), failed);
    assert!(
        matches!(away, Event::Disconnected { error: Error::Rejected { status: 429, .. }, .. }),
        "{away:?}"
    );
}

#[tokio::test]
async fn a_quiet_connection_is_pinged_and_a_dead_one_dropped() {
    let script = Script::listen().await;
    let moment = Duration::from_millis(100);
    let options = Options { ping_interval: moment, reply_limit: Duration::from_secs(1), ..known() };
    let (mut agent, mut side) = connected(&script, options).await;
    let server = async {
        for _ in 0..3 {
            side.answers(json!({}), json!({})).await;
        }
        // From here on, the server does not answer.
        assert_eq!(side.heard().await, json!({}));
    };
    let (lost, ()) = tokio::join!(event(&mut agent), server);
    assert!(matches!(lost, Event::Disconnected { error: Error::TimedOut(_), .. }), "{lost:?}");
}

#[tokio::test]
async fn the_first_attempt_returns_its_failure() {
    let script = Script::listen().await;
    let url = script.url();
    drop(script);
    let unreachable = UserAgent::connect(&url, Options::default()).await;
    assert!(matches!(unreachable, Err(Error::Unreachable { .. })), "{unreachable:?}");
    let wrong = UserAgent::connect("http://push.example/", Options::default()).await;
    assert!(matches!(wrong, Err(Error::InvalidUrl { .. })), "{wrong:?}");
    // A server that accepts and says nothing.
    let script = Script::listen().await;
    let mut options = Options::default();
    options.socket.connect_limit = Duration::from_millis(200);
    let silent = UserAgent::connect(&script.url(), options).await;
    assert!(matches!(silent, Err(Error::TimedOut(_))), "{silent:?}");
}

#[tokio::test]
async fn identifiers_that_are_none_end_the_connection() {
    let script = Script::listen().await;
    let url = script.url();
    let server = async {
        let mut side = script.accept().await;
        side.answers(hello(UAID, &[CHANNEL, SECOND]), greeting("u1")).await;
    };
    let (refused, ()) = tokio::join!(UserAgent::connect(&url, known()), server);
    assert!(matches!(refused, Err(Error::Unexpected(_))), "{refused:?}");
    for (name, version) in [("c1", 1), (CHANNEL, u64::MAX)] {
        let (mut agent, mut side) = connected(&script, known()).await;
        let (lost, ()) = tokio::join!(event(&mut agent), side.says(notification(name, version)));
        assert!(matches!(lost, Event::Disconnected { error: Error::Unexpected(_), .. }), "{name}: {lost:?}");
    }
}
