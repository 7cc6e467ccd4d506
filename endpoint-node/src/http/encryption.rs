//! The headers that say how a body is encrypted: `Content-Encoding`, `Encryption` and `Crypto-Key` (PROTOCOL.md section
//! 5.3).
//!
//! The last two have the same syntax: parameters separated by semicolons, in groups separated by commas.

use super::message_headers::value;
use beckon_types::Encoding;
use warp::http::{HeaderMap, HeaderName, header::CONTENT_ENCODING};

/// `Encryption`.
const ENCRYPTION: HeaderName = HeaderName::from_static("encryption");

/// `Crypto-Key`.
pub(super) const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

/// The longest `Encryption` and the longest `Crypto-Key`, in bytes; a longer one is refused. Both are stored and sent with
/// the message. In practice they have 30 and 190 bytes.
pub(crate) const PARAMETERS_LEN_MAX: usize = 1024;

/// Why the encryption headers are not usable. The application server has to correct them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidEncryption {
    /// The coding is missing, is neither of the two, or there are several.
    #[error("Content-Encoding is neither aes128gcm nor aesgcm")]
    Coding,
    /// A header is not a list of parameters.
    #[error("The Encryption or the Crypto-Key header is malformed")]
    Malformed,
    /// A header is longer than [`PARAMETERS_LEN_MAX`].
    #[error("The Encryption or the Crypto-Key header has more than {PARAMETERS_LEN_MAX} bytes")]
    TooLong,
    /// aesgcm without a salt.
    #[error("The Encryption header has no salt in base64url")]
    SaltMissing,
    /// aesgcm without the sender's public key.
    #[error("The Crypto-Key header has no dh in base64url")]
    DhMissing,
    /// aes128gcm with parameters of aesgcm.
    #[error("With aes128gcm, salt and dh belong in the body, not in headers")]
    NotOfThisCoding,
}

/// Reads the encryption headers.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, InvalidEncryption> {
    let coding = value(headers, &CONTENT_ENCODING).unwrap_or_default();
    let encryption = value(headers, &ENCRYPTION).unwrap_or_default();
    let crypto_key = value(headers, &CRYPTO_KEY).unwrap_or_default();
    read(coding.trim(), &encryption, &crypto_key)
}

fn read(coding: &str, encryption: &str, crypto_key: &str) -> Result<Encoding, InvalidEncryption> {
    let is_aesgcm = coding.eq_ignore_ascii_case("aesgcm");
    if !is_aesgcm && !coding.eq_ignore_ascii_case("aes128gcm") {
        return Err(InvalidEncryption::Coding);
    }
    let salt = value_of("salt", encryption)?;
    let dh = value_of("dh", crypto_key)?;
    if !is_aesgcm {
        return match (salt, dh) {
            (None, None) => Ok(Encoding::Aes128gcm),
            (Some(_), _) | (_, Some(_)) => Err(InvalidEncryption::NotOfThisCoding),
        };
    }
    if !salt.is_some_and(is_base64url) {
        return Err(InvalidEncryption::SaltMissing);
    }
    if !dh.is_some_and(is_base64url) {
        return Err(InvalidEncryption::DhMissing);
    }
    Ok(Encoding::Aesgcm { encryption: clean(encryption)?, crypto_key: clean(crypto_key)? })
}

/// One parameter of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parameter<'a> {
    name: &'a str,
    /// Without quotes and padding.
    value: &'a str,
}

/// The value of the first parameter of that name, without quotes and padding.
///
/// # Errors
///
/// The header is malformed, in this parameter or in another.
pub(super) fn value_of<'a>(name: &str, header: &'a str) -> Result<Option<&'a str>, InvalidEncryption> {
    let mut found = None;
    for piece in pieces(header) {
        let parameter = parameter(piece)?.filter(|parameter| parameter.name.eq_ignore_ascii_case(name));
        found = found.or(parameter.map(|parameter| parameter.value));
    }
    Ok(found)
}

/// The texts between the separators. A quoted value may not contain a separator or a space either, because it loses its
/// quotes on the way to the user agent.
fn pieces(header: &str) -> impl Iterator<Item = &str> {
    header.split([';', ','])
}

