//! The application server's side of Web Push: POST to an endpoint, and cancel a message (PROTOCOL.md section 5).

use crate::{
    app_server::{AppServer, SendError, reason},
    error::retry_after,
    vapid::Credential,
};
use beckon_types::{Encoding, Payload, Urgency};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use std::time::Duration;

/// A message for an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Post<'a> {
    /// How long it is stored for a user agent that is not connected. Zero: it is not stored. Servers shorten it to their
    /// maximum, often 30 days, and [`Posted::ttl`] is the result.
    pub ttl: Duration,
    /// It replaces a stored message of the same topic. 1 to 32 characters of base64url.
    pub topic: Option<&'a str>,
    /// How soon it matters. `Normal` by default.
    pub urgency: Urgency,
    /// The content, encrypted for the user agent; `None` only wakes it.
    pub payload: Option<Payload>,
    /// Identifies the sender. Required for endpoints that are restricted to a key.
    pub credential: Option<&'a Credential>,
}

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The URL of the message, for [`AppServer::cancel`].
    pub location: String,
    /// How long it is stored.
    pub ttl: Duration,
}

impl AppServer {
    /// Sends a message. After a failed connection it is not sent again: the message may have been accepted, and the user
    /// would see it twice.
    ///
    /// # Errors
    ///
    /// [`SendError`] says for each variant whether the message may have been accepted.
    pub async fn post(&self, endpoint: &str, post: &Post<'_>) -> Result<Posted, SendError> {
        let request = post
            .headers(Request::builder().method(Method::POST).uri(endpoint))
            .body(post.payload.as_ref().map_or_else(Bytes::new, |payload| payload.body.clone()))
            .map_err(|error| invalid(endpoint, &error))?;
        let response = self.request(request).await?;
        if response.status() != StatusCode::CREATED {
            return Err(refused(&response));
        }
        let text = |name| text_of(response.headers(), &name);
        let location = text(header::LOCATION).ok_or_else(|| missing("Location"))?;
        let ttl = text(TTL).and_then(|ttl| ttl.parse().ok()).ok_or_else(|| missing("TTL"))?;
        Ok(Posted { location: location.to_owned(), ttl: Duration::from_secs(ttl) })
    }

    /// Cancels a message by its location. Cancelling a message that is no longer stored succeeds.
    ///
    /// # Errors
    ///
    /// [`SendError`]: after [`SendError::TimedOut`] and [`SendError::Failed`], the message may have been cancelled.
    pub async fn cancel(&self, location: &str) -> Result<(), SendError> {
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(location)
            .body(Bytes::new())
            .map_err(|error| invalid(location, &error))?;
        let response = self.request(request).await?;
        if response.status() == StatusCode::NO_CONTENT { Ok(()) } else { Err(refused(&response)) }
    }
}

const TTL: header::HeaderName = header::HeaderName::from_static("ttl");

impl Post<'_> {
    fn headers(&self, mut request: request::Builder) -> request::Builder {
        request = request.header(TTL, self.ttl.as_secs());
        if let Some(topic) = self.topic {
            request = request.header("topic", topic);
        }
        if self.urgency != Urgency::default() {
            request = request.header("urgency", self.urgency.name());
        }
        let mut crypto_keys = Vec::new();
        match self.payload.as_ref().map(|payload| &payload.encoding) {
            Some(Encoding::Aes128gcm) => request = request.header(header::CONTENT_ENCODING, "aes128gcm"),
            Some(Encoding::Aesgcm { encryption, crypto_key }) => {
                request =
                    request.header(header::CONTENT_ENCODING, "aesgcm").header("encryption", &**encryption);
                crypto_keys.push(&**crypto_key);
            }
            None => {}
        }
        if let Some(credential) = self.credential {
            request = request.header(header::AUTHORIZATION, &credential.authorization);
            crypto_keys.extend(credential.crypto_key.as_deref());
        }
        if !crypto_keys.is_empty() {
            request = request.header("crypto-key", crypto_keys.join(";"));
        }
        request
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn invalid(endpoint: &str, error: &http::Error) -> SendError {
    SendError::InvalidEndpoint { endpoint: endpoint.to_owned(), reason: error.to_string() }
}

fn missing(name: &str) -> SendError {
    SendError::Failed(format!("the accepted message has no usable {name}").into())
}

fn refused(response: &Response<Bytes>) -> SendError {
    SendError::Refused {
        status: response.status(),
        retry_after: retry_after(response.headers()),
        reason: reason(response.body()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vapid::Scheme;

    fn headers(post: &Post<'_>) -> Vec<(String, String)> {
        let request = post.headers(Request::builder()).body(()).unwrap();
        let line = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        request.headers().iter().map(line).collect()
    }

    fn payload(encoding: Encoding) -> Option<Payload> {
        Some(Payload { encoding, body: Bytes::from_static(b"x") })
    }

    #[test]
    fn a_message_is_written_as_the_headers_of_rfc_8030() {
        let aesgcm = Encoding::Aesgcm { encryption: "salt=s".into(), crypto_key: "dh=d".into() };
        let old = Credential::new(Scheme::WebPush, "t.o.k", "BKey");
        let new = Credential::new(Scheme::Vapid, "t.o.k", "BKey");
        let minute = Duration::from_secs(60);
        for (post, expected) in [
            (Post::default(), &[("ttl", "0")][..]),
            (
                Post {
                    ttl: minute,
                    topic: Some("news"),
                    urgency: Urgency::VeryLow,
                    payload: payload(Encoding::Aes128gcm),
                    credential: Some(&new),
                },
                &[
                    ("ttl", "60"),
                    ("topic", "news"),
                    ("urgency", "very-low"),
                    ("content-encoding", "aes128gcm"),
                    ("authorization", "vapid t=t.o.k, k=BKey"),
                ],
            ),
            (
                Post { ttl: minute, payload: payload(aesgcm), credential: Some(&old), ..Post::default() },
                &[
                    ("ttl", "60"),
                    ("content-encoding", "aesgcm"),
                    ("encryption", "salt=s"),
                    ("authorization", "WebPush t.o.k"),
                    ("crypto-key", "dh=d;p256ecdsa=BKey"),
                ],
            ),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(headers(&post), expected);
        }
    }
}
