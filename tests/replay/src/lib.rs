//! Replays the inputs in `fuzz/corpus`, so that `cargo test` runs everything that fuzzing has found, and the same inputs with
//! random damage.
//!
//! A fuzz target is a function in the crate of its parser, in a module named `fuzzing`, with a test there that calls
//! [`replay`]. `fuzz/` makes a program of it that searches for further inputs (`cargo xtask fuzz parsers`).

pub mod damage;

use damage::damage;
use fastrand::Rng;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// Damaged inputs of each target in a run of the tests. The seed is fixed: a test passes or fails whenever it is run.
const DAMAGED: u64 = 2_000;

/// Passes each input in `fuzz/corpus/<target>` to the target, and then some of them damaged.
///
/// # Panics
/// The target panics; the message has the input. Or there are no inputs.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let inputs = inputs(target);
    let panics = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| run(input))).is_err();
    let failed: Vec<&str> =
        inputs.iter().filter(|(_, input)| panics(input)).map(|(name, _)| name.as_str()).collect();
    assert!(failed.is_empty(), "the target panics on {failed:?}");
    for seed in 0..DAMAGED {
        let mut random = Rng::with_seed(seed);
        let mut input = inputs[random.usize(..inputs.len())].1.clone();
        damage(&mut random, &mut input);
        assert!(!panics(&input), "the target panics on b\"{}\"", input.escape_ascii());
    }
}

/// The kept inputs of a target with their names, in the order of these.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut inputs: Vec<_> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path())))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the target panics on [\"")]
    fn an_input_on_which_the_target_panics_is_named() {
        replay("tokens", |input| assert!(input.len() > usize::MAX / 2));
    }

    #[test]
    #[should_panic(expected = "the target panics on b\"")]
    fn kept_inputs_are_damaged_as_well() {
        let kept: Vec<Vec<u8>> = inputs("tokens").into_iter().map(|(_, input)| input).collect();
        replay("tokens", |input| assert!(kept.iter().any(|kept| kept == input)));
    }

    #[test]
    #[should_panic(expected = "there-is-no-such-target")]
    fn a_target_without_inputs_is_a_mistake() {
        replay("there-is-no-such-target", |_| {});
    }
}