/// Reads the text between two separators: a parameter, or `None` if it is empty.
fn parameter(piece: &str) -> Result<Option<Parameter<'_>>, InvalidEncryption> {
    let piece = piece.trim_matches([' ', '\t']);
    if piece.is_empty() {
        return Ok(None);
    }
    let (name, value) = piece.split_once('=').ok_or(InvalidEncryption::Malformed)?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').ok_or(InvalidEncryption::Malformed)?,
        None => value,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_value = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if name.is_empty() || !name.bytes().all(is_name) || !value.bytes().all(is_value) {
        return Err(InvalidEncryption::Malformed);
    }
    Ok(Some(Parameter { name, value: value.trim_end_matches('=') }))
}

fn is_base64url(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(is_digit)
}

/// The header for the user agent: without the quotes and the padding of its values, and otherwise unchanged.
fn clean(header: &str) -> Result<Box<str>, InvalidEncryption> {
    if header.len() > PARAMETERS_LEN_MAX {
        return Err(InvalidEncryption::TooLong);
    }
    let mut cleaned = String::with_capacity(header.len());
    for piece in header.split_inclusive([';', ',']) {
        let separator_at = piece.trim_end_matches([';', ',']).len();
        let (piece, separator) = piece.split_at(separator_at);
        match parameter(piece)? {
            Some(Parameter { name, value }) => {
                let padded = piece.trim_start_matches([' ', '\t']);
                cleaned.push_str(&piece[..piece.len() - padded.len()]);
                for part in [name, "=", value] {
                    cleaned.push_str(part);
                }
                cleaned.push_str(&padded[padded.trim_end_matches([' ', '\t']).len()..]);
            }
            None => cleaned.push_str(piece),
        }
        cleaned.push_str(separator);
    }
    Ok(cleaned.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: &str = "salt=2rG0pFv7vE4zqvS1b9kG_w";
    const DH: &str = "dh=BKkQ2p";

    fn aesgcm(encryption: &str, crypto_key: &str) -> Result<Encoding, InvalidEncryption> {
        Ok(Encoding::Aesgcm { encryption: encryption.into(), crypto_key: crypto_key.into() })
    }

    #[test]
    fn a_coding_has_its_own_headers() {
        for (coding, encryption, crypto_key, expected) in [
            ("aes128gcm", "", "", Ok(Encoding::Aes128gcm)),
            ("AES128GCM", "", "p256ecdsa=BOp8", Ok(Encoding::Aes128gcm)),
            ("aes128gcm", "rs=4096", "", Ok(Encoding::Aes128gcm)),
            ("aes128gcm", SALT, "", Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "SALT=x", "", Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "salt=", "", Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "", DH, Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "", "p256ecdsa=BOp8;dh=x", Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "", "p256ecdsa=BOp8,dh=x", Err(InvalidEncryption::NotOfThisCoding)),
            ("aes128gcm", "nonsense", "", Err(InvalidEncryption::Malformed)),
            ("aesgcm", SALT, DH, aesgcm(SALT, DH)),
            ("AesGcm", SALT, DH, aesgcm(SALT, DH)),
            ("aesgcm", "", DH, Err(InvalidEncryption::SaltMissing)),
            ("aesgcm", "rs=4096", DH, Err(InvalidEncryption::SaltMissing)),
            ("aesgcm", "salt=", DH, Err(InvalidEncryption::SaltMissing)),
            ("aesgcm", "salt=\"==\"", DH, Err(InvalidEncryption::SaltMissing)),
            ("aesgcm", "salt=a+b", DH, Err(InvalidEncryption::SaltMissing)),
            ("aesgcm", SALT, "", Err(InvalidEncryption::DhMissing)),
            ("aesgcm", SALT, "p256ecdsa=BOp8", Err(InvalidEncryption::DhMissing)),
            ("aesgcm", SALT, "dh=a/b", Err(InvalidEncryption::DhMissing)),
            ("", SALT, DH, Err(InvalidEncryption::Coding)),
            ("gzip", SALT, DH, Err(InvalidEncryption::Coding)),
            ("aesgcm128", SALT, DH, Err(InvalidEncryption::Coding)),
            ("aesgcm-128", SALT, DH, Err(InvalidEncryption::Coding)),
            ("aes128gcm, aesgcm", "", "", Err(InvalidEncryption::Coding)),
        ] {
            assert_eq!(read(coding, encryption, crypto_key), expected, "{coding} {encryption} {crypto_key}");
        }
    }

    #[test]
    fn headers_are_passed_on_without_quotes_and_padding() {
        for (header, expected) in [
            ("", Ok("")),
            ("salt=abc", Ok("salt=abc")),
            ("salt=\"abc\"", Ok("salt=abc")),
            ("salt=abc==", Ok("salt=abc")),
            ("salt=\"abc=\"", Ok("salt=abc")),
            ("keyid=\"p256dh\"; salt=\"abc==\";rs=4096", Ok("keyid=p256dh; salt=abc;rs=4096")),
            (" Salt=abc ,\tkeyid=\"a:key\" , x=", Ok(" Salt=abc ,\tkeyid=a:key , x=")),
            ("salt=abc;", Ok("salt=abc;")),
            (";;,salt=abc,", Ok(";;,salt=abc,")),
            ("salt=a=b", Ok("salt=a=b")),
            ("salt", Err(InvalidEncryption::Malformed)),
            ("=abc", Err(InvalidEncryption::Malformed)),
            ("salt =abc", Err(InvalidEncryption::Malformed)),
            ("salt= abc", Err(InvalidEncryption::Malformed)),
            ("salt=a b", Err(InvalidEncryption::Malformed)),
            ("salt=\"a b\"", Err(InvalidEncryption::Malformed)),
            ("salt=\" \"", Err(InvalidEncryption::Malformed)),
            ("salt=\"abc", Err(InvalidEncryption::Malformed)),
            ("salt=\"", Err(InvalidEncryption::Malformed)),
            ("salt=abc\"", Err(InvalidEncryption::Malformed)),
            ("salt=\"a\"b\"", Err(InvalidEncryption::Malformed)),
            ("salt=\"a;b\"", Err(InvalidEncryption::Malformed)),
            ("salt=\"a\\b\"", Err(InvalidEncryption::Malformed)),
            ("salt=\u{e4}", Err(InvalidEncryption::Malformed)),
            ("s\u{e4}lt=a", Err(InvalidEncryption::Malformed)),
        ] {
            assert_eq!(clean(header).as_deref(), expected.as_deref(), "{header}");
        }
    }

    #[test]
    fn headers_are_passed_on_up_to_a_limit() {
        let salt = |length: usize| format!("salt={}", "a".repeat(length - 5));
        let (longest, too_long) = (salt(PARAMETERS_LEN_MAX), salt(PARAMETERS_LEN_MAX + 1));
        assert_eq!(read("aesgcm", &longest, DH), aesgcm(&longest, DH));
        assert_eq!(read("aesgcm", &too_long, DH), Err(InvalidEncryption::TooLong));
    }

    #[test]
    fn the_first_value_of_a_name_counts() {
        for (header, expected) in [
            ("", Ok(None)),
            ("p256ecdsa=abc", Ok(Some("abc"))),
            ("dh=x; P256ECDSA=\"abc=\"", Ok(Some("abc"))),
            ("p256ecdsa=abc, p256ecdsa=def", Ok(Some("abc"))),
            ("p256ecdsa=abc;nonsense", Err(InvalidEncryption::Malformed)),
        ] {
            assert_eq!(value_of("p256ecdsa", header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(
            text in ".{0,60}",
            header in "([a-c]{0,2}=?\"?[a-c=]{0,4}\"?[ \t]?[;,]?){0,6}",
        ) {
            for header in [text, header] {
                let _ = read("aesgcm", &header, &header);
                // The cleaned header has the same parameters, and cleaning it again changes nothing.
                if let Ok(cleaned) = clean(&header) {
                    prop_assert!(cleaned.len() <= header.len());
                    prop_assert!(!cleaned.contains('"'));
                    prop_assert_eq!(value_of("a", &cleaned), value_of("a", &header));
                    prop_assert_eq!(clean(&cleaned), Ok(cleaned));
                }
            }
        }
    }
}
