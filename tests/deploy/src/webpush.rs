//! One Web Push notification to a connected user agent.

use anyhow::{Context as _, Result, ensure};
use beckon_client::{
    app_server::AppServer,
    raw::{Options, RawSocket},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of the message; only a user agent would decrypt it.
const BODY: &[u8] = b"0123456789abcdef encrypted";

/// [`BODY`] in base64url, as the user agent gets it.
const DATA: &str = "MDEyMzQ1Njc4OWFiY2RlZiBlbmNyeXB0ZWQ";

/// Connects, registers, sends to the endpoint and waits for the message.
pub(crate) fn exchange(websocket: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut socket = RawSocket::connect(websocket, &Options::default()).await?;
        let hello = ask(&mut socket, &json!({"messageType": "hello", "use_webpush": true})).await?;
        ensure!(hello["status"] == 200, "{hello}");
        let channel = "6c8d9f3e-52f1-4d3b-9a44-6e3b5d1f2a10";
        let register = json!({"messageType": "register", "channelID": channel});
        let registered = ask(&mut socket, &register).await?;
        let endpoint = registered["pushEndpoint"].as_str().with_context(|| registered.to_string())?;

        let request = Request::post(endpoint)
            .header("ttl", "60")
            .header("content-encoding", "aes128gcm")
            .body(Bytes::from_static(BODY))?;
        let response = AppServer::default().request(request).await?;
        ensure!(response.status() == StatusCode::CREATED, "{response:?}");

        let message: Value = serde_json::from_str(&socket.text_within(PATIENCE).await?)?;
        ensure!(message["channelID"] == channel && message["data"] == DATA, "{message}");
        let ack = json!({"messageType": "ack", "updates": [
            {"channelID": channel, "version": message["version"], "code": 100}]});
        socket.send_text(ack.to_string()).await?;
        socket.send_close(1000).await?;
        Ok(())
    })
}

async fn ask(socket: &mut RawSocket, request: &Value) -> Result<Value> {
    socket.send_text(request.to_string()).await?;
    Ok(serde_json::from_str(&socket.text_within(PATIENCE).await?)?)
}
