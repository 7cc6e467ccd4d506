//! HTTP-38: what load balancers ask.

use crate::server::Server;
use http::Uri;
use serde_json::Value;

pub(crate) async fn http_38_status_and_lbheartbeat_answer_at_each_address(server: Server) {
    // Without the path of WebSockets, if there is one.
    let sockets = server.ws_urls().iter().map(|url| {
        let uri: Uri = url.parse().unwrap();
        format!("{}://{}", uri.scheme_str().unwrap().replacen("ws", "http", 1), uri.authority().unwrap())
    });
    let sockets: Vec<_> = sockets.collect();
    for base in sockets.iter().chain(server.http_urls()) {
        expect_status(&server, base).await;
    }
}

/// What is the same at each address of each node (PROTOCOL.md section 6).
pub async fn expect_status(server: &Server, base: &str) {
    for path in ["/status", "/status/"] {
        let answer = server.get(&format!("{base}{path}")).await;
        assert_eq!(answer.status(), 200, "{base}{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let status: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(status["status"], "OK");
        assert!(status["clients"].is_u64(), "{status}");
        assert!(status["version"].is_string(), "{status}");
        let head = server.head(&format!("{base}{path}")).await;
        assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    }
    let answer = server.get(&format!("{base}/__lbheartbeat__")).await;
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0), "{base}/__lbheartbeat__");
}
