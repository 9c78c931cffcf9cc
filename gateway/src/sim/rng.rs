//! Luck that is an argument: splitmix64 from the exchange's seed, and the few shapes the generator draws.

/// A stream of numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

/// One bijective scramble of 64 bits (splitmix64's finaliser).
pub(super) const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    /// True `per_mille` times in a thousand.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Geometric with the given mean, in integers: how many failures at `1/(mean+1)` before a success.
    pub(super) fn geometric(&mut self, mean: u64, max: u64) -> u64 {
        let mut n = 0;
        while n < max && self.below(mean + 1) != 0 {
            n += 1;
        }
        n
    }

    /// Exponential with the given mean. `-ln u = (k + 1) ln 2 - ln m` for `u = m / 2^(k+1)`, `m` in `[1, 2)`: `k` by
    /// counting zeros, `ln m` by the parabola through its ends and middle (error below 1 %), all in thousandths.
    pub(super) fn exponential(&mut self, mean: u64) -> u64 {
        let bits = self.next() | 1;
        let k = u64::from(bits.leading_zeros());
        let x = ((((bits << k) >> 33) & 0x3fff_ffff) * 1000) >> 30;
        let ln_m = x * (927_000 - 234 * x) / 1_000_000;
        mean.saturating_mul((k + 1) * 693 - ln_m.min(693)) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_means_they_name() {
        let mut rng = Rng::new(7);
        let n = 200_000;
        let mean = |f: &mut dyn FnMut() -> u64| (0..n).map(|_| f()).sum::<u64>() / n;
        let exponential = mean(&mut || rng.exponential(10_000));
        assert!((9_800..=10_200).contains(&exponential), "{exponential}");
        let geometric = mean(&mut || rng.geometric(20, 10_000));
        assert!((19..=21).contains(&geometric), "{geometric}");
        let uniform = mean(&mut || rng.below(1000));
        assert!((490..=510).contains(&uniform), "{uniform}");
    }
}
