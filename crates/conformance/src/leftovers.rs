//! Taking back what checks have registered.

use crate::{
    registered::{Agent, digits},
    server::Server,
    talk::Client,
};
use beckon_client::{error::Error, raw};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// How many user agents are taken back at the same time.
const AT_ONCE: usize = 8;

/// Unregisters what the clients of a server have registered, and returns the UAIDs that still have something after `limit`,
/// with the reason if there is one. A client without channels is none that a server has to remember.
pub async fn take_back(server: &Server, limit: Duration) -> Vec<String> {
    let (mut running, permits) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for agent in server.registrations().agents() {
        let (server, permits) = (server.clone(), Arc::clone(&permits));
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let unregistered = unregister(&server, &agent).await;
            if unregistered.is_ok() {
                server.registrations().forget(&agent);
            }
            unregistered.err().map(|error| (agent.uaid, error.to_string()))
        });
    }
    let mut failed = Vec::new();
    let all = async {
        while let Some(ended) = running.join_next().await {
            failed.extend(ended.ok().flatten());
        }
    };
    // What is not done by then is aborted.
    let _ = timeout(limit, all).await;
    let left = server.registrations().agents().into_iter().map(|Agent { uaid, .. }| {
        match failed.iter().find(|(failed, _)| *failed == uaid) {
            Some((_, reason)) => format!("{uaid}: {reason}"),
            None => uaid,
        }
    });
    left.collect()
}

async fn unregister(server: &Server, agent: &Agent) -> Result<(), Error> {
    let Agent { uaid, is_webpush, channels } = agent;
    let options = raw::Options { tls: server.trust(), ..raw::Options::default() };
    let mut client = server.try_connect_to(&server.ws_urls()[0], &options).await?;
    // A UAID whose hello lists a channel that the server has not registered is reset, with whatever that means there.
    let mut hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": []});
    if *is_webpush {
        hello["use_webpush"] = true.into();
    }
    client.socket().send_text(hello.to_string()).await?;
    let reply = reply(&mut client, "hello").await?;
    if digits(reply["uaid"].as_str().unwrap_or_default()) != digits(uaid) {
        // The server has forgotten it already.
        return Ok(());
    }
    for channel in channels.values() {
        let request = json!({"messageType": "unregister", "channelID": channel});
        client.socket().send_text(request.to_string()).await?;
        self::reply(&mut client, "unregister").await?;
    }
    Ok(())
}

/// The next message of this type; what else arrives is what was pending.
async fn reply(client: &mut Client, message_type: &str) -> Result<Value, Error> {
    let patience = client.patience();
    loop {
        let text = client.socket().text_within(patience).await?;
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        if message["messageType"] == message_type {
            let is_accepted = message["status"] == 200;
            return is_accepted.then_some(message).ok_or_else(|| Error::Unexpected(text.to_string()));
        }
    }
}
