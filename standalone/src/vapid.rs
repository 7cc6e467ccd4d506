//! `beckon vapid`: keys with which an application server identifies itself (RFC 8292), and tokens made with them.

use beckon_client::vapid::{Claims, Credential, Scheme, Signer, origin_of};
use beckon_ops::{exit::Failure, program::print};
use http::Uri;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

const HELP: &str = "\
beckon vapid: keys with which an application server identifies itself

Usage: beckon vapid
       beckon vapid token FILE ENDPOINT [--subject URL]

  Without arguments: prints a new key pair as JSON, for a FILE of your own. User agents restrict endpoints to its
  publicKey (applicationServerKey of a web page, `beckon listen --web-push --vapid-key`). Keep the file secret.
  token: prints the header Authorization for a request to ENDPOINT, valid for 12 hours.

  --subject URL  mailto: or https: URL at which the operator of the push service can reach you
";

/// How long a token is valid. Servers refuse more than 24 hours.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A key pair as libraries print it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyPair {
    public_key: String,
    private_key: String,
}

/// Runs `beckon vapid`.
pub(crate) fn run(mut parser: lexopt::Parser) -> Result<(), Failure> {
    use lexopt::prelude::*;
    let (mut words, mut subject) = (Vec::new(), None);
    while let Some(argument) = parser.next().map_err(Failure::usage)? {
        match argument {
            Short('h') | Long("help") => return print(HELP),
            Long("subject") => subject = Some(text(parser.value())?),
            Value(value) => words.push(text(Ok(value))?),
            Short(_) | Long(_) => return Err(Failure::usage(argument.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => print_new(),
        ["token", file, endpoint] => {
            let credential = credential(&read(Path::new(file))?, endpoint, subject.as_deref())?;
            print(&format!("Authorization: {}\n", credential.authorization))
        }
        _ => Err(Failure::usage("expected no arguments, or token FILE ENDPOINT; see beckon vapid --help")),
    }
}

fn text(value: Result<std::ffi::OsString, lexopt::Error>) -> Result<String, Failure> {
    use lexopt::ValueExt as _;
    value.and_then(|value| value.string()).map_err(Failure::usage)
}

fn print_new() -> Result<(), Failure> {
    let (signer, private_key) = Signer::generate().map_err(Failure::unavailable)?;
    let pair = KeyPair { public_key: signer.public_key().to_owned(), private_key };
    let json = serde_json::to_string_pretty(&pair).map_err(Failure::software)?;
    print(&format!("{json}\n"))
}

/// Reads a key pair that `beckon vapid` has printed.
///
/// # Errors
/// Exit code 64: there is no such file, or it holds something else.
pub(crate) fn read(path: &Path) -> Result<Signer, Failure> {
    let invalid = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
    let json = fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let pair: KeyPair = serde_json::from_str(&json).map_err(|error| invalid(error.to_string()))?;
    Signer::from_texts(&pair.private_key, &pair.public_key).map_err(|error| invalid(error.to_string()))
}

/// A credential for requests to this endpoint.
///
/// # Errors
/// Exit code 64: the endpoint is not an http or https URL.
pub(crate) fn credential(
    signer: &Signer,
    endpoint: &str,
    subject: Option<&str>,
) -> Result<Credential, Failure> {
    let audience = endpoint.parse::<Uri>().ok().and_then(|uri| origin_of(&uri));
    let audience =
        audience.ok_or_else(|| Failure::usage(format!("`{endpoint}` is not an http or https URL")))?;
    #[expect(clippy::disallowed_methods, reason = "the token says until when it is valid")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(Failure::software)?;
    let claims = Claims { audience: &audience, expires: now + LIFETIME, subject };
    signer.credential(Scheme::Vapid, &claims).map_err(Failure::unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_key_pair_is_read_again() {
        let (signer, private_key) = Signer::generate().unwrap();
        let pair = KeyPair { public_key: signer.public_key().to_owned(), private_key };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vapid.json");
        fs::write(&path, serde_json::to_string(&pair).unwrap()).unwrap();
        let again = read(&path).unwrap();
        assert_eq!(again.public_key(), signer.public_key());
        let header = credential(&again, "https://push.example/wpush/v2/x", None).unwrap().authorization;
        assert!(header.starts_with("vapid t="), "{header}");
        assert!(credential(&again, "push.example", None).is_err());
        fs::write(&path, r#"{"publicKey": "x", "privateKey": "y"}"#).unwrap();
        assert!(read(&path).is_err());
        assert!(read(Path::new("/nowhere/vapid.json")).is_err());
    }
}
