//! Options of the store in Redis, besides the URL.

use crate::Newcomers;
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// The longest [`KeyPrefix`] in bytes. Redis stores it with every client and every message.
pub const KEY_PREFIX_LEN_MAX: usize = 32;

/// Options of the store in Redis.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The record of a client that has not connected for this long expires (PROTOCOL.md section 1.10). Default 90 days,
    /// resolution 1 ms.
    pub uaid_idle: Duration,
    /// Those that never came back.
    pub newcomers: Newcomers,
    /// A step that takes longer fails with [`crate::StoreError::Unavailable`], and a connection on which nothing is answered
    /// for this long is replaced. Default 3 s.
    pub step_timeout: Duration,
    /// The fingerprint of the key that makes client ids ([`beckon_types::UaidKey::fingerprint`]). A store that was used with
    /// another one is refused. Default: `None`, for a process that does not have the key.
    pub uaid_key: Option<u64>,
    /// How the servers are reached.
    pub access: Access,
}

/// How Redis servers are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Time limit for one connection to be made, with TLS, authentication and a first write. Default 2 s.
    pub connect_timeout: Duration,
    /// The user to authenticate as. Default: the user in the URL, if there is one.
    pub user: Option<String>,
    /// A file with the password, with or without a line end. It is read for each connection, so that the password can be
    /// replaced at any time. Default: the password in the URL, if there is one.
    pub password_file: Option<PathBuf>,
    /// The files for TLS. They are not used without a URL for TLS.
    pub tls: TlsFiles,
    /// The beginning of the name of every key. Default: empty.
    pub key_prefix: KeyPrefix,
    /// How many replicas have to have a notification or a channel before the step that stores it succeeds. Default 0.
    pub replicas: u32,
}

/// Files in PEM for connections with TLS. They are read for each connection.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// The certificate authorities to trust. Default: those of the operating system.
    pub ca: Option<PathBuf>,
    /// The certificate that this side presents. Default: none.
    pub identity: Option<TlsIdentity>,
}

/// A certificate that this side presents.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// The certificate or the chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            uaid_idle: Duration::from_secs(90 * 24 * 60 * 60),
            newcomers: Newcomers::default(),
            step_timeout: Duration::from_secs(3),
            uaid_key: None,
            access: Access::default(),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            user: None,
            password_file: None,
            tls: TlsFiles::default(),
            key_prefix: KeyPrefix::default(),
            replicas: 0,
        }
    }
}

/// The beginning of the name of every key, so that several clusters of nodes can share one Redis.
///
/// Up to [`KEY_PREFIX_LEN_MAX`] visible ASCII characters except braces, which mark hash tags, and `*?[]\`, which have a
/// meaning in key patterns of ACL rules.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyPrefix {
    bytes: [u8; KEY_PREFIX_LEN_MAX],
    len: usize,
}

/// A text cannot be a [`KeyPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be up to {KEY_PREFIX_LEN_MAX} visible ASCII characters except {{}}*?[]\\")]
pub struct InvalidKeyPrefix;

impl KeyPrefix {
    /// The bytes in front of a key.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl FromStr for KeyPrefix {
    type Err = InvalidKeyPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidKeyPrefix> {
        let allowed = |byte: &u8| byte.is_ascii_graphic() && !br"{}*?[]\".contains(byte);
        let mut bytes = [0; KEY_PREFIX_LEN_MAX];
        let start = bytes.get_mut(..text.len()).ok_or(InvalidKeyPrefix)?;
        start.copy_from_slice(text.as_bytes());
        if text.bytes().all(|byte| allowed(&byte)) {
            Ok(Self { bytes, len: text.len() })
        } else {
            Err(InvalidKeyPrefix)
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_characters_with_a_meaning_in_redis() {
        for text in ["", "beckon:", "a/b-c.d_e", &"x".repeat(KEY_PREFIX_LEN_MAX)] {
            assert_eq!(text.parse::<KeyPrefix>().map(|prefix| prefix.to_string()), Ok(text.to_owned()));
        }
        for text in ["{", "a}b", "a b", "é", "*", "a?", "[", "]", "\\", &"x".repeat(KEY_PREFIX_LEN_MAX + 1)]
        {
            assert_eq!(text.parse::<KeyPrefix>(), Err(InvalidKeyPrefix), "{text}");
        }
    }
}
