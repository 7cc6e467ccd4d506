//! Fuzz targets for settings, and for what a process that hands over sends.

pub use crate::hand_over::fuzzing::hand_over_frames;

use crate::{
    config::{Secret, Source},
    program::ServerConfig,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What is a secret, and nowhere else in an input.
const SECRET: &str = "hunter2";

crate::settings! {
    /// One setting of each type.
    pub struct Settings {
        /// A switch.
        switch: bool = "false",
        /// A whole number.
        number: u32 = "7",
        /// A fraction.
        fraction: f64 = "0.5",
        /// A time.
        time: Duration = "30s",
        /// An address.
        address: SocketAddr = "127.0.0.1:1",
        /// Several addresses.
        addresses: Vec<SocketAddr> = "",
        /// A path.
        path: Option<PathBuf> = "",
        /// A secret.
        secret: Option<Secret> = "",
        /// A text.
        text: String,
    }
}

/// A file in TOML; after a line `--`, flags; after another one, variables with `=`. A flag counts before a variable, and a
/// variable before the file. In one of the three there is a secret besides, which no error shows.
pub fn config(data: &[u8]) {
    let Some(text) = without_secret(data) else { return };
    // These would read a file of this machine.
    if text.to_ascii_lowercase().contains("config") {
        return;
    }
    let mut parts = text.splitn(3, "\n--\n").map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (mut file, flags, variables) = (part(), part(), part());
    let mut flags: Vec<&str> = flags.lines().collect();
    let mut variables: Vec<(&str, &str)> =
        variables.lines().filter_map(|line| line.split_once('=')).collect();
    match data.len() % 3 {
        0 => file.push_str(&format!("\nsecret = \"{SECRET}\"\n")),
        1 => flags.extend(["--secret", SECRET]),
        _ => variables.push(("BECKON_SECRET", SECRET)),
    }
    let read = |flags: &[&str]| {
        let mut source = Source::with_text(flags, &variables, &file);
        let settings = Settings::read(&mut source);
        source.finish(settings)
    };
    match read(&flags) {
        Err(errors) => assert!(!errors.to_string().contains(SECRET), "{errors}"),
        Ok(settings) => {
            assert!(!format!("{settings:?}").contains(SECRET));
            let others: Vec<&str> = flags.iter().copied().filter(|flag| !flag.starts_with("--n")).collect();
            if others.len() == flags.len() {
                let with_flag = read(&[&flags[..], &["--number=8"]].concat());
                assert_eq!(with_flag.map(|settings| settings.number).ok(), Some(8));
            }
        }
    }
}

/// An input as text. One that has the secret itself may have it where an error shows what was given: a search learns the word
/// from the comparisons.
fn without_secret(data: &[u8]) -> Option<&str> {
    str::from_utf8(data).ok().filter(|text| !text.contains(SECRET))
}

/// Settings that name files, which are of this machine.
const FILES: [&str; 5] = ["tls", "config", "file", "cert", "key="];

/// Settings of a program in lines, as variables of the environment without their prefix. Besides them, the named one has two
/// secrets, which no error shows.
pub fn settings_of<C: ServerConfig>(data: &[u8], secret: &str) {
    let Some(text) = without_secret(data) else { return };
    let lines =
        text.lines().filter(|line| FILES.iter().all(|file| !line.to_ascii_lowercase().contains(file)));
    let secrets = format!("{SECRET}{SECRET},short");
    let mut variables = vec![(secret.to_owned(), secrets.as_str())];
    variables.extend(
        lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (format!("BECKON_{name}"), value)),
    );
    if let Err(errors) = C::read(Source::new([""; 0], variables)) {
        let text = errors.to_string();
        assert!(!text.is_empty() && !text.contains(SECRET), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_settings() {
        replay("config", super::config);
    }

    #[test]
    fn kept_frames_of_a_hand_over() {
        replay("hand_over_frames", super::hand_over_frames);
    }
}
