//! Counters and histograms of which each thread has a part of its own, so that counting neither waits for another thread nor
//! moves a cache line between cores. The parts are added up when the metrics are scraped.

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, counter},
};
use std::{
    fmt, iter,
    marker::PhantomData,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

/// A counter whose parts belong to threads.
pub type Counter = counter::Counter<u64, Stripes>;

/// The most parts: with more threads than these, some share one.
const STRIPES_MAX: usize = 64;

/// The buckets of [`Durations`] with an upper bound.
const BUCKETS: usize = 16;

/// Where the buckets of [`Durations`] end.
pub trait Scale: 'static {
    /// Microseconds of the first bucket.
    const FIRST_US: u64;
    /// Each further bucket ends after two to the power of this times as many.
    const GROWTH: u32;
}

/// From 0.1 ms to 3.3 s, each bucket twice the one before.
#[derive(Debug, Clone, Copy)]
pub struct Short;

impl Scale for Short {
    const FIRST_US: u64 = 100;
    const GROWTH: u32 = 1;
}

/// From 10 ms to 124 days, each bucket four times the one before.
#[derive(Debug, Clone, Copy)]
pub struct Long;

impl Scale for Long {
    const FIRST_US: u64 = 10_000;
    const GROWTH: u32 = 2;
}

/// A number whose parts belong to threads.
pub struct Stripes(Box<[Line<AtomicU64>]>);

/// Aligned, so that two threads share no cache line, nor the pair of lines that processors fetch together.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// A histogram of durations whose parts belong to threads. Clones are the same histogram.
pub struct Durations<S = Short>(Arc<[Line<Part>]>, PhantomData<fn() -> S>);

/// What one thread has measured.
#[derive(Default)]
struct Part {
    sum_us: AtomicU64,
    /// By bucket; the last one has no upper bound.
    counts: [AtomicU64; BUCKETS + 1],
}

/// One part for each core and one for the main thread.
fn stripes() -> usize {
    available_parallelism().map_or(1, NonZero::get).saturating_add(1).min(STRIPES_MAX)
}

/// The part of the calling thread.
fn own<T>(parts: &[Line<T>]) -> &T {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    &parts[NUMBER.with(|number| number % parts.len())].0
}

impl Default for Stripes {
    fn default() -> Self {
        Self(iter::repeat_with(Line::default).take(stripes()).collect())
    }
}

impl counter::Atomic<u64> for Stripes {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Returns the former value of this thread's part.
    fn inc_by(&self, more: u64) -> u64 {
        own(&self.0).fetch_add(more, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Stripes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        counter::Atomic::<u64>::get(self).fmt(f)
    }
}

impl<S> Clone for Durations<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S> Default for Durations<S> {
    fn default() -> Self {
        Self(iter::repeat_with(Line::default).take(stripes()).collect(), PhantomData)
    }
}

impl<S: Scale> Durations<S> {
    /// Counts a duration between two readings of a clock, in microseconds.
    pub fn observe(&self, from_us: u64, until_us: u64) {
        let us = until_us.saturating_sub(from_us);
        let part = own(&self.0);
        part.sum_us.fetch_add(us, Ordering::Relaxed);
        part.counts[bucket::<S>(us)].fetch_add(1, Ordering::Relaxed);
    }
}

impl<S> Durations<S> {
    fn total(&self, of: impl Fn(&Part) -> &AtomicU64) -> u64 {
        self.0.iter().map(|line| of(&line.0).load(Ordering::Relaxed)).sum()
    }
}

/// The bucket of a duration: the first whose upper bound it does not exceed.
fn bucket<S: Scale>(us: u64) -> usize {
    let times_first = us.div_ceil(S::FIRST_US).max(1);
    let doublings = u64::BITS - (times_first - 1).leading_zeros();
    (doublings.div_ceil(S::GROWTH) as usize).min(BUCKETS)
}

impl<S> TypedMetric for Durations<S> {
    const TYPE: MetricType = MetricType::Histogram;
}

impl<S: Scale> EncodeMetric for Durations<S> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts: Vec<u64> = (0..=BUCKETS).map(|index| self.total(|part| &part.counts[index])).collect();
        let bound = |index| (S::FIRST_US << (S::GROWTH as usize * index)) as f64 / 1e6;
        let bounds = (0..BUCKETS).map(bound).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let sum = self.total(|part| &part.sum_us) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl<S> fmt::Debug for Durations<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").field("sum_us", &self.total(|part| &part.sum_us)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text, registry::Registry};
    use std::thread;

    #[test]
    fn what_several_threads_count_is_added_up() {
        let (counter, durations) = (Counter::default(), Durations::<Short>::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for us in [0, 100, 101, 5_000_000] {
                        counter.inc();
                        durations.observe(1_000, 1_000 + us);
                    }
                });
            }
        });
        assert_eq!(counter.get(), 16);
        let mut registry = Registry::default();
        registry.register("steps", "Help", counter);
        registry.register("time_seconds", "Help", durations);
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).expect("nothing fails");
        for line in [
            "steps_total 16",
            "time_seconds_sum 20.000804",
            "time_seconds_count 16",
            "time_seconds_bucket{le=\"0.0001\"} 8",
            "time_seconds_bucket{le=\"0.0002\"} 12",
            "time_seconds_bucket{le=\"3.2768\"} 12",
            "time_seconds_bucket{le=\"+Inf\"} 16",
        ] {
            assert!(encoded.lines().any(|candidate| candidate == line), "{line} is not in\n{encoded}");
        }
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        for (us, expected) in
            [(0, 0), (100, 0), (101, 1), (200, 1), (201, 2), (3_276_800, 15), (3_276_801, 16), (u64::MAX, 16)]
        {
            assert_eq!(bucket::<Short>(us), expected, "{us}");
        }
        for (us, expected) in
            [(0, 0), (10_000, 0), (10_001, 1), (40_000, 1), (40_001, 2), (10_000 << 30, 15), (u64::MAX, 16)]
        {
            assert_eq!(bucket::<Long>(us), expected, "{us}");
        }
    }

    #[test]
    fn two_threads_share_no_cache_line() {
        assert_eq!(align_of::<Line<AtomicU64>>(), 128);
        assert_eq!(size_of::<Line<Part>>() % 128, 0);
    }
}
