//! `beckon send`: an application server on the command line.

use crate::vapid;
use beckon_client::{
    app_server::{Accepted, AppServer, SendError},
    webpush::{
        encryption::{EncryptError, Recipient},
        post::Post,
    },
};
use beckon_ops::{
    exit::{self, Failure},
    program::print,
};
use beckon_proto::transport::chain;
use beckon_types::{Urgency, Version, WEB_PUSH_PATH};
use serde::Deserialize;
use std::{
    io::{self, Read as _},
    path::PathBuf,
    time::Duration,
};

/// The endpoint that stands for the subscription on stdin.
const STDIN: &str = "-";

/// Exit code if the server has refused the notification: sending it again does not help.
const REFUSED: u8 = 1;

/// The text of `beckon send --help`.
pub(crate) const HELP: &str = "\
beckon send: send a notification to an endpoint

Usage: beckon send ENDPOINT [--version N] [--data TEXT]                            SimplePush
       beckon send ENDPOINT [--p256dh KEY --auth SECRET --data TEXT] [OPTIONS]     Web Push
       beckon send - --data TEXT [OPTIONS] < SUBSCRIPTION                          Web Push

  ENDPOINT         URL that a user agent received for its channel; one with /wpush/ in it is for Web Push
  -                read endpoint and keys from stdin: JSON as PushSubscription.toJSON() of a web page gives it
  --version N      0 to 9223372036854775807 [default: the server's Unix time in seconds]
  --data TEXT      SimplePush: reaches the user agent only if it is connected
                   Web Push: the content, encrypted for the user agent; without it the message only wakes it
  --p256dh KEY     public key of the user agent
  --auth SECRET    secret of the user agent
  --ttl SECONDS    how long a message is kept for a user agent that is not connected [default: 86400]
  --urgency LEVEL  very-low, low, normal or high [default: normal]
  --topic TOPIC    replaces a message of the same topic that is still kept
  --vapid FILE     key pair with which to sign, as `beckon vapid` prints it
  --subject URL    mailto: or https: URL at which the operator of the push service can reach you; for --vapid

Exit code: 0 accepted, 1 refused, 64 invalid arguments, 69 server not reachable or not able to store it.
";

/// The default of `--ttl`.
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest subscription that is read from stdin, in bytes.
const SUBSCRIPTION_LEN_MAX: u64 = 64 * 1024;

/// The arguments of the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Where to send; `-` for the subscription on stdin.
    pub(crate) endpoint: String,
    /// The version; the server's time if none is given.
    pub(crate) version: Option<Version>,
    /// The data.
    pub(crate) data: Option<String>,
    /// What only a Web Push message has.
    pub(crate) message: Message,
}

/// What only a Web Push message has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    p256dh: Option<String>,
    auth: Option<String>,
    ttl: Option<Duration>,
    urgency: Option<Urgency>,
    topic: Option<String>,
    vapid: Option<PathBuf>,
    subject: Option<String>,
}

/// A subscription as a web page gets it (Push API, `PushSubscriptionJSON`).
#[derive(Deserialize)]
struct Subscription {
    endpoint: String,
    keys: Keys,
}

#[derive(Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

impl Arguments {
    /// Parses what follows `send`; `None` for `--help`.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let mut arguments = Self::default();
        let mut endpoint = None;
        while let Some(argument) = parser.next()? {
            let message = &mut arguments.message;
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("version") => arguments.version = Some(parser.value()?.parse_with(Version::parse)?),
                Long("data") => arguments.data = Some(parser.value()?.string()?),
                Long("p256dh") => message.p256dh = Some(parser.value()?.string()?),
                Long("auth") => message.auth = Some(parser.value()?.string()?),
                Long("ttl") => message.ttl = Some(Duration::from_secs(parser.value()?.parse()?)),
                Long("urgency") => message.urgency = Some(parser.value()?.parse_with(urgency)?),
                Long("topic") => message.topic = Some(parser.value()?.string()?),
                Long("vapid") => message.vapid = Some(parser.value()?.into()),
                Long("subject") => message.subject = Some(parser.value()?.string()?),
                Value(value) if endpoint.is_none() => endpoint = Some(value.string()?),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        arguments.endpoint = endpoint.ok_or("ENDPOINT is missing; see beckon send --help")?;
        arguments.check()?;
        Ok(Some(arguments))
    }

