//! SP-31 to SP-40: register and unregister.

use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
    talk::new_channel,
};
use beckon_testbed::plan::Shape;
use serde_json::json;

on_both_shapes![sp_37_a_channel_too_many_is_an_internal_error,];

async fn sp_37_a_channel_too_many_is_an_internal_error(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    for _ in 1..5 {
        client.register(&new_channel()).await;
    }
    let one_more = json!({"messageType": "register", "channelID": new_channel()});
    client.expect_error(&one_more, 500, "Internal Error").await;
    client.expect_error(&one_more, 500, "Internal Error").await;
    // The socket is as good as before.
    assert_eq!(client.register(&channel).await, endpoint);
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.unregister(&channel).await;
    assert_eq!(client.ask(&one_more).await["status"], 200);
    // More channels than there can be cannot all be registered.
    let many: Vec<_> = (0..6).map(|_| new_channel()).collect();
    let listed: Vec<_> = many.iter().map(String::as_str).collect();
    assert_ne!(stage.connect().await.hello_as(&uaid, &listed).await, uaid);
}
