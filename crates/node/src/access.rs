//! Who may do what on the admin listener: its settings, and the tokens that operators and monitors show.

use beckon_ops::config::{Part, Secret, Source, parsed, positive};
use std::{fs, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use subtle::ConstantTimeEq as _;

/// The shortest token, in characters.
pub const TOKEN_LEN_MIN: usize = 16;

/// The name of operators whose token has none.
const UNNAMED: &str = "admin_token";

beckon_ops::settings! {
    /// What is shown on the admin listener.
    pub struct AdminSettings {
        /// Token that changes anything through admin_listen, and reads from other hosts than this one: 16 characters or
        /// more. Several are separated by commas, each with a name for the log: alice:TOKEN. Required unless
        /// admin_listen is a loopback address.
        admin_token: Tokens = "" => parsed,
        /// File with the value of admin_token.
        admin_token_file: Option<PathBuf> = "",
        /// Token that reads /metrics from other hosts than this one, in the same form.
        metrics_token: Tokens = "" => parsed,
        /// File with the value of metrics_token.
        metrics_token_file: Option<PathBuf> = "",
        /// How long a browser is signed in to the dashboard on admin_listen.
        admin_session: Duration = "1h" => positive,
    }
}

impl AdminSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "Operators", fields: Self::FIELDS };
}

/// The tokens that admit to the admin listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// They admit to everything.
    pub operators: Tokens,
    /// They admit to the metrics.
    pub monitors: Tokens,
    /// How long an operator is signed in to the dashboard (`admin_session`).
    pub session: Duration,
}

/// Tokens, each with the name of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: Box<str>,
    secret: Secret,
}

/// Why a text is not a list of tokens. It does not quote the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// A token is too short.
    #[error("a token has {TOKEN_LEN_MIN} characters or more")]
    Short,
    /// A token has a character that cannot be in `Authorization: Bearer`.
    #[error("a token has letters, digits and -._~+/= only")]
    Character,
    /// A name has a character that could be mistaken in a log.
    #[error("the name of a token has letters, digits and -._@ only")]
    Name,
}

impl FromStr for Tokens {
    type Err = InvalidTokens;

    fn from_str(text: &str) -> Result<Self, InvalidTokens> {
        let all = text.split(',').map(str::trim).filter(|token| !token.is_empty());
        all.map(Token::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Token {
    fn parse(text: &str) -> Result<Self, InvalidTokens> {
        let (name, secret) = text.split_once(':').unwrap_or((UNNAMED, text));
        let is_one_of = |others: &'static str| {
            move |character: char| character.is_ascii_alphanumeric() || others.contains(character)
        };
        if name.is_empty() || !name.chars().all(is_one_of("-._@")) {
            return Err(InvalidTokens::Name);
        }
        if !secret.chars().all(is_one_of("-._~+/=")) {
            return Err(InvalidTokens::Character);
        }
        if secret.len() < TOKEN_LEN_MIN {
            return Err(InvalidTokens::Short);
        }
        Ok(Self { name: name.into(), secret: secret.to_owned().into() })
    }
}

impl Tokens {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token that a client of this program shows.
    pub fn first(&self) -> Option<&Secret> {
        self.0.first().map(|token| &token.secret)
    }

    /// Who has this token.
    pub(crate) fn holder(&self, shown: &str) -> Option<&str> {
        self.find(shown).map(|(name, _)| name)
    }

    /// This token and the name of its holder. Every token is compared, in constant time, so that none can be found byte by
    /// byte.
    pub(crate) fn find(&self, shown: &str) -> Option<(&str, &Secret)> {
        let is_shown = |token: &Token| bool::from(token.secret.expose().as_bytes().ct_eq(shown.as_bytes()));
        let found =
            self.0.iter().fold(None, |found, token| if is_shown(token) { Some(token) } else { found });
        found.map(|token| (&*token.name, &token.secret))
    }

    /// The tokens of whoever has this name.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &Secret> {
        self.0.iter().filter(move |token| &*token.name == name).map(|token| &token.secret)
    }
}

impl AdminSettings {
    /// The tokens in the settings and in the files that they name. What is wrong with a file is rejected in `source`.
    pub fn access(&self, source: &mut Source) -> Option<Access> {
        let operators = tokens("admin_token_file", &self.admin_token, self.admin_token_file.as_ref(), source);
        let monitors =
            tokens("metrics_token_file", &self.metrics_token, self.metrics_token_file.as_ref(), source);
        Some(Access { operators: operators?, monitors: monitors?, session: self.admin_session })
    }