    fn check(&self) -> Result<(), &'static str> {
        let Message { p256dh, auth, vapid, subject, .. } = &self.message;
        let is_stdin = self.endpoint == STDIN;
        if !self.is_web_push() && self.message != Message::default() {
            return Err("--version and --data are all that a SimplePush endpoint takes");
        }
        if self.is_web_push() && self.version.is_some() {
            return Err("--version is for SimplePush, but this is a Web Push endpoint");
        }
        if p256dh.is_some() != auth.is_some() {
            return Err("--p256dh and --auth must be given together");
        }
        if is_stdin && p256dh.is_some() {
            return Err("the subscription on stdin has the keys, so --p256dh and --auth must not be given");
        }
        if self.is_web_push() && !is_stdin && self.data.is_some() && p256dh.is_none() {
            return Err("--data must be encrypted for the user agent; give its --p256dh and --auth");
        }
        if subject.is_some() && vapid.is_none() {
            return Err("--subject is for --vapid");
        }
        Ok(())
    }

    fn is_web_push(&self) -> bool {
        self.endpoint == STDIN || self.endpoint.contains(WEB_PUSH_PATH)
    }
}

fn urgency(name: &str) -> Result<Urgency, &'static str> {
    Urgency::parse(name).ok_or("must be very-low, low, normal or high")
}

/// Runs `beckon send`.
pub(crate) async fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    let Some(mut arguments) = Arguments::parse(parser).map_err(Failure::usage)? else {
        return print(HELP);
    };
    if arguments.endpoint == STDIN {
        let Subscription { endpoint, keys } = read_subscription(io::stdin())?;
        arguments.endpoint = endpoint;
        (arguments.message.p256dh, arguments.message.auth) = (Some(keys.p256dh), Some(keys.auth));
    }
    let outcome = match arguments.is_web_push() {
        true => post(&arguments).await?,
        false => put(&arguments).await?,
    };
    print(&format!("{outcome}\n"))
}

fn read_subscription(input: impl io::Read) -> Result<Subscription, Failure> {
    let mut json = String::new();
    let read = input.take(SUBSCRIPTION_LEN_MAX).read_to_string(&mut json);
    read.map_err(|error| Failure::usage(format!("stdin: {error}")))?;
    serde_json::from_str(&json)
        .map_err(|error| Failure::usage(format!("stdin is not a push subscription as JSON: {error}")))
}

/// Sends a version, and describes the outcome.
async fn put(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { endpoint, version, data, .. } = arguments;
    match AppServer::default().put(endpoint, *version, data.as_deref()).await {
        Ok(Accepted::Delivered) => Ok("delivered to a connected client (200)".to_owned()),
        Ok(Accepted::Stored) => Ok("stored, client offline (202)".to_owned()),
        Err(error) => Err(failure(&error)),
    }
}

/// Encrypts and sends a message, and describes the outcome.
async fn post(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { endpoint, data, message, .. } = arguments;
    let payload = match (&message.p256dh, &message.auth, data) {
        (Some(p256dh), Some(auth), Some(data)) => {
            let recipient = Recipient::parse(p256dh, auth).map_err(Failure::usage)?;
            Some(recipient.encrypt(data.as_bytes()).map_err(|error| match error {
                EncryptError::TooLong => Failure::usage(error),
                EncryptError::NoRandomness(_) => Failure::unavailable(error),
            })?)
        }
        _ => None,
    };
    let signer = message.vapid.as_deref().map(vapid::read).transpose()?;
    let subject = message.subject.as_deref();
    let credential = signer.map(|signer| vapid::credential(&signer, endpoint, subject)).transpose()?;
    let post = Post {
        ttl: message.ttl.unwrap_or(TTL_DEFAULT),
        topic: message.topic.as_deref(),
        urgency: message.urgency.unwrap_or_default(),
        payload,
        credential: credential.as_ref(),
    };
    let posted = AppServer::default().post(endpoint, &post).await.map_err(|error| failure(&error))?;
    Ok(format!("accepted for {} s (201)", posted.ttl.as_secs()))
}

