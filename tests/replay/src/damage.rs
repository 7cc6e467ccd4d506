//! Random damage to an input. The same seed makes the same damage.

use fastrand::Rng;

/// What damage inserts: things that have a meaning in HTTP, JSON and numbers.
const PIECES: [&[u8]; 10] = [
    b"\r\n",
    b"\0",
    b"\xff\xff\xff\xff",
    b": ",
    b"99999999999999999999",
    b"\"",
    b"{}",
    b"%00",
    b"\r\n\r\n",
    b"[[",
];

/// Up to `max` random bytes.
pub fn bytes(random: &mut Rng, max: usize) -> Vec<u8> {
    (0..random.usize(..=max)).map(|_| random.u8(..)).collect()
}

/// Changes, removes, repeats or inserts a few bytes in up to four places.
pub fn damage(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..16)).min(bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            4 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            _ => {
                let new = self::bytes(random, 8);
                drop(bytes.splice(at..at, new));
            }
        }
    }
}
