//! The door through which scripts reach Rust: ours and the host's.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rhai::plugin::RhaiFunc;
use rhai::{Dynamic, EvalAltResult, FnNamespace, FuncRegistration, Module, NativeCallContext};

use super::argument::{Args, FromScript, IntoScript};
use super::run::{self, Given};
use crate::{CallCx, Error, Result};

/// Functions that scripts call as `name::function(…)`.
///
/// A function is a Rust closure whose first parameter is the [`CallCx`] and whose others are anything that
/// serde can read; it answers anything that serde can write, or a `Result` of it. An async function suspends the
/// script, not a thread. Which app calls is in the context, never in an argument.
///
/// The signature is what scripts' authors read, in the generated reference and in error messages. It must name
/// as many parameters as the closure has after the context; `?` marks one that may be left out, for which the
/// closure gets `None`.
///
/// ```
/// use picloud_core::{CallCx, Error, ScriptModule};
///
/// #[derive(serde::Deserialize)]
/// struct Item { price: i64, quantity: i64 }
///
/// let billing = ScriptModule::new("billing")
///     .function("total(items: array) -> int", |_cx: CallCx, items: Vec<Item>| {
///         items.iter().map(|item| item.price * item.quantity).sum::<i64>()
///     })
///     .async_function("charge(card: string, amount: int) -> string", |cx: CallCx, card: String, amount: i64| async move {
///         if amount <= 0 {
///             return Err(Error::invalid("billing.amount", "the amount must be positive").with("amount", amount));
///         }
///         Ok(format!("charged {card} for {}", cx.app()))
///     });
/// assert_eq!(billing.name(), "billing");
/// assert_eq!(billing.functions().count(), 2);
/// let billing = billing.about("total", "What the items cost together.");
/// assert_eq!(billing.functions().next().unwrap().doc, "What the items cost together.");
/// ```
///
/// An error reaches the script as a thrown map `#{ code, message, … }`. A panic ends the execution with class
/// `internal` and nothing else.
pub struct ScriptModule {
    name: String,
    doc: String,
    functions: Vec<FunctionDoc>,
    module: Module,
    small: bool,
    wrong: Option<Error>,
}

/// A [`ScriptModule`] as the interpreter takes it.
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) module: rhai::Shared<Module>,
    /// It never answers anything larger than scripts may build themselves.
    pub(crate) small: bool,
}

/// One function of a [`ScriptModule`], as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionDoc {
    /// The name.
    pub name: String,
    /// The whole signature.
    pub signature: String,
    /// Whether it is called on a value (`handle.name(…)`) instead of through the module.
    pub is_method: bool,
    /// The parameters in order: name, type as written, whether it may be left out.
    pub params: Vec<(String, String, bool)>,
    /// The type of the answer as written; `None` when there is none.
    pub returns: Option<String>,
    /// The type that it is a method of.
    pub of: Option<String>,
    /// What it does, and what errors it throws.
    pub doc: String,
}