fn failure(error: &SendError) -> Failure {
    Failure { code: code_of(error), message: chain(error) }
}

fn code_of(error: &SendError) -> u8 {
    match error {
        SendError::InvalidEndpoint { .. } => exit::USAGE,
        SendError::Refused { status, .. } if status.is_server_error() => exit::UNAVAILABLE,
        SendError::Refused { .. } => REFUSED,
        SendError::TimedOut(_) | SendError::Failed(_) | _ => exit::UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Arguments>, String> {
        Arguments::parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_endpoint_is_required_and_the_rest_is_not() {
        let endpoint = "http://push.example/update/x";
        let bare = Arguments { endpoint: endpoint.into(), ..Arguments::default() };
        assert_eq!(parse(&[endpoint]), Ok(Some(bare)));
        let full = Arguments {
            endpoint: endpoint.into(),
            version: Version::new(7).ok(),
            data: Some("look here".into()),
            message: Message::default(),
        };
        assert_eq!(parse(&["--version=7", endpoint, "--data", "look here"]), Ok(Some(full)));
        let endpoint = "http://push.example/wpush/v1/x";
        let message = Message { ttl: Some(Duration::from_secs(60)), ..Message::default() };
        let wake = Arguments { endpoint: endpoint.into(), message, ..Arguments::default() };
        assert_eq!(parse(&[endpoint, "--ttl", "60"]), Ok(Some(wake)));
        let message = Message {
            p256dh: Some("k".into()),
            auth: Some("a".into()),
            urgency: Some(Urgency::VeryLow),
            topic: Some("t".into()),
            vapid: Some("f".into()),
            subject: Some("mailto:a@b.example".into()),
            ttl: None,
        };
        let data = Some("x".into());
        let full = Arguments { endpoint: endpoint.into(), version: None, data, message };
        let arguments =
            ["--p256dh=k", "--auth=a", "--urgency=very-low", "--topic=t", "--vapid=f", "--data=x"];
        let words = [&[endpoint, "--subject=mailto:a@b.example"], &arguments[..]].concat();
        assert_eq!(parse(&words), Ok(Some(full)));
        assert_eq!(parse(&["-h"]), Ok(None));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, reason) in [
            (&[][..], "ENDPOINT is missing"),
            (&["http://a/", "--version", "-1"], "decimal number"),
            (&["http://a/", "--version"], "missing argument"),
            (&["http://a/", "http://b/"], "http://b/"),
            (&["http://a/", "--loud"], "--loud"),
            (&["http://a/wpush/v1/x", "--data", "x"], "--p256dh"),
            (&["http://a/wpush/v1/x", "--auth", "x"], "together"),
            (&["http://a/wpush/v1/x", "--version", "1"], "SimplePush"),
            (&["http://a/wpush/v1/x", "--urgency", "now"], "very-low"),
            (&["http://a/wpush/v1/x", "--subject", "mailto:a@b.example"], "--vapid"),
            (&["-", "--p256dh", "k", "--auth", "a"], "stdin"),
            (&["http://a/update/x", "--ttl", "1"], "SimplePush"),
            (&["http://a/wpush/v1/x", "--ttl", "soon"], "soon"),
        ] {
            let error = parse(arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_subscription_is_read_as_web_pages_write_it() {
        let json =
            r#"{"endpoint":"http://a/wpush/v1/x","expirationTime":null,"keys":{"auth":"a","p256dh":"k"}}"#;
        let subscription = read_subscription(json.as_bytes()).unwrap();
        assert_eq!((&*subscription.endpoint, &*subscription.keys.p256dh), ("http://a/wpush/v1/x", "k"));
        assert!(read_subscription(&b"{}"[..]).is_err());
    }
}
