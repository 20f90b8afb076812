//! Counters and histograms through the `metrics` facade; without that feature they compile to nothing.
//!
//! Names and labels are literals, so that their keys are built at compile time and counting allocates nothing.

/// Counts one: `count!("name")`, `count!("name", "label" => "value")`.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:literal)?) => {{
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name $(, $label => $value)?).increment(1);
    }};
}

/// A call of a service, as it is named and counted.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) count: fn(),
}

/// The [`Call`] of a literal name: `call!("kv.get")`.
macro_rules! call {
    ($name:literal) => {
        $crate::metric::Call {
            name: $name,
            count: || $crate::metric::count!("picloud_service_calls_total", "call" => $name),
        }
    };
}

pub(crate) use {call, count};

/// Counts an execution, by what it came to.
pub(crate) fn execution(class: Option<crate::execution::FailureClass>, _duration: std::time::Duration) {
    use crate::execution::FailureClass;
    match class {
        None => count!("picloud_executions_total", "class" => "success"),
        Some(FailureClass::Compile) => count!("picloud_executions_total", "class" => "compile"),
        Some(FailureClass::Runtime) => count!("picloud_executions_total", "class" => "runtime"),
        Some(FailureClass::Budget) => count!("picloud_executions_total", "class" => "budget"),
        Some(FailureClass::Timeout) => count!("picloud_executions_total", "class" => "timeout"),
        Some(FailureClass::Overloaded) => count!("picloud_executions_total", "class" => "overloaded"),
        Some(FailureClass::Cancelled) => count!("picloud_executions_total", "class" => "cancelled"),
        Some(FailureClass::Internal) => count!("picloud_executions_total", "class" => "internal"),
    }
    #[cfg(feature = "metrics")]
    metrics::histogram!("picloud_execution_seconds").record(_duration.as_secs_f64());
}
