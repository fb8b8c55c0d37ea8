//! Samples, and what they come to.

use std::time::Duration;

use serde::Serialize;

/// Numbers of one kind, in the order of measuring.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn add_ms(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1000.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that this share of all does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // At most the number of samples, and none is negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(at.saturating_sub(1).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    pub fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub fn most(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let mut samples = Samples::default();
        assert!(samples.median().is_nan());
        for sample in [5.0, 1.0, 3.0] {
            samples.add(sample);
        }
        let told = [
            samples.least(),
            samples.median(),
            samples.p99(),
            samples.most(),
        ];
        assert_eq!(told, [1.0, 3.0, 5.0, 5.0]);
    }
}
