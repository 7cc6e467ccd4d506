//! How often a source may show a wrong token on the admin listener.
//!
//! While a source has shown too many, no token of it is compared, so that it learns nothing by trying on. Other sources are
//! not affected, and neither are sessions. A program that shows the same wrong token again and again, such as a monitor with
//! an old one, does not guess: only the first time counts, so that it does not keep operators on its host out.

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

/// Wrong tokens that are recognized when they are shown again.
const REPEATED_MAX: usize = 256;

/// What has been tried. It takes a megabyte and 2 KB, whoever tries whatever; the megabyte is allocated for the first wrong token.
#[derive(Debug)]
pub(crate) struct Guesses {
    limiter: Limiter,
    /// Hashes of the last wrong tokens and who has shown them, oldest first. The key is random and in no other process.
    wrong: Mutex<VecDeque<u64>>,
    key: RandomState,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { limiter: Limiter::new(WRONG_TOKENS), wrong: Mutex::default(), key: RandomState::new() }
    }
}

impl Guesses {
    /// Has a token compared that this address shows, unless it has shown too many wrong ones. `compare` refuses a wrong one
    /// with [`Denial::OtherToken`].
    ///
    /// # Errors
    /// That of `compare`, or [`Denial::Guesses`].
    pub(crate) fn judge<T>(
        &self,
        from: Option<IpAddr>,
        shown: &str,
        now_us: u64,
        compare: impl FnOnce() -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        // All whose address is not known are one source.
        let source = from.and_then(Source::of);
        let guess = self.key.hash_one((source, shown));
        let is_repeated = self.wrong.lock().contains(&guess);
        if !is_repeated && self.limiter.is_spent(source, 1, now_us) {
            return Err(Denial::Guesses);
        }
        let compared = compare();
        if matches!(compared, Err(Denial::OtherToken)) && !is_repeated {
            // Another thread may have taken the last one meanwhile; the next token finds out.
            let _ = self.limiter.admit(source, 1, now_us);
            let mut wrong = self.wrong.lock();
            if wrong.len() >= REPEATED_MAX {
                wrong.pop_front();
            }
            wrong.push_back(guess);
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    /// Whether a token is compared, and how.
    fn shown(guesses: &Guesses, from: &str, token: &str, now_s: u64) -> Result<(), Denial> {
        guesses.judge(Some(from.parse().unwrap()), token, now_s * SECOND_US, || {
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
        assert_eq!(guesses.wrong.lock().len(), REPEATED_MAX);
    }
}
