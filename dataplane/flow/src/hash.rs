//! The keyed hash of session and mapping tables.
//!
//! Strangers choose addresses and ports, so a hash that they can compute, or a linear one under any seed (CRC32, Toeplitz),
//! would let them fill one bucket. This one multiplies the words of the key with secret words, 64 × 64 → 128 bits, folds the
//! product, and does so in two lanes with separate secrets that a last multiplication joins: three multiplications for an
//! IPv4 key. It is no MAC: the secret must not leak, which it cannot, since no hash value leaves the machine.

/// The secret words that a 128-bit seed gives.
#[derive(Clone, Copy)]
pub struct HashKey {
    secret: [u64; 6],
}

/// Upper and lower half of the product, folded: every input bit moves about half of the result's.
#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// One step of a counter-based generator (Steele, Lea, Flood 2014), to spread the seed over six words.
fn spread(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl HashKey {
    /// From 128 random bits.
    pub fn new(seed: [u64; 2]) -> Self {
        let (mut first, mut second) = (seed[0], seed[1]);
        let secret = core::array::from_fn(|_| {
            let mixed = spread(&mut first) ^ spread(&mut second).rotate_left(29);
            second ^= mixed;
            mixed
        });
        HashKey { secret }
    }

    /// 64 bits; all of them are good.
    #[inline(always)]
    pub fn hash(&self, words: &[u64]) -> u64 {
        let [mut left, mut right, left_salt, right_salt, left_last, right_last] = self.secret;
        for pair in words.chunks(2) {
            let first = pair[0];
            let second = if let Some(second) = pair.get(1) { *second } else { 0 };
            left = fold(first ^ left, second ^ left_salt);
            right = fold(first.rotate_left(32) ^ right_salt, second ^ right);
        }
        fold(left ^ left_last, right ^ right_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_input_bit_moves_half_of_the_output() {
        let key = HashKey::new([1, 2]);
        let mut flipped = 0u64;
        let mut trials = 0u64;
        for sample in 0..200u64 {
            let words = [sample.wrapping_mul(0x1234_5678_9abc_def1), sample << 8];
            let base = key.hash(&words);
            for bit in 0..128 {
                let mut other = words;
                other[bit / 64] ^= 1 << (bit % 64);
                flipped += u64::from((key.hash(&other) ^ base).count_ones());
                trials += 1;
            }
        }
        let mean = flipped as f64 / trials as f64;
        assert!((31.0..33.0).contains(&mean), "{mean}");
    }

    #[test]
    fn the_seed_decides() {
        let words = [0x0a00_0001_0a00_0002, 0x1234_0050_0001_0600];
        assert_ne!(HashKey::new([1, 2]).hash(&words), HashKey::new([1, 3]).hash(&words));
        assert_ne!(HashKey::new([1, 2]).hash(&words), HashKey::new([2, 2]).hash(&words));
        assert_eq!(HashKey::new([7, 9]).hash(&words), HashKey::new([7, 9]).hash(&words));
    }

    #[test]
    fn it_is_not_linear() {
        let key = HashKey::new([3, 4]);
        let (a, b, c) = ([1u64, 2], [5u64, 9], [17u64, 33]);
        let sum: Vec<u64> = (0..2).map(|i| a[i] ^ b[i] ^ c[i]).collect();
        assert_ne!(key.hash(&a) ^ key.hash(&b) ^ key.hash(&c), key.hash(&sum));
    }
}
