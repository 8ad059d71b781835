//! Which partition a key goes to: Kafka's default partitioner, so that a key lands in the same place whoever writes it.

/// Kafka's murmur2 (seed 0x9747b28c), as its Java client computes it.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut h: u32 = 0x9747_b28c ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition of `key` among `count` (at least 1).
pub fn of_key(key: &[u8], count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From Kafka's own test of its hash (`UtilsTest.testMurmur2`).
    #[test]
    fn kafkas_own_vectors() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107_i32),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    /// The algorithm written the other way round, byte by byte as Java's client does it.
    fn as_in_java(data: &[u8]) -> i32 {
        let (m, length) = (0x5bd1_e995_u32.cast_signed(), i32::try_from(data.len()).unwrap());
        let mut h = 0x9747_b28c_u32.cast_signed() ^ length;
        for i in 0..data.len() / 4 {
            let byte = |j: usize| i32::from(data[i * 4 + j]);
            let mut k = byte(0) + (byte(1) << 8) + (byte(2) << 16) + (byte(3) << 24);
            k = k.wrapping_mul(m);
            k ^= (k.cast_unsigned() >> 24).cast_signed();
            k = k.wrapping_mul(m);
            h = h.wrapping_mul(m);
            h ^= k;
        }
        let whole = data.len() & !3;
        if data.len() % 4 == 3 {
            h ^= i32::from(data[whole + 2]) << 16;
        }
        if data.len() % 4 >= 2 {
            h ^= i32::from(data[whole + 1]) << 8;
        }
        if !data.len().is_multiple_of(4) {
            h ^= i32::from(data[whole]);
            h = h.wrapping_mul(m);
        }
        h ^= (h.cast_unsigned() >> 13).cast_signed();
        h = h.wrapping_mul(m);
        h ^ (h.cast_unsigned() >> 15).cast_signed()
    }

    proptest! {
        #[test]
        fn the_same_as_the_other_way_round(data in proptest::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(murmur2(&data).cast_signed(), as_in_java(&data));
        }

        #[test]
        fn every_key_has_a_partition(key in proptest::collection::vec(any::<u8>(), 0..70), count in 0u32..200) {
            prop_assert!(of_key(&key, count) < count.max(1));
        }
    }
}
