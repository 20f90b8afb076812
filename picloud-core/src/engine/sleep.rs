//! `sleep`: the interpreter's own blocks the thread; ours suspends the script.

use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, Shared};

use super::run::{self, Given};
use crate::Error;

/// The global function `sleep(seconds)`, for integers and floats, bounded by the deadline of the execution.
pub(crate) fn module() -> Shared<Module> {
    let mut module = Module::new();
    module.set_id("picloud::sleep");
    FuncRegistration::new("sleep")
        .in_global_namespace()
        .set_into_module(&mut module, |seconds: i64| sleep(seconds as f64));
    FuncRegistration::new("sleep").in_global_namespace().set_into_module(&mut module, sleep);
    module.build_index();
    module.into()
}

fn sleep(seconds: f64) -> Result<Dynamic, Box<EvalAltResult>> {
    run::host_call("sleep", |cx| {
        let Ok(duration) = Duration::try_from_secs_f64(seconds) else {
            return Ok(Err(Error::invalid("sleep.invalid", "sleep needs a number of seconds, zero or more")
                .with("seconds", seconds)));
        };
        run::wait(cx.clock().sleep(duration))?;
        Ok(Ok(Given::of(|| Ok(Dynamic::UNIT))))
    })
}
