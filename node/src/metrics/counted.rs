//! A gauge that goes back by itself.

use prometheus::IntGauge;

/// Counts one in a gauge as long as it lives.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
