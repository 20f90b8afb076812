//! Values as text: `to_string`, `to_debug`, `print`, `debug`, and `+` of a string and anything.
//!
//! The interpreter's own formatting has no bound on depth or size. And where it formats for interpolation, it
//! answers an error of `to_string` with formatting of its own, unbounded again: there we answer the empty string
//! and end the execution.

use std::any::TypeId;
use std::fmt::{self, Write};

use rhai::plugin::RhaiFunc;
use rhai::{
    Array, Blob, Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, NativeCallContext,
    Position,
};

use super::{Fallible, Sizes, answer, stop_too_large, too_large};

/// Containers below this depth are written as `…`.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Display,
    Debug,
}

pub(super) fn register(module: &mut Module) {
    let containers = [TypeId::of::<Array>(), TypeId::of::<Map>(), TypeId::of::<Dynamic>()];
    for (name, style, swallowed) in [
        ("to_string", Style::Display, true),
        ("to_debug", Style::Debug, true),
        ("print", Style::Display, false),
        ("debug", Style::Debug, false),
    ] {
        for of in containers {
            raw(module, name, of, style, swallowed);
        }
        if style == Style::Debug {
            raw(module, name, TypeId::of::<ImmutableString>(), style, swallowed);
        }
    }

    FuncRegistration::new("+").in_global_namespace().with_purity(true).set_into_module(
        module,
        |context: NativeCallContext<'_>, s: &mut ImmutableString, item: Dynamic| {
            let sizes = Sizes::current();
            appended(&context, s.to_string(), &item, sizes).map(ImmutableString::from)
        },
    );
    for name in ["+=", "append"] {
        FuncRegistration::new(name).in_global_namespace().set_into_module(
            module,
            |context: NativeCallContext<'_>, s: &mut ImmutableString, item: Dynamic| {
                *s = appended(&context, s.to_string(), &item, Sizes::current())?.into();
                answer(())
            },
        );
    }
    FuncRegistration::new("+").in_global_namespace().with_purity(true).set_into_module(
        module,
        |context: NativeCallContext<'_>, item: &mut Dynamic, s: &str| {
            let sizes = Sizes::current();
            let mut text = appended(&context, String::new(), item, sizes)?;
            sizes.string(text.len().max(s.len()), text.len() + s.len())?;
            text.push_str(s);
            answer(ImmutableString::from(text))
        },
    );
}

/// Registers for a type without taking the value out of its place: a shared one stays unlocked.
fn raw(module: &mut Module, name: &str, of: TypeId, style: Style, swallowed: bool) {
    let function = move |context: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| {
        let (Some(context), Some(value)) = (context, args.first()) else {
            return Err(EvalAltResult::ErrorRuntime("nothing to format".into(), Position::NONE).into());
        };
        let sizes = Sizes::current();
        match written(&context, value, style, sizes) {
            Ok(text) => Ok(Dynamic::from(text)),
            Err(_) if swallowed => {
                stop_too_large();
                Ok(Dynamic::from(ImmutableString::new()))
            }
            Err(size) => Err(too_large("max_string_size", size, sizes.string)),
        }
    };
    let function = RhaiFunc::Method {
        func: rhai::Shared::new(function),
        has_context: true,
        is_pure: true,
        is_volatile: false,
    };
    FuncRegistration::new(name).in_global_namespace().set_into_module_raw(module, [of], function);
}

/// A value as text, or how long it would have been when it was too long.
fn written(
    context: &NativeCallContext<'_>,
    value: &Dynamic,
    style: Style,
    sizes: Sizes,
) -> Result<String, usize> {
    let mut text = Text { out: String::new(), max: sizes.string, refused: 0 };
    match text.value(context, value, style, 0) {
        Ok(()) => Ok(text.out),
        Err(fmt::Error) => Err(text.refused),
    }
}

fn appended(
    context: &NativeCallContext<'_>,
    mut text: String,
    item: &Dynamic,
    sizes: Sizes,
) -> Fallible<String> {
    let item = written(context, item, Style::Display, sizes)
        .map_err(|size| too_large("max_string_size", text.len().saturating_add(size), sizes.string))?;
    sizes.string(text.len(), text.len() + item.len())?;
    text.push_str(&item);
    Ok(text)
}

