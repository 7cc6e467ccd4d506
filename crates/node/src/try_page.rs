//! The try page on the admin listener: two devices in a browser, a form that sends to each, and the messages as they pass.
//!
//! | path | answer |
//! | --- | --- |
//! | `/` | the page |
//! | `/try/…` | its style, its modules and its service worker |
//! | `/try/server.json` | where its devices connect, and where their endpoints are |
//!
//! The page is static and asks this server only: its Content-Security-Policy allows no other. It needs a secure
//! context, so it works at `https://` and at `http://127.0.0.1`.

use crate::{
    answer::{json, respond},
    routes::Route,
};
use beckon_ops::config::Value;
use beckon_types::EndpointUrl;
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use std::{fmt, future, str::FromStr, sync::Arc};
use warp::{Filter, Rejection, path::FullPath};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The style that all pages share.
pub const BASE_CSS: &str = include_str!("pages/base.css");

/// The files of the page: path, content type, content.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("try_page/index.html")),
    ("/try/base.css", CSS, BASE_CSS),
    ("/try/style.css", CSS, include_str!("try_page/style.css")),
    ("/try/page.js", JAVASCRIPT, include_str!("try_page/page.js")),
    ("/try/device.js", JAVASCRIPT, include_str!("try_page/device.js")),
    ("/try/encryption.js", JAVASCRIPT, include_str!("try_page/encryption.js")),
    ("/try/samples.js", JAVASCRIPT, include_str!("try_page/samples.js")),
    ("/try/worker.js", JAVASCRIPT, include_str!("try_page/worker.js")),
];

/// Whether this is a path of the page, which is for whoever asks: it tells nothing that a client is not told.
pub(crate) fn has(path: &str) -> bool {
    path == SERVER || FILES.iter().any(|(at, _, _)| *at == path)
}

/// Its routes.
pub const ROUTES: &[Route] = &[Route::new("GET, HEAD", "/"), Route::new("GET, HEAD", "/try/{file}")];

/// Where the page tells its devices and its forms to go.
const SERVER: &str = "/try/server.json";

/// The setting `try_page`: whether there is a page, and where its devices connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryPageSetting {
    /// There is no page.
    Off,
    /// There is one, and its devices connect to the address of `ws_listen`.
    On,
    /// There is one, and its devices connect to this URL, for example that of a proxy.
    At(String),
}

impl FromStr for TryPageSetting {
    type Err = String;

    /// `true`, `false`, or a URL that begins with `ws://` or `wss://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_url = text.starts_with("ws://") || text.starts_with("wss://");
        // It becomes a source in a Content-Security-Policy, where these separate sources and directives.
        let is_one_source = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
        match bool::parse(text) {
            Ok(true) => Ok(Self::On),
            Ok(false) => Ok(Self::Off),
            Err(_) if is_url && is_one_source => Ok(Self::At(text.to_owned())),
            Err(_) => Err(format!("`{text}` is not true, false, or the ws:// or wss:// URL of this server")),
        }
    }
}

/// Where the devices of the page connect, and where their endpoints are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    web_socket: String,
    endpoint_url: String,
}

/// The page.
pub struct TryPage {
    server: Server,
    policy: HeaderValue,
}

impl fmt::Debug for TryPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryPage").field("server", &self.server).finish_non_exhaustive()
    }
}

impl TryPage {
    /// The page that the setting asks for. `ws_url` is where this node can be reached without a proxy.
    pub fn new(setting: &TryPageSetting, ws_url: &str, endpoint_url: &EndpointUrl) -> Option<Self> {
        let web_socket = match setting {
            TryPageSetting::Off => return None,
            TryPageSetting::On => ws_url.to_owned(),
            TryPageSetting::At(url) => url.clone(),
        };
        let endpoint_url = endpoint_url.to_string();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; worker-src 'self'; \
             connect-src 'self' {web_socket} {endpoint_url}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let policy = HeaderValue::from_str(&policy).ok()?;
        Some(Self { server: Server { web_socket, endpoint_url }, policy })
    }

    /// The paths of the page, or none, for [`crate::assembly::Assembled::serve_admin_with`]. All others are rejected.
    pub fn paths(
        page: Option<Self>,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
    {
        let page = Arc::new(page);
        warp::method().and(warp::path::full()).and_then(move |method: Method, path: FullPath| {
            let answer = page.as_ref().as_ref().and_then(|page| page.answer(&method, path.as_str()));
            future::ready(answer.ok_or_else(warp::reject::not_found))
        })
    }

    fn answer(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        if path == SERVER {
            return Some(json(StatusCode::OK, &self.server));
        }
        let (_, content_type, content) = FILES.into_iter().find(|(at, _, _)| *at == path)?;
        let mut response =
            respond(StatusCode::OK, Some(content_type), Bytes::from_static(content.as_bytes()));
        let headers: [(HeaderName, HeaderValue); 3] = [
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        response.headers_mut().extend(headers);
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_a_switch_or_a_url() {
        for (text, expected) in [
            ("true", Some(TryPageSetting::On)),
            ("false", Some(TryPageSetting::Off)),
            ("wss://push.example/", Some(TryPageSetting::At("wss://push.example/".into()))),
            ("https://push.example/", None),
            ("wss://push.example/; script-src *", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<TryPageSetting>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_page_may_connect_to_this_server_only() {
        let endpoint_url = "https://push.example".parse::<EndpointUrl>().unwrap();
        let ws = "ws://127.0.0.1:8080/";
        let page = TryPage::new(&TryPageSetting::On, ws, &endpoint_url).unwrap();
        let answer = page.answer(&Method::GET, "/").unwrap();
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:8080/ https://push.example;"), "{policy}");
        assert!(page.answer(&Method::POST, "/").is_none());
        assert!(page.answer(&Method::GET, "/try/").is_none());
        assert!(TryPage::new(&TryPageSetting::Off, ws, &endpoint_url).is_none());
    }
}
