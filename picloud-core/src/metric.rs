//! Counters and histograms through the `metrics` facade; without that feature they compile to nothing.

/// Counts one.
#[inline]
pub(crate) fn count(_name: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(_name).increment(1);
}

/// Counts one, with a label.
#[inline]
pub(crate) fn count_with(_name: &'static str, _label: &'static str, _value: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(_name, _label => _value).increment(1);
}

/// Records a duration in seconds.
#[inline]
pub(crate) fn seconds(_name: &'static str, _duration: std::time::Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!(_name).record(_duration.as_secs_f64());
}
