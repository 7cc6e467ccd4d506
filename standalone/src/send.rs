//! `beckon send`: an application server on the command line.

use crate::vapid;
use beckon_client::{
    app_server::{Accepted, AppServer, SendError},
    vapid::origin_of,
    webpush::{
        encryption::{EncryptError, Recipient},
        post::Post,
    },
};
use beckon_ops::{
    exit::{self, Failure},
    program::{print, printable},
};
use beckon_proto::transport::chain;
use beckon_types::{Urgency, Version, WEB_PUSH_PATH};
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
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

/// `beckon send`.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let web_push = [
        option("p256dh", "KEY", "Public key of the user agent").requires("auth"),
        option("auth", "SECRET", "Secret of the user agent").requires("p256dh"),
        option(
            "ttl",
            "SECONDS",
            "How long a message is kept for a user agent that is not connected [default: 86400]",
        )
        .value_parser(value_parser!(u64)),
        option("urgency", "LEVEL", "very-low, low, normal or high [default: normal]").value_parser(urgency),
        option("topic", "TOPIC", "Replaces a message of the same topic that is still kept"),
        option("vapid", "FILE", "Key pair with which to sign, as `beckon vapid` prints it")
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf)),
        option(
            "subject",
            "URL",
            "mailto: or https: URL at which the operator of the push service can reach you; for --vapid",
        )
        .requires("vapid"),
    ];
    Command::new("send")
        .about("Send a notification to an endpoint")
        .override_usage(
            "beckon send ENDPOINT [--version N] [--data TEXT]                      (SimplePush)\n       \
             beckon send ENDPOINT [--p256dh KEY --auth SECRET --data TEXT] [OPTIONS] (Web Push)\n       \
             beckon send - --data TEXT [OPTIONS] < SUBSCRIPTION                      (Web Push)",
        )
        .arg(Arg::new("endpoint").value_name("ENDPOINT").required(true).value_hint(ValueHint::Url).help(
            "URL that a user agent received for its channel; one with /wpush/ in it is for Web Push. With -, endpoint \
             and keys are read from stdin: JSON as PushSubscription.toJSON() of a web page gives it",
        ))
        .arg(
            option("data", "TEXT", "What arrives: for SimplePush only if the user agent is connected; for Web Push \
                encrypted, and without it the message only wakes the user agent")
            .allow_hyphen_values(true),
        )
        .arg(
            option("version", "N", "For SimplePush: 0 to 9223372036854775807 [default: the server's time]")
                .allow_hyphen_values(true)
                .value_parser(|text: &str| Version::parse(text)),
        )
        .args(web_push.map(|arg| arg.help_heading("Web Push")))
        .after_help(
            "Exit code: 0 accepted, 1 refused, 64 invalid arguments, 69 server not reachable or not able to store it.",
        )
}

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
    /// # Errors
    /// They contradict each other.
    fn of(matches: &ArgMatches) -> Result<Self, &'static str> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let message = Message {
            p256dh: text("p256dh"),
            auth: text("auth"),
            ttl: matches.get_one("ttl").copied().map(Duration::from_secs),
            urgency: matches.get_one("urgency").copied(),
            topic: text("topic"),
            vapid: matches.get_one("vapid").cloned(),
            subject: text("subject"),
        };
        let endpoint = text("endpoint").unwrap_or_default();
        let version = matches.get_one("version").copied();
        let arguments = Self { endpoint, version, data: text("data"), message };
        arguments.check()?;
        Ok(arguments)
    }

    fn check(&self) -> Result<(), &'static str> {
        let p256dh = &self.message.p256dh;
        let is_stdin = self.endpoint == STDIN;
        if !self.is_web_push() && self.message != Message::default() {
            return Err("--version and --data are all that a SimplePush endpoint takes");
        }
        if self.is_web_push() && self.version.is_some() {
            return Err("--version is for SimplePush, but this is a Web Push endpoint");
        }
        if is_stdin && p256dh.is_some() {
            return Err("the subscription on stdin has the keys, so --p256dh and --auth must not be given");
        }
        if self.is_web_push() && !is_stdin && self.data.is_some() && p256dh.is_none() {
            return Err("--data must be encrypted for the user agent; give its --p256dh and --auth");
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
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let mut arguments = Arguments::of(matches).map_err(Failure::usage)?;
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
        Err(error) => Err(failure(endpoint, &error)),
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
    let posted =
        AppServer::default().post(endpoint, &post).await.map_err(|error| failure(endpoint, &error))?;
    Ok(format!("accepted for {} s (201)", posted.ttl.as_secs()))
}

/// Names the server where it has not answered. Not the whole endpoint, which admits its reader.
fn failure(endpoint: &str, error: &SendError) -> Failure {
    let origin = endpoint.parse().ok().and_then(|uri| origin_of(&uri)).unwrap_or_default();
    let message = match error {
        SendError::TimedOut(_) | SendError::Failed(_) => format!("{origin}: {}", chain(error)),
        SendError::InvalidEndpoint { .. } | SendError::Refused { .. } | _ => chain(error),
    };
    // The server has written a part of it.
    Failure { code: code_of(error), message: printable(&message).into_owned() }
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

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let matches = command().no_binary_name(true).try_get_matches_from(arguments);
        let matches = matches.map_err(|error| error.to_string())?;
        Arguments::of(&matches).map_err(str::to_owned)
    }

    #[test]
    fn the_endpoint_is_required_and_the_rest_is_not() {
        let endpoint = "http://push.example/update/x";
        let bare = Arguments { endpoint: endpoint.into(), ..Arguments::default() };
        assert_eq!(parse(&[endpoint]), Ok(bare));
        let full = Arguments {
            endpoint: endpoint.into(),
            version: Version::new(7).ok(),
            data: Some("look here".into()),
            message: Message::default(),
        };
        assert_eq!(parse(&["--version=7", endpoint, "--data", "look here"]), Ok(full));
        let endpoint = "http://push.example/wpush/v1/x";
        let message = Message { ttl: Some(Duration::from_secs(60)), ..Message::default() };
        let wake = Arguments { endpoint: endpoint.into(), message, ..Arguments::default() };
        assert_eq!(parse(&[endpoint, "--ttl", "60"]), Ok(wake));
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
        assert_eq!(parse(&words), Ok(full));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, reason) in [
            (&[][..], "<ENDPOINT>"),
            (&["http://a/", "--version", "-1"], "decimal number"),
            (&["http://a/", "--version"], "a value is required"),
            (&["http://a/", "http://b/"], "http://b/"),
            (&["http://a/", "--loud"], "--loud"),
            (&["http://a/wpush/v1/x", "--data", "x"], "--p256dh"),
            (&["http://a/wpush/v1/x", "--auth", "x"], "--p256dh"),
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
