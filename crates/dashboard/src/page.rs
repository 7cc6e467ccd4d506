//! The page: static files, which say nothing of this server; everything on it comes from the API.

use beckon_node::{admin::respond, routes::Route};
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{
        CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The files: path, content type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("/dashboard/", HTML, include_str!("page/index.html")),
    ("/dashboard/base.css", CSS, beckon_node::try_page::BASE_CSS),
    ("/dashboard/style.css", CSS, include_str!("page/style.css")),
    ("/dashboard/page.js", JAVASCRIPT, include_str!("page/page.js")),
    ("/dashboard/server.js", JAVASCRIPT, include_str!("page/server.js")),
    ("/dashboard/nodes.js", JAVASCRIPT, include_str!("page/nodes.js")),
    ("/dashboard/chart.js", JAVASCRIPT, include_str!("page/chart.js")),
    ("/dashboard/client.js", JAVASCRIPT, include_str!("page/client.js")),
    ("/dashboard/lists.js", JAVASCRIPT, include_str!("page/lists.js")),
    ("/dashboard/elements.js", JAVASCRIPT, include_str!("page/elements.js")),
];

/// Its routes.
pub(crate) const ROUTES: &[Route] =
    &[Route::new("GET, HEAD", "/dashboard"), Route::new("GET, HEAD", "/dashboard/{file}")];

/// It loads, connects to and is framed by nothing but this server, and has no code or style of its own in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The answer to a request for a file of the page; `None` for other paths.
pub(crate) fn answer(method: &Method, path: &str) -> Option<Response<Bytes>> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    if path == "/dashboard" {
        let mut response = respond(StatusCode::PERMANENT_REDIRECT, None, Bytes::new());
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/dashboard/"));
        return Some(response);
    }
    let (_, content_type, content) = FILES.into_iter().find(|(at, _, _)| *at == path)?;
    let mut response = respond(StatusCode::OK, Some(content_type), Bytes::from_static(content.as_bytes()));
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_files_is_answered() {
        assert_eq!(answer(&Method::GET, "/dashboard").unwrap().headers()[LOCATION], "/dashboard/");
        let page = answer(&Method::GET, "/dashboard/").unwrap();
        assert!(!page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("unsafe"));
        assert!(answer(&Method::POST, "/dashboard/").is_none());
        assert!(answer(&Method::GET, "/dashboard/other.js").is_none());
    }
}
