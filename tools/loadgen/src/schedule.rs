//! When something has to happen that happens at a fixed rate, and whose turn it is.

/// Arrivals at a fixed rate. They are on time whatever happens to the ones before: a slow server gets no fewer.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start_us: u64,
    per_second: f64,
    /// How many have been taken.
    taken: u64,
}

impl Schedule {
    /// The first arrival is at `start_us`; a rate of 0 has none.
    pub fn new(start_us: u64, per_second: f64) -> Self {
        Self { start_us, per_second, taken: 0 }
    }

    /// When the next one is due. `None`: never.
    pub fn due_us(&self) -> Option<u64> {
        // Multiplied, not added up, so that rounding does not shift the rate.
        (self.per_second > 0.0)
            .then(|| self.start_us + (self.taken as f64 * 1_000_000.0 / self.per_second) as u64)
    }

    /// How many are due and have not been taken.
    pub fn overdue(&self, now_us: u64) -> u64 {
        let due = now_us.saturating_sub(self.start_us) as f64 * self.per_second / 1_000_000.0;
        (due as u64).saturating_sub(self.taken)
    }

    /// Takes the next one, if it is due, and tells when it was.
    pub fn take(&mut self, now_us: u64) -> Option<u64> {
        let due_us = self.due_us().filter(|due_us| *due_us <= now_us)?;
        self.taken += 1;
        Some(due_us)
    }
}

/// Everybody's turn once, in an order that looks like none, then again in the same order: the time between two
/// turns of one is always the longest possible.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    count: u64,
    stride: u64,
    next: u64,
}

impl Turns {
    /// The turns of `count` participants, numbered from 0.
    pub fn new(count: u64) -> Self {
        // Near the golden section, neighbours in time are far from each other.
        let wanted = (count as f64 * 0.618) as u64;
        let stride = (wanted.max(1)..).find(|stride| common_divisor(*stride, count) <= 1).unwrap_or(1);
        Self { count, stride, next: 0 }
    }

    /// How many take part.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whose turn it is; `None` if there is no client.
    pub fn take(&mut self) -> Option<u64> {
        let taken = self.next;
        self.next = (self.next + self.stride).checked_rem(self.count)?;
        Some(taken)
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// A xorshift generator: quick, good enough to choose whom to disconnect and to mask frames, and the same in
/// every run.
#[derive(Debug, Clone, Copy)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `count`; 0 if that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.roll() >> 16).checked_rem(count as u64).unwrap_or(0) as usize
    }

    /// Four bytes to mask a frame with.
    pub fn mask(&mut self) -> [u8; 4] {
        (self.roll() as u32).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_not_shifted_by_a_pause() {
        let mut schedule = Schedule::new(1_000, 3.0);
        assert_eq!(schedule.take(999), None);
        assert_eq!(schedule.take(1_000), Some(1_000));
        assert_eq!(schedule.take(1_000), None);
        assert_eq!((schedule.overdue(1_000), schedule.overdue(1_001_000)), (0, 2));
        // The schedule was not asked for a second: all three are still due at their own times.
        let late = std::iter::from_fn(|| schedule.take(1_001_000)).collect::<Vec<_>>();
        assert_eq!(late, [334_333, 667_666, 1_001_000]);
    }

    #[test]
    fn a_rate_of_none_is_never_due() {
        assert_eq!(Schedule::new(0, 0.0).due_us(), None);
        assert_eq!(Schedule::new(0, 0.0).take(u64::MAX), None);
    }

    #[test]
    fn everybody_has_one_turn_in_each_round() {
        for count in [1, 2, 3, 10, 97, 1_000, 15_000] {
            let mut turns = Turns::new(count);
            for _ in 0..2 {
                let mut round: Vec<u64> = (0..count).filter_map(|_| turns.take()).collect();
                round.sort_unstable();
                assert!(round.into_iter().eq(0..count), "{count}");
            }
        }
        assert_eq!(Turns::new(0).take(), None);
    }

    #[test]
    fn dice_fall_everywhere() {
        let mut dice = Dice::new(0);
        let mut seen = [false; 10];
        (0..1_000).for_each(|_| seen[dice.below(10)] = true);
        assert_eq!(seen, [true; 10]);
        assert_eq!(dice.below(0), 0);
    }
}
