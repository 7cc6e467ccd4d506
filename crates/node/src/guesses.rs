//! How often a source may show a wrong token on the admin listener, or a session that is signed with one.
//!
//! While a source has shown too many, nothing of that kind is compared that it shows, so that it learns nothing by trying on.
//! Other sources are not affected, and neither are sessions that were right before. A program that shows the same wrong token
//! again and again, such as a monitor with an old one, does not guess: only the first time counts, so that it does not keep
//! operators on its host out. Tokens and sessions are counted apart, so that whoever has sessions of a token that was replaced
//! can sign in.

use crate::denial::Denial;
use beckon_listener::{
    rate::{Limiter, Rate},
    source::Source,
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::Duration,
};

/// Wrong tokens of a source: so many at once, and then evenly over time.
const WRONG_TOKENS: Rate = Rate { count: 10, period: Duration::from_secs(60) };

/// After so many seconds another one is compared.
pub(crate) const RETRY_AFTER_S: u64 = WRONG_TOKENS.period.as_secs() / WRONG_TOKENS.count as u64;

/// What is recognized when it is shown again: as many wrong tokens, as many wrong sessions, and as many right ones.
const REPEATED_MAX: usize = 256;

/// What a request shows of whoever sends it.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Shown<'a> {
    /// A token.
    Token(&'a str),
    /// A session. Whoever signs one with a guess learns by the answer whether it is the token.
    Session(&'a str),
}

/// What has been tried. It takes two megabytes and 6 KB, whoever tries whatever; each megabyte is allocated for the first that is
/// wrong.
#[derive(Debug)]
pub(crate) struct Guesses {
    tokens: Wrong,
    sessions: Wrong,
    /// Sessions that were right.
    right: Recent,
    /// It is random, and in no other process.
    key: RandomState,
}

/// What was wrong, of one kind.
#[derive(Debug)]
struct Wrong {
    limiter: Limiter,
    last: Recent,
}

impl Default for Wrong {
    fn default() -> Self {
        Self { limiter: Limiter::new(WRONG_TOKENS), last: Recent::default() }
    }
}

/// Hashes of what was shown last and of who has shown it, oldest first.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<u64>>);

impl Recent {
    fn has(&self, hash: u64) -> bool {
        self.0.lock().contains(&hash)
    }

    fn add(&self, hash: u64) {
        let mut hashes = self.0.lock();
        if hashes.len() >= REPEATED_MAX {
            hashes.pop_front();
        }
        hashes.push_back(hash);
    }
}

impl Default for Guesses {
    fn default() -> Self {
        let (tokens, sessions, right) = (Wrong::default(), Wrong::default(), Recent::default());
        Self { tokens, sessions, right, key: RandomState::new() }
    }
}

impl Guesses {
    /// Has a token or a session compared that this address shows, unless it has shown too many wrong ones. `compare` refuses
    /// a wrong one with [`Denial::OtherToken`] or [`Denial::Session`].
    ///
    /// # Errors
    /// That of `compare`, or [`Denial::Guesses`].
    pub(crate) fn judge<T>(
        &self,
        from: Option<IpAddr>,
        shown: Shown<'_>,
        now_us: u64,
        compare: impl FnOnce() -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        let source = source_of(from);
        let guess = self.key.hash_one((source, shown));
        let wrong = match shown {
            Shown::Token(_) => &self.tokens,
            Shown::Session(_) => &self.sessions,
        };
        if wrong.last.has(guess) || self.right.has(guess) {
            return compare();
        }
        if wrong.limiter.is_spent(source, 1, now_us) {
            return Err(Denial::Guesses);
        }
        let compared = compare();
        match (&compared, shown) {
            (Err(Denial::OtherToken | Denial::Session), _) => {
                // Another thread may have taken the last one meanwhile; the next one finds out.
                let _ = wrong.limiter.admit(source, 1, now_us);
                wrong.last.add(guess);
            }
            (Ok(_), Shown::Session(_)) => self.right.add(guess),
            _ => {}
        }
        compared
    }

    /// This address has got this session here.
    pub(crate) fn begun(&self, from: Option<IpAddr>, session: &str) {
        self.right.add(self.key.hash_one((source_of(from), Shown::Session(session))));
    }
}

/// All whose address is not known are one source.
fn source_of(from: Option<IpAddr>) -> Option<Source> {
    from.and_then(Source::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    /// Whether a token is compared, and how.
    fn shown(guesses: &Guesses, from: &str, token: &str, now_s: u64) -> Result<(), Denial> {
        guesses.judge(Some(from.parse().unwrap()), Shown::Token(token), now_s * SECOND_US, || {
            if token == "right" { Ok(()) } else { Err(Denial::OtherToken) }
        })
    }

    #[test]
    fn a_source_guesses_ten_times_a_minute_and_learns_nothing_by_more() {
        let guesses = Guesses::default();
        for number in 0..10 {
            assert_eq!(shown(&guesses, "192.0.2.1", &number.to_string(), 100), Err(Denial::OtherToken));
        }
        let refused = shown(&guesses, "192.0.2.1", "right", 100);
        assert_eq!(refused, Err(Denial::Guesses), "also the right one");
        assert_eq!(shown(&guesses, "192.0.2.2", "right", 100), Ok(()), "another source");
        assert_eq!(shown(&guesses, "2001:db8::1", "right", 100), Ok(()));
        assert_eq!(shown(&guesses, "192.0.2.1", "right", 107), Ok(()), "a while later");
        assert_eq!(shown(&guesses, "192.0.2.1", "10", 107), Err(Denial::OtherToken));
        assert_eq!(shown(&guesses, "192.0.2.1", "11", 107), Err(Denial::Guesses), "one in six seconds");
    }

    #[test]
    fn right_tokens_are_not_counted_and_the_same_wrong_one_only_once() {
        let guesses = Guesses::default();
        for _ in 0..100 {
            assert_eq!(shown(&guesses, "192.0.2.1", "right", 0), Ok(()));
            assert_eq!(shown(&guesses, "192.0.2.1", "old", 0), Err(Denial::OtherToken));
        }
        assert_eq!(shown(&guesses, "192.0.2.1", "right", 0), Ok(()), "the operator beside the old monitor");
        for number in 0..20 {
            let _ = shown(&guesses, "192.0.2.1", &number.to_string(), 0);
        }
        assert_eq!(shown(&guesses, "192.0.2.1", "right", 0), Err(Denial::Guesses));
        assert_eq!(
            shown(&guesses, "192.0.2.1", "old", 0),
            Err(Denial::OtherToken),
            "it is known to be wrong"
        );
    }

    #[test]
    fn a_network_of_one_subscriber_is_one_source_and_memory_has_a_bound() {
        let guesses = Guesses::default();
        for number in 0..10 {
            let from = format!("2001:db8::{number}");
            assert_eq!(shown(&guesses, &from, &number.to_string(), 0), Err(Denial::OtherToken));
        }
        assert_eq!(shown(&guesses, "2001:db8::ffff", "x", 0), Err(Denial::Guesses));
        for number in 0..1000 {
            let from = format!("10.0.{}.{}", number / 250, number % 250 + 1);
            let _ = shown(&guesses, &from, "wrong", 0);
        }
        assert_eq!(guesses.tokens.last.0.lock().len(), REPEATED_MAX);
        for number in 0..1000 {
            guesses.begun(None, &number.to_string());
        }
        assert_eq!(guesses.right.0.lock().len(), REPEATED_MAX);
    }
}
