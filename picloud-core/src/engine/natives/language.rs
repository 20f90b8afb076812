//! The core of the language, and JSON.

use std::any::TypeId;

use rhai::plugin::RhaiFunc;
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Map, Module, NativeCallContext, Position};

use super::{Fallible, Sizes, charge, invalid, too_large};
use crate::engine::convert::{self, ConvertLimits};
use crate::engine::run::thrown;

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
    }
    add!("exit", || exit(Dynamic::UNIT));
    add!("exit", exit);
    add!("take", take);
    FuncRegistration::new_getter("tag")
        .in_global_namespace()
        .with_purity(true)
        .set_into_module(module, |value: &mut Dynamic| i64::from(value.tag()));
    FuncRegistration::new("tag")
        .in_global_namespace()
        .with_purity(true)
        .set_into_module(module, |value: &mut Dynamic| i64::from(value.tag()));
    FuncRegistration::new_setter("tag").in_global_namespace().set_into_module(module, set_tag);
    add!("set_tag", set_tag);

    add!("parse_json", |text: &str| {
        charge(text.len())?;
        convert::parse_json(text.as_bytes()).map_err(|error| thrown(&error))
    });
    let to_json = |_: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| match args {
        [value] => to_json(value),
        _ => Err(invalid("json.invalid", "to_json is called on a value")),
    };
    let to_json = RhaiFunc::Method {
        func: rhai::Shared::new(to_json),
        has_context: false,
        is_pure: true,
        is_volatile: false,
    };
    for of in [TypeId::of::<Map>(), TypeId::of::<Dynamic>()] {
        FuncRegistration::new("to_json").in_global_namespace().set_into_module_raw(
            module,
            [of],
            to_json.clone(),
        );
    }
}

/// Ends the script with a value.
fn exit(value: Dynamic) -> Fallible<Dynamic> {
    Err(EvalAltResult::Exit(value, Position::NONE).into())
}

fn take(value: &mut Dynamic) -> Fallible<Dynamic> {
    if value.is_read_only() {
        return Err(EvalAltResult::ErrorNonPureMethodCallOnConstant("take".into(), Position::NONE).into());
    }
    Ok(std::mem::take(value))
}

fn set_tag(value: &mut Dynamic, tag: i64) -> Fallible<()> {
    match tag.try_into() {
        Ok(tag) => {
            value.set_tag(tag);
            Ok(())
        }
        Err(_) => Err(EvalAltResult::ErrorArithmetic(
            format!("{tag} does not fit into a tag (-32768 to 32767)"),
            Position::NONE,
        )
        .into()),
    }
}

/// Any value as JSON, at most as long as a string may be.
fn to_json(value: &Dynamic) -> Fallible<Dynamic> {
    let sizes = Sizes::current();
    let max_bytes = usize::try_from(sizes.string).unwrap_or(usize::MAX);
    let json = convert::to_json_text(value, ConvertLimits { max_bytes }).map_err(|error| {
        if error.kind() == crate::ErrorKind::TooLarge {
            too_large("max_string_size", "the JSON text", sizes.string)
        } else {
            thrown(&error)
        }
    })?;
    sizes.string(0, json.len())?;
    Ok(json.into())
}