impl ScriptModule {
    /// An empty module. The name is `[a-z][a-z0-9_]*`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let mut module = Module::new();
        module.set_id(format!("picloud::{name}"));
        let fits = name
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_lowercase() || i > 0 && (b.is_ascii_digit() || b == b'_'));
        let wrong = (name.is_empty() || !fits).then(|| {
            Error::invalid(
                "script_module.invalid_name",
                format!("a module name is [a-z][a-z0-9_]*, not {name:?}"),
            )
        });
        ScriptModule { name, doc: String::new(), functions: Vec::new(), module, small: false, wrong }
    }

    /// A sentence on what the module is for.
    #[must_use]
    pub fn doc(mut self, text: impl Into<String>) -> Self {
        self.doc = text.into();
        self
    }

    /// What a function does and which errors it throws, for the reference: a function of that name that was added before.
    /// A mistake in the name is found when the host starts.
    #[must_use]
    pub fn about(mut self, function: &str, text: &str) -> Self {
        match self.functions.iter_mut().find(|doc| doc.name == function) {
            Some(doc) => text.clone_into(&mut doc.doc),
            None => {
                self.wrong.get_or_insert(
                    Error::invalid("script_module.unknown_function", "there is no such function to describe")
                        .with("module", &self.name)
                        .with("function", function),
                );
            }
        }
        self
    }

    /// What the module is for.
    pub fn text(&self) -> &str {
        &self.doc
    }

    /// Says that no function answers a string, array, map or blob larger than scripts may build themselves. A script
    /// that calls no other module then keeps the interpreter's own limits as they are configured; otherwise they are
    /// raised, so that what it is handed passes.
    #[must_use]
    pub fn small_answers(mut self) -> Self {
        self.small = true;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The functions, in the order in which they were added.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionDoc> {
        self.functions.iter()
    }

    /// Adds a function that answers at once. It runs on the script's own stack: it must not block.
    #[must_use]
    pub fn function<M, F: ScriptFn<M>>(mut self, signature: &str, function: F) -> Self {
        self.add(signature, F::PARAMS, F::this(), move |cx, args| function.call(cx, args));
        self
    }

    /// Adds a function that waits. The script is suspended meanwhile, at the most until its deadline; when it
    /// ends before, the future is dropped.
    #[must_use]
    pub fn async_function<M, F: AsyncScriptFn<M>>(mut self, signature: &str, function: F) -> Self {
        self.add(signature, F::PARAMS, F::this(), move |cx, args| function.call(cx, args));
        self
    }

    fn add(
        &mut self,
        signature: &str,
        arity: usize,
        this: Option<TypeId>,
        call: impl Fn(CallCx, Args<'_, '_>) -> Called + Send + Sync + 'static,
    ) {
        let doc = match FunctionDoc::parse(signature, this.is_some()) {
            Ok(doc) => doc,
            Err(error) => {
                self.wrong.get_or_insert(error.with("module", &self.name));
                return;
            }
        };
        if doc.params.len() + usize::from(this.is_some()) != arity {
            self.wrong.get_or_insert(
                Error::invalid(
                    "script_module.arity",
                    format!(
                        "the signature names {} parameters, the closure has {arity} after the context",
                        doc.params.len()
                    ),
                )
                .with("module", &self.name)
                .with("signature", signature),
            );
            return;
        }
        let names: Arc<[String]> = doc.params.iter().map(|(name, _, _)| name.clone()).collect();
        let label: Arc<str> =
            if this.is_some() { doc.name.clone() } else { format!("{}::{}", self.name, doc.name) }.into();
        let call = Arc::new(call);
        // A parameter that may be left out is one more function with fewer parameters.
        let least = doc.params.iter().take_while(|(_, _, optional)| !optional).count();
        for given in least..=doc.params.len() {
            let mut types: Vec<TypeId> = this.into_iter().collect();
            types.extend(std::iter::repeat_n(TypeId::of::<Dynamic>(), given));
            let (names, label, call) = (names.clone(), label.clone(), call.clone());
            let func = move |context: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| {
                let answer = run::host_call(&label, |cx| {
                    call(cx, Args { args, next: 0, names: &names, label: &label, has_this: this.is_some() })
                });
                answer.map_err(|mut error| {
                    // The interpreter forgets the place of calls through a namespace.
                    if let Some(context) = context.filter(|_| error.position().is_none()) {
                        error.set_position(context.call_position());
                    }
                    error
                })
            };
            let function = if this.is_some() {
                RhaiFunc::Method { func: Arc::new(func), has_context: true, is_pure: true, is_volatile: true }
            } else {
                RhaiFunc::Pure { func: Arc::new(func), has_context: true, is_pure: true, is_volatile: true }
            };
            let namespace = if this.is_some() { FnNamespace::Global } else { FnNamespace::Internal };
            FuncRegistration::new(doc.name.as_str()).with_namespace(namespace).set_into_module_raw(
                &mut self.module,
                types,
                function,
            );
        }
        self.functions.push(doc);
    }

    /// Gives the type `T` of a handle the name that scripts see in error messages and from `type_of`.
    #[must_use]
    pub fn handle_type<T: Clone + Send + Sync + 'static>(mut self, name: &str) -> Self {
        self.module.set_custom_type::<T>(name);
        self
    }

    /// The module as the interpreter takes it.
    ///
    /// # Errors
    /// The first mistake made while building: a bad name or signature.
    pub(crate) fn build(self) -> Result<Built> {
        match self.wrong {
            Some(error) => Err(error),
            None => {
                let mut module = self.module;
                module.build_index();
                Ok(Built { name: self.name, module: module.into(), small: self.small })
            }
        }
    }
}

impl fmt::Debug for ScriptModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptModule")
            .field("name", &self.name)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

impl FunctionDoc {
    fn parse(signature: &str, is_method: bool) -> Result<Self> {
        let wrong = || {
            Error::invalid("script_module.signature", "expected `name(param: type, param?: type) -> type`")
                .with("signature", signature)
        };
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .enumerate()
                    .all(|(i, b)| b.is_ascii_lowercase() || b == b'_' || i > 0 && b.is_ascii_digit())
        };
        let (name, rest) = signature.split_once('(').ok_or_else(wrong)?;
        let (params, returns) = rest.split_once(')').ok_or_else(wrong)?;
        let returns = returns.trim().strip_prefix("->").map(|returns| returns.trim().to_owned());
        // A method is written `Handle.name(…)`.
        let (of, name) = match (is_method, name.split_once('.')) {
            (true, Some((of, name))) => (Some(of.to_owned()), name),
            (false, None) => (None, name),
            _ => return Err(wrong()),
        };
        if !word(name) {
            return Err(wrong());
        }
        let mut parsed = Vec::new();
        for param in split_params(params).map(str::trim).filter(|param| !param.is_empty()) {
            let (param, kind) = param.split_once(':').unwrap_or((param, "any"));
            let optional = param.ends_with('?');
            let param = param.trim_end_matches('?').trim();
            if !word(param) || !optional && parsed.last().is_some_and(|(_, _, optional)| *optional) {
                return Err(wrong());
            }
            parsed.push((param.to_owned(), kind.trim().to_owned(), optional));
        }
        let (name, signature) = (name.to_owned(), signature.to_owned());
        Ok(FunctionDoc { name, signature, is_method, params: parsed, returns, of, doc: String::new() })
    }
}

