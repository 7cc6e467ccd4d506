//! What an application server asks for: `version` and `data`, from a form body or the query (PROTOCOL.md
//! section 3).

use beckon_types::Version;
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode;
use std::{borrow::Cow, convert::Infallible, sync::Arc};
use warp::http::{HeaderMap, header::CONTENT_TYPE};

/// The longest form, in bytes; a longer one is refused (PROTOCOL.md section 3, row 3).
pub(crate) const BODY_LEN_MAX: usize = 64 * 1024;

/// The parameters of a PUT, as far as they are given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parameters {
    /// `None` if missing or empty: the current time takes its place.
    pub(crate) version: Option<Version>,
    /// `None` if missing or empty.
    pub(crate) data: Option<Arc<str>>,
}

/// Why parameters cannot be used. The application server has to change its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// `version` is not a decimal number up to 2^63-1, or the form cannot be read at all.
    Invalid,
    /// `data` is longer than the limit.
    DataTooLong,
}

/// How a body is read, by its `Content-Type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// `application/x-www-form-urlencoded`, or no type at all.
    Form,
    /// `multipart/form-data`, with the whole header value, in which the boundary is.
    Multipart(String),
    /// Anything else: ignored.
    Other,
}

impl BodyKind {
    /// What the headers of a request say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let Some(content_type) = headers.get(CONTENT_TYPE) else { return Self::Form };
        // A value that is not ASCII is a type like any other that is not a form's.
        content_type.to_str().map_or(Self::Other, Self::parse)
    }

    fn parse(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.is_empty() || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::Form
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            Self::Multipart(content_type.to_owned())
        } else {
            Self::Other
        }
    }
}

/// The parameters as they were sent: of each the first value, a body's before the query's.
#[derive(Debug, Default)]
struct Raw<'a> {
    version: Option<Cow<'a, [u8]>>,
    data: Option<Cow<'a, [u8]>>,
}

/// Reads the parameters. `data` may have `data_len_max` bytes after decoding.
///
/// A version that cannot be used comes before data that is too long, as in the order of checks.
pub(crate) async fn read(
    kind: BodyKind,
    body: &Bytes,
    query: &str,
    data_len_max: usize,
) -> Result<Parameters, Unusable> {
    let mut raw = Raw::default();
    match kind {
        BodyKind::Form => raw.add_form(body),
        BodyKind::Multipart(content_type) => raw.add_multipart(&content_type, body).await?,
        BodyKind::Other => {}
    }
    raw.add_form(query.as_bytes());
    let version = match text(raw.version.as_deref())? {
        Some(version) => Some(Version::parse(version).map_err(|_| Unusable::Invalid)?),
        None => None,
    };
    let data = text(raw.data.as_deref())?;
    if data.is_some_and(|data| data.len() > data_len_max) {
        return Err(Unusable::DataTooLong);
    }
    Ok(Parameters { version, data: data.map(Arc::from) })
}

/// A value that is present and not empty. One that is not UTF-8 makes the form unreadable.
fn text(value: Option<&[u8]>) -> Result<Option<&str>, Unusable> {
    let text = str::from_utf8(value.unwrap_or_default()).map_err(|_| Unusable::Invalid)?;
    Ok((!text.is_empty()).then_some(text))
}

impl<'a> Raw<'a> {
    /// Where the value of a parameter is kept; `None` for a name that does not count.
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<Cow<'a, [u8]>>> {
        match name {
            b"version" => Some(&mut self.version),
            b"data" => Some(&mut self.data),
            _ => None,
        }
    }

    /// Reads `application/x-www-form-urlencoded`. Copies only what has escapes in it.
    fn add_form(&mut self, form: &'a [u8]) {
        for pair in form.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
            if let Some(slot) = self.slot(&decode(name)) {
                slot.get_or_insert_with(|| decode(value));
            }
        }
    }

    /// Reads `multipart/form-data`. Parts that are files are ignored.
    async fn add_multipart(&mut self, content_type: &str, body: &Bytes) -> Result<(), Unusable> {
        let boundary = multer::parse_boundary(content_type).map_err(|_| Unusable::Invalid)?;
        let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
        let mut form = multer::Multipart::new(whole, boundary);
        while let Some(field) = form.next_field().await.map_err(|_| Unusable::Invalid)? {
            let file = field.file_name().is_some();
            let name = field.name().unwrap_or_default().as_bytes().to_vec();
            // Read even if it does not count, so that a form that is cut off is refused.
            let value = field.bytes().await.map_err(|_| Unusable::Invalid)?;
            if let Some(slot) = self.slot(&name).filter(|_| !file) {
                slot.get_or_insert_with(|| Cow::Owned(value.to_vec()));
            }
        }
        Ok(())
    }
}

