//! An error with its causes, as one line.

use std::error::Error;

/// The error and its causes, outermost first. A cause that the text before it ends with is not said again: many libraries
/// write the cause of an error into its own text.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("cannot reach {address}: {source}")]
        WithItsCause { address: &'static str, source: io::Error },
        #[error("the request failed")]
        WithoutItsCause(#[source] Box<dyn Error + Send + Sync>),
    }

    #[test]
    fn each_cause_is_said_once() {
        let refused = || io::Error::other("connection refused");
        let unreachable = || Failed::WithItsCause { address: "a:1", source: refused() };
        assert_eq!(chain(&unreachable()), "cannot reach a:1: connection refused");
        let failed = Failed::WithoutItsCause(Box::new(unreachable()));
        assert_eq!(chain(&failed), "the request failed: cannot reach a:1: connection refused");
        let failed = Failed::WithoutItsCause(Box::new(refused()));
        assert_eq!(chain(&failed), "the request failed: connection refused");
    }
}
