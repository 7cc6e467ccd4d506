//! TLS on the public ports: what an operator gives the programs, and what clients see of it.

use beckon_client::raw::{Options, RawSocket};
use beckon_cluster_tests::{shared::Profile, stage::Stage, tls};
use beckon_testbed::{
    certificates::Certificates,
    plan::{Plan, Shape},
    process,
};

on_both_shapes![a_simplepush_client_is_served_over_tls, a_socket_over_tls_outlives_silence];

async fn a_simplepush_client_is_served_over_tls(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Tls);
    let mut registered = stage.registered().await;
    assert!(registered.endpoint.starts_with("https://"), "{}", registered.endpoint);
    assert_eq!(stage.put(&registered.endpoint, 1).await, 200);
    registered.client.expect_update(&registered.channel, 1).await;
    // A long message in both directions: several records of TLS.
    let channels: Vec<_> = (0..1500).map(|_| beckon_cluster_tests::talk::new_channel()).collect();
    let channels: Vec<_> = channels.iter().map(String::as_str).collect();
    let mut other = stage.connect().await;
    other.hello_as("", &channels).await;
}

/// The server pings after two seconds, and closes the socket of a client that does not answer.
async fn a_socket_over_tls_outlives_silence(shape: Shape) {
    let plan = Plan::new(shape).tls(tls::certificates());
    let plan = plan.sockets("BECKON_KEEPALIVE_INTERVAL", "1s").sockets("BECKON_KEEPALIVE_TIMEOUT", "1s");
    let stage = Stage::own(plan);
    let mut registered = stage.registered().await;
    registered.client.expect_nothing_for(std::time::Duration::from_secs(4)).await;
    assert_eq!(stage.put(&registered.endpoint, 1).await, 200);
    registered.client.expect_update(&registered.channel, 1).await;
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_is_not_connected() {
    let stage = Stage::shared(Shape::Standalone, Profile::Tls);
    let foreign = Certificates::make();
    let options = Options { tls: Some(tls::trust_in(&foreign)), ..Options::default() };
    let url = stage.next_connection_node().ws_url();
    assert!(RawSocket::connect(&url, &options).await.is_err());
    assert!(
        RawSocket::connect(&url.replace("wss:", "ws:"), &Options::default()).await.is_err(),
        "without TLS"
    );
}

#[test]
fn a_program_does_not_start_with_certificates_that_cannot_be_used() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let expired = Certificates::make();
    expired.renew("DNS:localhost", -1);
    let text = |path: std::path::PathBuf| path.display().to_string();
    for planned in
        [Shape::Cluster, Shape::Standalone].map(Plan::new).into_iter().flat_map(Plan::into_programs)
    {
        for (certificate, key, reason) in [
            (text(ours.certificate()), text(theirs.key()), "cannot be used together"),
            (text(expired.certificate()), text(expired.key()), "expired"),
            (text(ours.certificate()), "/nowhere/key.pem".to_owned(), "/nowhere/key.pem: "),
            (text(ours.certificate()), String::new(), "equally many"),
        ] {
            let mut settings = planned.settings.clone();
            settings.insert("BECKON_STORE".into(), "redis://127.0.0.1:1".into());
            settings.insert("BECKON_TLS_CERT".into(), certificate);
            settings.insert("BECKON_TLS_KEY".into(), key);
            let settings: Vec<_> =
                settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (status, output) = process::run(&planned.program.path(), &[], &settings);
            assert_eq!(status.code(), Some(64), "{}: {output}", planned.name);
            assert!(output.contains("BECKON_TLS_CERT") && output.contains(reason), "{output}");
        }
    }
}
