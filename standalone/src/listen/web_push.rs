//! `beckon listen --web-push`: a device that speaks Web Push and shows what its messages say.

use super::report::{failure, quoted, report};
use crate::itself::program;
use beckon_client::webpush::{
    device::{Content, Device, Event, Identity, Options},
    encryption::DeviceKeys,
};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What the file of `--state` holds: the device, so that the next run is the same one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    #[serde(skip_serializing_if = "Option::is_none")]
    uaid: Option<String>,
    #[serde(rename = "channelID")]
    channel: String,
    private_key: String,
    auth: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vapid_key: Option<String>,
}

impl State {
    fn of(identity: &Identity) -> Self {
        Self {
            uaid: identity.uaid.clone(),
            channel: identity.channel.clone(),
            private_key: identity.keys.secret_text(),
            auth: identity.keys.recipient().auth(),
            vapid_key: identity.restricted_to.clone(),
        }
    }
}

/// Runs until Ctrl-C, or until stdout is closed.
///
/// # Errors
/// The first connection fails, or the file cannot be read or written.
pub(super) async fn listen(
    url: &str,
    vapid_key: Option<String>,
    state: Option<&Path>,
) -> Result<(), Failure> {
    let identity = match state.map(|path| read(path, vapid_key.as_deref())).transpose()?.flatten() {
        Some(identity) => identity,
        None => Identity::new(DeviceKeys::generate().map_err(Failure::unavailable)?, vapid_key),
    };
    let mut device = Device::new(url, identity, Options::default());
    let mut shown = None;
    loop {
        match device.next_event().await {
            Event::Message(content) => {
                // A closed pipe (`| head -1`) ends the command.
                if print(&line_of(&content)).is_err() {
                    return Ok(());
                }
            }
            Event::Connected { endpoint } => {
                if let Some(path) = state {
                    write(path, &State::of(device.identity()))?;
                }
                if shown.as_ref() == Some(&endpoint) {
                    report("connected again, same endpoint");
                } else {
                    report(&format!("connected to {url} (Web Push)"));
                    introduce(device.identity(), &endpoint)?;
                    shown = Some(endpoint);
                }
            }
            Event::Disconnected { error, .. } if shown.is_none() => return Err(failure(error)),
            Event::Disconnected { error, retry_in } => {
                report(&format!("not connected: {error}; trying again in {:.1} s", retry_in.as_secs_f64()));
            }
        }
    }
}

/// Shows what senders need, and how to send.
fn introduce(identity: &Identity, endpoint: &str) -> Result<(), Failure> {
    let recipient = identity.keys.recipient();
    let (p256dh, auth) = (recipient.p256dh(), recipient.auth());
    let restriction = match identity.restricted_to {
        Some(_) => " --vapid FILE",
        None => "",
    };
    let try_it = quoted(endpoint).map(|endpoint| {
        let program = program();
        format!(
            "try      {program} send {endpoint} --p256dh={p256dh} --auth={auth} --data=Hello{restriction}\n"
        )
    });
    print(&format!(
        "endpoint {}\np256dh   {p256dh}\nauth     {auth}\n{}",
        printable(endpoint),
        try_it.unwrap_or_default()
    ))
}

/// One line for a message. Anyone may have sent it, so control characters are escaped.
fn line_of(content: &Content) -> String {
    match content {
        Content::Decrypted(bytes) => match str::from_utf8(bytes) {
            Ok(text) => format!("message  {text:?}\n"),
            Err(_) => format!("message  {} bytes that are not text\n", bytes.len()),
        },
        Content::Empty => "message  without content\n".to_owned(),
        Content::Undecryptable => "message  that cannot be decrypted\n".to_owned(),
    }
}

/// The device of the file; `None` if there is no file yet.
fn read(path: &Path, vapid_key: Option<&str>) -> Result<Option<Identity>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::unavailable(format!("{}: {error}", path.display()))),
    };
    let invalid = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
    let state: State = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let keys =
        DeviceKeys::parse(&state.private_key, &state.auth).map_err(|error| invalid(error.to_string()))?;
    if vapid_key.is_some() && vapid_key != state.vapid_key.as_deref() {
        return Err(invalid("was made with another --vapid-key; use another file".to_owned()));
    }
    let (uaid, channel, restricted_to) = (state.uaid, state.channel, state.vapid_key);
    Ok(Some(Identity { uaid, channel, keys, restricted_to }))
}

/// Replaces the file as a whole, so that a crash leaves the former one.
fn write(path: &Path, state: &State) -> Result<(), Failure> {
    let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let text = serde_json::to_string_pretty(state).map_err(Failure::software)?;
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600).open(&beside);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(unavailable)?;
    fs::rename(&beside, path).map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_holds_the_same_device_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.json");
        assert!(read(&path, None).unwrap().is_none());
        let mut identity = Identity::new(DeviceKeys::generate().unwrap(), Some("BKey".to_owned()));
        identity.uaid = Some("u".to_owned());
        write(&path, &State::of(&identity)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for vapid_key in [None, Some("BKey")] {
            let again = read(&path, vapid_key).unwrap().unwrap();
            assert_eq!(again.keys.recipient(), identity.keys.recipient());
            assert_eq!((again.uaid, again.channel), (identity.uaid.clone(), identity.channel.clone()));
            assert_eq!(again.restricted_to.as_deref(), Some("BKey"));
        }
        assert!(read(&path, Some("BOther")).is_err());
        fs::write(&path, "{}").unwrap();
        assert!(read(&path, None).is_err());
    }

    #[test]
    fn a_message_cannot_control_the_terminal() {
        let shown = line_of(&Content::Decrypted(b"a\x1b[2J\nb".to_vec()));
        assert_eq!(shown, "message  \"a\\u{1b}[2J\\nb\"\n");
    }
}