/// Splits at the commas between parameters, not at those inside a shape: `options?: #{ prefix, cursor }`.
fn split_params(params: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    params.split(move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// Marks answers that cannot fail.
#[derive(Debug)]
pub enum Plain {}

/// Marks answers that are a `Result`.
#[derive(Debug)]
pub enum Fallible {}

/// What a script function answers: something for the script, or a `Result` of it. `M` tells the two apart.
pub trait ScriptAnswer<M> {
    #[doc(hidden)]
    fn answer(self) -> Result<Given>;
}

impl<T: IntoScript> ScriptAnswer<Plain> for T {
    fn answer(self) -> Result<Given> {
        Ok(given(&self))
    }
}

impl<T: IntoScript, E: Into<Error>> ScriptAnswer<Fallible> for Result<T, E> {
    fn answer(self) -> Result<Given> {
        Ok(given(&self.map_err(Into::into)?))
    }
}

/// A closure that can be a function of scripts. Implemented for closures of [`CallCx`] and up to six
/// parameters; `M` only tells the implementations apart.
pub trait ScriptFn<M>: Send + Sync + 'static {
    #[doc(hidden)]
    const PARAMS: usize;
    #[doc(hidden)]
    fn this() -> Option<TypeId>;
    #[doc(hidden)]
    fn call(&self, cx: CallCx, args: Args<'_, '_>) -> Called;
}

/// A closure whose future can be a function of scripts. As [`ScriptFn`]; the future is `Send` and owns what it
/// needs.
pub trait AsyncScriptFn<M>: Send + Sync + 'static {
    #[doc(hidden)]
    const PARAMS: usize;
    #[doc(hidden)]
    fn this() -> Option<TypeId>;
    #[doc(hidden)]
    fn call(&self, cx: CallCx, args: Args<'_, '_>) -> Called;
}

/// An answer, an error for the script, or the end of the script.
type Called = Result<Result<Given>, Box<EvalAltResult>>;

fn given(answer: &impl IntoScript) -> Given {
    Given::of(|| answer.to_script().map_err(|error| run::thrown(&error)))
}

/// The next argument; one that does not fit ends the call with an error.
macro_rules! take {
    ($param:ident, $args:ident) => {
        match $param::take(&mut $args) {
            Ok(param) => param,
            Err(error) => return Ok(Err(error)),
        }
    };
}

macro_rules! first_this {
    () => {
        None
    };
    ($first:ident $($rest:ident)*) => {
        $first::this()
    };
}

macro_rules! script_fns {
    ($count:literal: $($param:ident)*) => {
        impl<F, R, Mk, $($param),*> ScriptFn<(Mk, $($param,)*)> for F
        where
            F: Fn(CallCx, $($param),*) -> R + Send + Sync + 'static,
            R: ScriptAnswer<Mk>,
            $($param: FromScript,)*
        {
            const PARAMS: usize = $count;

            fn this() -> Option<TypeId> {
                first_this!($($param)*)
            }

            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn call(&self, cx: CallCx, mut args: Args<'_, '_>) -> Called {
                $(let $param = take!($param, args);)*
                Ok(self(cx, $($param),*).answer())
            }
        }

        impl<F, Fut, Mk, $($param),*> AsyncScriptFn<(Mk, $($param,)*)> for F
        where
            F: Fn(CallCx, $($param),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: ScriptAnswer<Mk> + Send + 'static,
            $($param: FromScript,)*
        {
            const PARAMS: usize = $count;

            fn this() -> Option<TypeId> {
                first_this!($($param)*)
            }

            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn call(&self, cx: CallCx, mut args: Args<'_, '_>) -> Called {
                $(let $param = take!($param, args);)*
                Ok(run::wait(self(cx, $($param),*))?.answer())
            }
        }
    };
}

script_fns!(0:);
script_fns!(1: A);
script_fns!(2: A B);
script_fns!(3: A B C);
script_fns!(4: A B C D);
script_fns!(5: A B C D E);
script_fns!(6: A B C D E G);