    /// As [`AdminSettings::access`], for a node whose `admin_listen` this is: other hosts reach it only with a token.
    pub fn access_at(&self, listen: SocketAddr, source: &mut Source) -> Option<Access> {
        let access = self.access(source)?;
        if access.operators.is_empty() && !listen.ip().is_loopback() {
            let reason = format!("is required, because admin_listen {listen} is not a loopback address");
            source.reject("admin_token", reason);
            return None;
        }
        Some(access)
    }
}

fn tokens(setting: &str, given: &Tokens, file: Option<&PathBuf>, source: &mut Source) -> Option<Tokens> {
    let Some(path) = file else { return Some(given.clone()) };
    let read = fs::read_to_string(path).map_err(|error| error.to_string());
    match read.and_then(|text| parsed::<Tokens>(&text)) {
        Ok(in_file) if given.is_empty() => Some(in_file),
        Ok(_) => {
            source.reject(setting, "must not be set together with the token itself");
            None
        }
        Err(reason) => {
            source.reject(setting, format!("{}: {reason}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn a_token_has_a_holder() {
        let tokens: Tokens = format!("{TOKEN}, alice:{TOKEN}-of-alice").parse().unwrap();
        assert_eq!(tokens.holder(TOKEN), Some("admin_token"));
        assert_eq!(tokens.holder("0123456789abcdef-of-alice"), Some("alice"));
        for shown in ["", "0123456789abcdeF", "0123456789abcdef-", "alice"] {
            assert_eq!(tokens.holder(shown), None, "{shown}");
        }
        assert!(Tokens::default().holder("").is_none());
        assert!(!format!("{tokens:?}").contains(TOKEN));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said_without_it() {
        for (text, expected) in [
            ("short", InvalidTokens::Short),
            ("alice:short", InvalidTokens::Short),
            ("0123456789 abcdef", InvalidTokens::Character),
            (":0123456789abcdef", InvalidTokens::Name),
            ("a b:0123456789abcdef", InvalidTokens::Name),
        ] {
            assert_eq!(text.parse::<Tokens>(), Err(expected), "{text}");
        }
        assert!("".parse::<Tokens>().unwrap().is_empty());
    }

    #[test]
    fn other_hosts_need_a_token() {
        let access = |variables: &[(&str, &str)], listen: &str| {
            let mut source = Source::new(std::iter::empty::<&str>(), variables.iter().copied());
            let settings = AdminSettings::read(&mut source);
            let access =
                settings.and_then(|settings| settings.access_at(listen.parse().unwrap(), &mut source));
            source.finish(access).map_err(|errors| errors.to_string())
        };
        assert!(access(&[], "127.0.0.1:8083").unwrap().operators.is_empty());
        assert!(access(&[], "0.0.0.0:8083").unwrap_err().contains("not a loopback address"));
        assert!(access(&[("BECKON_ADMIN_TOKEN", TOKEN)], "0.0.0.0:8083").is_ok());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let file = [("BECKON_ADMIN_TOKEN_FILE", path.to_str().unwrap())];
        assert!(access(&file, "[::]:8083").unwrap_err().contains("No such file"));
        fs::write(&path, format!("{TOKEN}\n")).unwrap();
        assert!(access(&file, "[::]:8083").unwrap().operators.holder(TOKEN).is_some());
        let both = [file[0], ("BECKON_ADMIN_TOKEN", TOKEN)];
        assert!(access(&both, "[::]:8083").unwrap_err().contains("together"));
    }
}