/// A string that refuses to grow past its limit.
struct Text {
    out: String,
    max: u64,
    refused: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let size = self.out.len() + text.len();
        if size as u64 > self.max {
            self.refused = size;
            return Err(fmt::Error);
        }
        self.out.push_str(text);
        Ok(())
    }
}

impl Text {
    /// Writes what the standard library would, as far as it goes.
    fn value(
        &mut self,
        context: &NativeCallContext<'_>,
        value: &Dynamic,
        style: Style,
        depth: usize,
    ) -> fmt::Result {
        if value.is_shared() {
            // Unreadable means that this very call changes it further up.
            return match value.read_lock::<Dynamic>() {
                Some(inner) if !inner.is_shared() => self.value(context, &inner, style, depth),
                _ => self.write_str("<shared>"),
            };
        }
        if let Some(array) = value.read_lock::<Array>() {
            return self.array(context, &array, depth);
        }
        if let Some(map) = value.read_lock::<Map>() {
            return self.map(context, &map, depth);
        }
        if let Some(blob) = value.read_lock::<Blob>() {
            return self.blob(&blob);
        }
        if let Some(string) = value.read_lock::<ImmutableString>() {
            return match style {
                Style::Display => self.write_str(&string),
                Style::Debug => write!(self, "{:?}", string.as_str()),
            };
        }
        match style {
            Style::Display => match value.as_unit() {
                Ok(()) => Ok(()),
                Err(_) => self.other(context, value, style, depth),
            },
            // As the standard library has it: without quotes, and without what a function pointer carries.
            Style::Debug if value.is_char() || value.is_fnptr() => write!(self, "{value}"),
            Style::Debug => self.other(context, value, style, depth),
        }
    }

    /// Numbers, and types of the host: inside containers through their own function, if they have one.
    fn other(
        &mut self,
        context: &NativeCallContext<'_>,
        value: &Dynamic,
        style: Style,
        depth: usize,
    ) -> fmt::Result {
        let plain = value.is_int()
            || value.is_float()
            || value.is_bool()
            || value.is_unit()
            || value.is_char()
            || value.is_fnptr()
            || value.is_timestamp();
        if plain {
            return match style {
                Style::Display => write!(self, "{value}"),
                Style::Debug => write!(self, "{value:?}"),
            };
        }
        if depth > 0 {
            let name = if style == Style::Display { "to_string" } else { "to_debug" };
            let own = context.call_native_fn_raw(name, true, &mut [&mut value.clone()]);
            if let Ok(own) = own
                && let Some(own) = own.read_lock::<ImmutableString>()
            {
                return self.write_str(&own);
            }
            return self.write_str(context.engine().map_type_name(value.type_name()));
        }
        let text = match style {
            Style::Display => value.to_string(),
            Style::Debug => format!("{value:?}"),
        };
        self.write_str(context.engine().map_type_name(&text))
    }

    fn array(&mut self, context: &NativeCallContext<'_>, array: &Array, depth: usize) -> fmt::Result {
        if depth >= MAX_DEPTH {
            return self.write_str("[…]");
        }
        self.write_str("[")?;
        for (i, item) in array.iter().enumerate() {
            if i > 0 {
                self.write_str(", ")?;
            }
            self.value(context, item, Style::Debug, depth + 1)?;
        }
        self.write_str("]")
    }

    fn map(&mut self, context: &NativeCallContext<'_>, map: &Map, depth: usize) -> fmt::Result {
        if depth >= MAX_DEPTH {
            return self.write_str("#{…}");
        }
        self.write_str("#{")?;
        for (i, (key, item)) in map.iter().enumerate() {
            if i > 0 {
                self.write_str(", ")?;
            }
            write!(self, "{:?}: ", key.as_str())?;
            self.value(context, item, Style::Debug, depth + 1)?;
        }
        self.write_str("}")
    }

    /// Two digits for each byte, in groups of eight.
    fn blob(&mut self, blob: &Blob) -> fmt::Result {
        self.write_str("[")?;
        for (i, byte) in blob.iter().enumerate() {
            let gap = if i > 0 && i % 8 == 0 { " " } else { "" };
            write!(self, "{gap}{byte:02x}")?;
        }
        self.write_str("]")
    }
}
