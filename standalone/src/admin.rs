//! Requests of the commands to the admin listener of a node.

use crate::{
    admin_token,
    config::{Config, ProcessSettings, reachable},
};
use beckon_client::app_server::{self, AppServer, Options, SendError};
use beckon_node::access::{AdminSettings, Tokens};
use beckon_ops::{
    config::{Source, arguments, given},
    exit::{self, Failure},
    program::printable,
};
use beckon_proto::transport::chain;
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command, ValueHint};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use serde::de::DeserializeOwned;
use std::ffi::OsString;

/// What help shows before the arguments that say where the admin listener is.
const HEADING: &str = "Where to ask";

/// Exit code if the server has refused: trying again does not help.
pub(crate) const REFUSED: u8 = 1;

/// The longest answer that is read, in bytes. The overview of 500 nodes has about half a megabyte.
const ANSWER_LEN_MAX: usize = 16 * 1024 * 1024;

/// The settings of the server that say where its token is.
const SETTINGS: [&str; 3] = ["admin_token_file", "data_dir", "config"];

/// Where the requests of a command go, and what they show there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AdminListener {
    /// `None`: where the settings of the server say.
    url: Option<String>,
    /// Flags of the server that say where its token is, and where it listens.
    flags: Vec<OsString>,
}

/// Adds to a command the arguments that say which admin listener it asks.
pub(crate) fn asking(command: Command) -> Command {
    let url = Arg::new("admin").long("admin").value_name("URL");
    let settings = arguments(Config::PARTS, Config::DEFAULTS);
    let settings = settings.into_iter().filter(|arg| SETTINGS.contains(&arg.get_id().as_str()));
    command
        .arg(url.value_hint(ValueHint::Url).help_heading(HEADING).help(
            "Admin listener of a node or of beckon [default: http:// and its admin_listen, 127.0.0.1:8083]",
        ))
        .args(settings.map(|arg| arg.help_heading(HEADING)))
        .after_help(
            "Exit code: 0 done, 1 refused, 64 invalid arguments, 69 server or its store not reachable.",
        )
}

impl AdminListener {
    /// The one that the arguments of [`asking`] say.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        Self { url: matches.get_one("admin").cloned(), flags: given(matches, SETTINGS) }
    }

    /// The one at this URL, with the token of this process's settings.
    #[cfg(test)]
    pub(crate) fn at(url: &str) -> Self {
        Self { url: Some(url.to_owned()), flags: Vec::new() }
    }

    /// Sends a request. `path` begins with a slash.
    ///
    /// # Errors
    /// The URL or the token is not usable, or the server does not answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, Failure> {
        let (url, tokens) = self.found()?;
        let request = Request::builder().method(method).uri(format!("{url}{path}")).body(body);
        let mut request =
            request.map_err(|error| Failure::usage(format!("`{url}` is not a usable URL: {error}")))?;
        if let Some(token) = tokens.first() {
            let mut shown = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            if let Ok(shown) = &mut shown {
                shown.set_sensitive(true);
            }
            request.headers_mut().insert(AUTHORIZATION, shown.map_err(Failure::usage)?);
        }
        let options = Options { answer_len_max: ANSWER_LEN_MAX, ..Options::default() };
        AppServer::new(options).request(request).await.map_err(|error| failure(&url, error))
    }

    /// Its URL, without a slash at the end, and the tokens in the settings of this process, or else in the data directory
    /// that they name.
    fn found(&self) -> Result<(String, Tokens), Failure> {
        self.found_in(Source::from_environment(self.flags.clone()))
    }

    fn found_in(&self, mut source: Source) -> Result<(String, Tokens), Failure> {
        let access = AdminSettings::read(&mut source).and_then(|settings| settings.access(&mut source));
        let settings = access.zip(ProcessSettings::read(&mut source));
        let (access, process) = source.finish_partly(settings)?;
        let url = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(process.admin_listen)),
        };
        if access.operators.is_empty() {
            return Ok((url, admin_token::read(&process.data_dir)?.unwrap_or_default()));
        }
        Ok((url, access.operators))
    }
}

/// Reads what an admin listener has answered, unless it refuses.
pub(crate) fn answered<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, Failure> {
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer));
    }
    serde_json::from_slice(answer.body()).map_err(foreign)
}

/// What answers is not a node.
pub(crate) fn foreign(error: serde_json::Error) -> Failure {
    Failure::unavailable(printable(&format!("the answer is not that of a node: {error}")))
}

/// What the server refuses, with its reason.
pub(crate) fn refusal(answer: &Response<Bytes>) -> Failure {
    let status = answer.status();
    let reason = app_server::reason(answer.body());
    let reason = printable(&reason);
    // 507 is the server's decision. Other server errors may pass.
    let try_again = status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE;
    let code = if try_again { exit::UNAVAILABLE } else { REFUSED };
    Failure { code, message: format!("the server refused with HTTP status {status}: {reason}") }
}

fn failure(url: &str, error: SendError) -> Failure {
    match error {
        SendError::InvalidEndpoint { .. } => Failure::usage(error),
        SendError::Refused { .. } | SendError::TimedOut(_) | SendError::Failed(_) | _ => {
            Failure::unavailable(format!("--admin {url}: {}", chain(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_server_say_where_it_listens() {
        let found = |arguments: &[&str], variables: &[(&str, &str)]| {
            let command = asking(Command::new("x"));
            let listener = AdminListener::of(&command.get_matches_from([&["x"], arguments].concat()));
            let folder = tempfile::tempdir().unwrap();
            let data_dir = folder.path().to_str().unwrap();
            let variables = [&[("BECKON_DATA_DIR", data_dir)], variables].concat();
            let source = Source::new(listener.flags.clone(), variables);
            listener.found_in(source).map(|(url, _)| url).map_err(|failure| failure.message).unwrap()
        };
        let elsewhere = [("BECKON_ADMIN_LISTEN", "[::]:9")];
        assert_eq!(found(&[], &[]), "http://127.0.0.1:8083");
        assert_eq!(found(&[], &elsewhere), "http://[::1]:9");
        assert_eq!(found(&["--admin", "http://n:1/"], &elsewhere), "http://n:1");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("beckon.toml");
        std::fs::write(&file, "admin_listen = \"127.0.0.1:9\"\n").unwrap();
        assert_eq!(found(&["--config", file.to_str().unwrap()], &[]), "http://127.0.0.1:9");
    }

    #[test]
    fn a_refusal_shows_its_message() {
        let answer = |status: u16, body: &'static str| {
            refusal(&Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap())
        };
        let shown = answer(404, r#"{"code":404,"message":"there is no broadcast of that id"}"#);
        assert!(shown.message.ends_with("there is no broadcast of that id"), "{}", shown.message);
        for (status, code) in [(404, REFUSED), (507, REFUSED), (503, exit::UNAVAILABLE)] {
            assert_eq!(answer(status, "").code, code, "{status}");
        }
    }
}