/// Decodes a name or a value of a form, as the URL standard has it: what only looks like an escape stays as it is.
/// Unlike that standard it keeps bytes that are not UTF-8, so that they can be refused.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=X";

    /// Reads a body with a limit of eight bytes for data.
    fn parse(content_type: &str, body: &str, query: &str) -> Result<(Option<u64>, Option<String>), Unusable> {
        parse_bytes(content_type, body.as_bytes(), query)
    }

    fn parse_bytes(
        content_type: &str,
        body: &[u8],
        query: &str,
    ) -> Result<(Option<u64>, Option<String>), Unusable> {
        let kind = BodyKind::parse(content_type);
        let body = Bytes::copy_from_slice(body);
        let parameters = read(kind, &body, query, 8).now_or_never().expect("the body is complete")?;
        Ok((parameters.version.map(Version::number), parameters.data.as_deref().map(str::to_owned)))
    }

    fn part(headers: &str, value: &str) -> String {
        format!("--X\r\nContent-Disposition: form-data; {headers}\r\n\r\n{value}\r\n")
    }

    #[test]
    fn a_form_is_read_from_the_body_and_the_query() {
        for (body, query, version, data) in [
            ("", "", None, None),
            ("version=7", "", Some(7), None),
            ("version=7&data=abc", "", Some(7), Some("abc")),
            ("data=abc&version=7&", "", Some(7), Some("abc")),
            ("", "version=5", Some(5), None),
            ("", "version=5&data=q", Some(5), Some("q")),
            ("version=7", "version=5&data=q", Some(7), Some("q")),
            // A value in the body has priority, even if it is empty.
            ("version=", "version=5", None, None),
            ("version", "", None, None),
            ("version=&data=", "", None, None),
            // The first of several counts.
            ("version=1&version=2", "", Some(1), None),
            ("other=1&Version=2&versions=3", "", None, None),
            ("&&=&=x&version=1", "", Some(1), None),
            ("version=0", "", Some(0), None),
            ("version=9223372036854775807", "", Some(Version::MAX), None),
            ("ver%73ion=%37", "", Some(7), None),
            ("data=a+b%2B%e4%bd%a0", "", None, Some("a b+\u{4f60}")),
            ("data=%zz%4", "", None, Some("%zz%4")),
            ("data=a=b", "", None, Some("a=b")),
            ("data=12345678", "", None, Some("12345678")),
        ] {
            let expected = Ok((version, data.map(str::to_owned)));
            assert_eq!(parse(FORM, body, query), expected, "{body:?} {query:?}");
        }
    }

    #[test]
    fn unusable_parameters_are_refused() {
        for (body, query, error) in [
            ("version=-1", "", Unusable::Invalid),
            ("version=+1", "", Unusable::Invalid),
            ("version=1.5", "", Unusable::Invalid),
            ("version=abc", "", Unusable::Invalid),
            ("version=0x1", "", Unusable::Invalid),
            ("version=9223372036854775808", "", Unusable::Invalid),
            ("version=%ff", "", Unusable::Invalid),
            ("", "version=x", Unusable::Invalid),
            ("data=%ff", "", Unusable::Invalid),
            ("data=123456789", "", Unusable::DataTooLong),
            ("", "data=123456789", Unusable::DataTooLong),
            ("data=123456789&version=x", "", Unusable::Invalid),
            // Four characters, twelve bytes.
            ("data=%e4%bd%a0%e4%bd%a0%e4%bd%a0%e4%bd%a0", "", Unusable::DataTooLong),
        ] {
            assert_eq!(parse(FORM, body, query), Err(error), "{body:?} {query:?}");
        }
    }

    #[test]
    fn the_content_type_says_how_a_body_is_read() {
        for (content_type, version) in [
            ("", Some(7)),
            ("  ", Some(7)),
            (FORM, Some(7)),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", Some(7)),
            ("text/plain", None),
            ("application/json", None),
            ("application/x-www-form-urlencoded-not", None),
            ("nonsense", None),
        ] {
            assert_eq!(parse(content_type, "version=7", ""), Ok((version, None)), "{content_type}");
        }
        assert_eq!(parse("text/plain", "version=7", "version=5"), Ok((Some(5), None)));
    }

    #[test]
    fn a_multipart_form_is_read() {
        let version = part("name=\"version\"", "7");
        let data = part("name=\"data\"", "a+b");
        let file = part("name=\"data\"; filename=\"f\"", "123456789");
        let other = part("name=\"other\"", "x");
        for (body, expected) in [
            (format!("{version}--X--\r\n"), Ok((Some(7), None))),
            (format!("{other}{data}{version}--X--\r\n"), Ok((Some(7), Some("a+b".to_owned())))),
            (format!("{file}{version}--X--\r\n"), Ok((Some(7), None))),
            ("--X--\r\n".to_owned(), Ok((None, None))),
            (format!("{}--X--\r\n", part("name=\"version\"", "seven")), Err(Unusable::Invalid)),
            (format!("{}--X--\r\n", part("name=\"data\"", "123456789")), Err(Unusable::DataTooLong)),
            (version.clone(), Err(Unusable::Invalid)),
            ("version=7".to_owned(), Err(Unusable::Invalid)),
        ] {
            assert_eq!(parse(MULTIPART, &body, ""), expected, "{body}");
        }
        assert_eq!(parse("multipart/form-data", &version, ""), Err(Unusable::Invalid), "no boundary");
        assert_eq!(parse(MULTIPART, &format!("{version}--X--\r\n"), "version=5"), Ok((Some(7), None)));
    }

    proptest! {
        #[test]
        fn any_form_is_read_without_a_panic(
            body in prop::collection::vec(any::<u8>(), 0..200),
            form in "[=&%+a-fversiondata0-9]{0,60}",
            query in ".{0,40}",
        ) {
            for content_type in [FORM, MULTIPART, "multipart/form-data; boundary="] {
                let _ = parse_bytes(content_type, &body, &query);
                let _ = parse(content_type, &form, &form);
            }
        }

        #[test]
        fn data_is_what_was_escaped(data in ".{1,2}", version: u32) {
            let escaped: String = data.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let form = format!("data={escaped}&version={version}");
            prop_assert_eq!(parse(FORM, &form, ""), Ok((Some(version.into()), Some(data))));
        }
    }
}
