//! The hash slots of a Redis Cluster.

/// The number of hash slots.
pub(super) const SLOTS: usize = 16384;

/// One hash slot: a number below [`SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot(u16);

impl Slot {
    /// The slot with this number, if there is one.
    pub(super) fn new(number: u64) -> Option<Self> {
        u16::try_from(number).ok().filter(|&number| usize::from(number) < SLOTS).map(Self)
    }

    /// The slot of a key: of its hash tag if it has one, otherwise of the whole key.
    pub(super) fn of_key(key: &[u8]) -> Self {
        Self(crc16(tag(key).unwrap_or(key)) % SLOTS as u16)
    }

    /// The number of the slot.
    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

/// The text between the first `{` and the next `}`, if it is not empty.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|&byte| byte == b'{')? + 1;
    let len = key.get(start..)?.iter().position(|&byte| byte == b'}')?;
    key.get(start..start + len).filter(|tag| !tag.is_empty())
}

/// CRC-16/XMODEM, as in the Redis Cluster specification.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC16: [u16; 256] = {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// From `CLUSTER KEYSLOT` of Redis 7.0; 0x31c3 is in the specification.
    #[test]
    fn slots_are_the_same_as_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            ("123456789", 12739),
            ("", 0),
            ("foo", 12182),
            ("c{foo}", 12182),
            ("{foo}{bar}", 12182),
            ("{beckon}nodes", 4411),
            ("{}foo", 9500),
            ("{foo", 13308),
            ("foo}{", 8134),
        ] {
            assert_eq!(Slot::of_key(key.as_bytes()), Slot(slot), "{key}");
        }
    }

    #[test]
    fn there_is_no_slot_beyond_the_last_one() {
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
        assert_eq!(Slot::new(65536), None);
    }
}
