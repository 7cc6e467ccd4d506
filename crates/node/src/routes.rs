//! What the admin listener answers. Each part of a node lists its routes; a request for anything else does not reach it.
//! docs/api/admin.yaml describes those that are not pages.

/// A path and the methods that are answered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Separated by commas, as in `Allow`.
    pub methods: &'static str,
    /// A path. One that ends with a name in braces stands for all that are longer than what is before the brace.
    pub path: &'static str,
}

impl Route {
    /// A route.
    pub const fn new(methods: &'static str, path: &'static str) -> Self {
        Self { methods, path }
    }

    /// Whether this is the path of a request. A slash at the end does not count.
    fn has(&self, path: &str) -> bool {
        match self.path.split_once('{') {
            Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty()),
            None => path == self.path || self.path != "/" && path.strip_suffix('/') == Some(self.path),
        }
    }

    fn answers(&self, method: &str) -> bool {
        self.methods.split(", ").any(|answered| answered == method)
    }
}

/// Whether a request is for one of these routes.
///
/// # Errors
/// It is not; the methods that are answered at its path, empty if none is.
pub(crate) fn check(parts: &[&[Route]], method: &str, path: &str) -> Result<(), String> {
    let all = || parts.iter().flat_map(|routes| routes.iter()).filter(|route| route.has(path));
    if all().any(|route| route.answers(method)) {
        return Ok(());
    }
    Err(all().map(|route| route.methods).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_that_are_listed_get_through() {
        const ONE: &[Route] = &[Route::new("GET, HEAD", "/drain"), Route::new("POST", "/drain")];
        const OTHER: &[Route] =
            &[Route::new("PUT, DELETE", "/broadcasts/{id}"), Route::new("GET, HEAD", "/")];
        let checked = |method, path| check(&[ONE, OTHER], method, path);
        for (method, path) in [
            ("GET", "/drain"),
            ("POST", "/drain"),
            ("HEAD", "/drain/"),
            ("GET", "/"),
            ("DELETE", "/broadcasts/news/main"),
        ] {
            assert_eq!(checked(method, path), Ok(()), "{method} {path}");
        }
        for (method, path, allowed) in [
            ("PUT", "/drain", "GET, HEAD, POST"),
            ("GET", "/broadcasts/a", "PUT, DELETE"),
            ("PUT", "/broadcasts/", ""),
            ("GET", "/drained", ""),
            ("GET", "//", ""),
        ] {
            assert_eq!(checked(method, path), Err(allowed.to_owned()), "{method} {path}");
        }
    }
}
