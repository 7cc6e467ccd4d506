//! `beckon vapid`: keys with which an application server identifies itself (RFC 8292), and tokens made with them.

use beckon_client::vapid::{Claims, Credential, Scheme, Signer, origin_of};
use beckon_ops::{exit::Failure, program::print};
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use http::Uri;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// `beckon vapid`.
pub(crate) fn command() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_hint(ValueHint::FilePath);
    let endpoint = Arg::new("endpoint").value_name("ENDPOINT").required(true).value_hint(ValueHint::Url);
    let subject = Arg::new("subject").long("subject").value_name("URL");
    let token = Command::new("token")
        .about("Print the header Authorization for a request to an endpoint, valid for 12 hours")
        .arg(file.value_parser(value_parser!(PathBuf)).help("Key pair, as `beckon vapid` prints it"))
        .arg(endpoint.help("URL that a user agent received for its channel"))
        .arg(subject.help("mailto: or https: URL at which the operator of the push service can reach you"));
    Command::new("vapid")
        .about("Print a key pair that identifies an application server")
        .subcommand(token)
        .after_help(
            "Without a command: prints a new key pair as JSON, for a FILE of your own. User agents restrict endpoints to \
             its publicKey (applicationServerKey of a web page, `beckon listen --web-push --vapid-key`). Keep the file \
             secret.",
        )
}

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
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((_, matches)) = matches.subcommand() else { return print_new() };
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let file = matches.get_one::<PathBuf>("file").map(PathBuf::as_path).unwrap_or(Path::new(""));
    let credential = credential(&read(file)?, text("endpoint").unwrap_or_default(), text("subject"))?;
    print(&format!("Authorization: {}\n", credential.authorization))
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
