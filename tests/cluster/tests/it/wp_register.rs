//! WP-12 to WP-20: register and unregister.

use beckon_cluster_tests::{shared::Profile, stage::Stage, talk::new_channel};
use beckon_testbed::plan::Shape;
use serde_json::json;

on_both_shapes![one_channel_more_than_the_limit_is_an_internal_error,];

async fn one_channel_more_than_the_limit_is_an_internal_error(shape: Shape) {
    const LIMIT: usize = 5;
    let stage = Stage::shared(shape, Profile::Strict);
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    let channels: Vec<_> = (0..LIMIT).map(|_| new_channel()).collect();
    for channel in &channels {
        client.register(channel).await;
    }
    let more = json!({"messageType": "register", "channelID": new_channel()});
    client.expect_error(&more, 500, "Internal Error").await;
    // Those that are registered can be registered again.
    client.register(&channels[0]).await;
    client.unregister(&channels[1]).await;
    client.register(&new_channel()).await;
    client.expect_error(&more, 500, "Internal Error").await;
}
