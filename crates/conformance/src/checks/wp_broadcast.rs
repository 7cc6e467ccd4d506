//! WP-8 to WP-11: broadcasts.

use crate::{server::Server, talk::new_channel};
use serde_json::json;

/// An id that no other test uses, with the slash that real ones have.
pub fn new_id() -> String {
    format!("test/{}", new_channel())
}

pub(crate) async fn wp_8_a_hello_learns_which_broadcasts_are_unknown(server: Server) {
    for members in [json!({}), json!({"broadcasts": null}), json!({"broadcasts": {}})] {
        let reply = server.connect_webpush().await.hello_with(members.clone()).await;
        assert_eq!(reply["broadcasts"], json!({}), "{members}");
    }
    let (id, other) = (new_id(), new_id());
    let members = json!({"broadcasts": {&id: "\"41\"", &other: ""}});
    let reply = server.connect_webpush().await.hello_with(members).await;
    let expected = json!({"errors": {id: "Broadcast not found", other: "Broadcast not found"}});
    assert_eq!(reply["broadcasts"], expected);
}
