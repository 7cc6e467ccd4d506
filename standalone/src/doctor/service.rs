//! The running service, used as a device and a sender would, through whatever stands in front of it.

use super::{report::Report, subject::Subject};
use beckon_client::{
    app_server::{AppServer, Options as SenderOptions},
    user_agent::{Event, Options, Update, UserAgent, new_channel},
};
use beckon_proto::transport::chain;
use beckon_types::ChannelId;
use bytes::Bytes;
use http::{Request, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

/// Time limit for an answer, and for a notification to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Examines the service. `ws` is where devices connect; `idle` is how long a connection is held without a byte.
pub(super) async fn examine(
    subject: &Subject,
    ws: Option<&str>,
    idle: Option<Duration>,
    report: &mut Report,
) {
    let sender = AppServer::new(SenderOptions { limit: PATIENCE, ..SenderOptions::default() });
    let live = format!("http://{}/live", subject.admin);
    let request = Request::get(&live).body(Bytes::new());
    if let Ok(request) = request
        && let Err(error) = sender.request(request).await
    {
        let why = format!(
            "no server answers on admin_listen, {live} ({}): start it to have the service examined",
            chain(&error)
        );
        return report.skipped("service", why);
    }
    report.fine("service", format!("a server answers on admin_listen, {}", subject.admin));
    endpoints(subject, &sender, report).await;
    let ws = match (ws, subject.ws_listen) {
        (Some(url), _) => url.to_owned(),
        (None, Some(address)) => format!("ws://{address}/"),
        (None, None) => {
            return report.skipped("devices", "give --ws URL to have a device connect and be sent to");
        }
    };
    device(&ws, &sender, idle, report).await;
}

/// `endpoint_url` leads to this service, and lets the largest message through.
async fn endpoints(subject: &Subject, sender: &AppServer, report: &mut Report) {
    const NAME: &str = "endpoint_url";
    /// Only the way to endpoints is tried.
    const BODY_LEN: usize = 1024;
    let url = subject.common.endpoint_url.as_str().trim_end_matches('/');
    let len = subject.body_len_max.unwrap_or(BODY_LEN);
    // An endpoint that was never given out.
    let request = Request::post(format!("{url}/wpush/v2/none"))
        .header("TTL", "0")
        .header("Content-Encoding", "aes128gcm")
        .body(Bytes::from(vec![0; len]));
    let answer = match request {
        Ok(request) => sender.request(request).await.map_err(|error| chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    let problem = match answer {
        Ok(answer) if answer.status() == StatusCode::NOT_FOUND && is_ours(answer.body()) => {
            return report.fine(NAME, format!("{url} leads to this service; messages of {len} bytes pass"));
        }
        Ok(answer) if answer.status() == StatusCode::PAYLOAD_TOO_LARGE && !is_ours(answer.body()) => {
            let advice = format!(
                "a message of {len} bytes is refused before it reaches Beckon: raise the proxy's limit of bodies to 16k"
            );
            return report.fault(NAME, advice);
        }
        Ok(answer) => format!("it answers with HTTP status {}, and not as Beckon does", answer.status()),
        Err(error) => error,
    };
    let advice = format!(
        "{url} is what devices pass on to application servers, but from here: {problem}. Set it to the address at which \
         senders reach http_listen, through the proxy if there is one"
    );
    report.fault(NAME, advice);
}

/// Whether it is an error of an endpoint (PROTOCOL.md section 5.8).
fn is_ours(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|error| error.get("errno").is_some())
}

/// A device connects, is sent to, and is removed again.
async fn device(ws: &str, sender: &AppServer, idle: Option<Duration>, report: &mut Report) {
    const NAME: &str = "devices";
    let mut agent = match UserAgent::connect(ws, Options::default()).await {
        Ok(agent) => agent,
        Err(error) => {
            let advice = format!(
                "cannot connect to {ws}: {}. If there is a proxy, it has to pass `Upgrade` and `Connection` on; see \
                 docs/install.md",
                chain(&error)
            );
            return report.fault(NAME, advice);
        }
    };
    report.fine(NAME, format!("a device can connect to {ws}"));
    let channel = new_channel();
    match notify(&mut agent, channel, sender).await {
        Ok(endpoint) => {
            report.fine(NAME, "a notification arrives at once");
            stay_idle(&mut agent, &endpoint, sender, idle, report).await;
        }
        Err(problem) => report.fault(NAME, problem),
    }
    let _ = timeout(PATIENCE, agent.unregister(channel)).await;
    let _ = timeout(PATIENCE, agent.close()).await;
}

/// Registers a channel and sends to its endpoint, which is returned.
async fn notify(agent: &mut UserAgent, channel: ChannelId, sender: &AppServer) -> Result<String, String> {
    let endpoint = agent.register(channel).await;
    let endpoint = endpoint.map_err(|error| format!("a channel cannot be registered: {}", chain(&error)))?;
    send(agent, &endpoint, sender).await?;
    Ok(endpoint)
}

/// Sends to an endpoint of a connected agent, waits for the update, and acknowledges it.
async fn send(agent: &mut UserAgent, endpoint: &str, sender: &AppServer) -> Result<(), String> {
    let sent = sender.put(endpoint, None, None).await;
    sent.map_err(|error| {
        format!("an endpoint of this service cannot be sent to, {endpoint}: {}", chain(&error))
    })?;
    let updates = timeout(PATIENCE, update(agent)).await;
    let updates =
        updates.map_err(|_| format!("what was sent did not arrive within {} s", PATIENCE.as_secs()))??;
    agent.acknowledge(&updates).await.map_err(|error| format!("the connection fails: {}", chain(&error)))
}

async fn update(agent: &mut UserAgent) -> Result<Vec<Update>, String> {
    loop {
        match agent.next_event().await {
            Event::Notification(updates) => return Ok(updates),
            Event::Disconnected { error, .. } => {
                return Err(format!("the connection was lost: {}", chain(&error)));
            }
            Event::Connected { .. } | Event::NewEndpoint { .. } => {}
        }
    }
}

/// Holds the connection without sending anything, and then expects it to be of use still.
async fn stay_idle(
    agent: &mut UserAgent,
    endpoint: &str,
    sender: &AppServer,
    idle: Option<Duration>,
    report: &mut Report,
) {
    const NAME: &str = "idle connections";
    let Some(idle) = idle else {
        return report.skipped(NAME, "give --idle 6m to see whether a proxy cuts them");
    };
    if let Ok(event) = timeout(idle, agent.next_event()).await {
        let advice = format!(
            "the connection ended before {} s had passed ({event:?}). Set the proxy's idle time-out above \
             keepalive_interval, or keepalive_interval below it",
            idle.as_secs()
        );
        return report.fault(NAME, advice);
    }
    match send(agent, endpoint, sender).await {
        Ok(()) => report.fine(NAME, format!("a connection that was idle for {} s is of use", idle.as_secs())),
        Err(problem) => report.fault(NAME, format!("after {} s: {problem}", idle.as_secs())),
    }
}
