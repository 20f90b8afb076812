//! What scripts see of the log: `log::trace`, `info`, `warn`, `error`.

use super::LogLevel;
use crate::engine::{Raw, ScriptModule, run};
use crate::{CallCx, engine::fiber};

/// The script module `log`. There is no `debug`: it is a reserved word of the language; `debug(…)` logs at trace,
/// `print(…)` at info.
pub(crate) fn module() -> ScriptModule {
    let level = |level: LogLevel| {
        move |_cx: CallCx, message: Raw, data: Raw| {
            // A string is the message itself, anything else its JSON.
            let message = message.or_null();
            let message = message.to_value::<String>().unwrap_or_else(|_| message.to_string());
            fiber::current(|run: &run::Run| run.say(level, &message, data.0));
        }
    };
    ScriptModule::new("log")
        .doc("Lines in the log of this execution, with structured data.")
        .small_answers()
        .function("trace(message: any, data?: any)", level(LogLevel::Trace))
        .function("info(message: any, data?: any)", level(LogLevel::Info))
        .function("warn(message: any, data?: any)", level(LogLevel::Warn))
        .function("error(message: any, data?: any)", level(LogLevel::Error))
        .about("trace", "A line at this level. `data` is kept as it is, beside the message.")
        .about("info", "A line at this level. `print` logs here.")
        .about("warn", "A line at this level.")
        .about("error", "A line at this level. It does not end the script; `throw` does.")
}
