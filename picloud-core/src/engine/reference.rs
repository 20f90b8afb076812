//! What scripts of a host can call, for people and for editors: one source, the registered modules.

use std::fmt::Write as _;

use super::{FunctionDoc, SDK_VERSION, ScriptModule};

/// The reference of everything that scripts of a host can use: the language's own conventions and each module, ours and the
/// host's. See [`Picloud::reference`](crate::Picloud::reference).
#[derive(Debug, Clone)]
pub struct Reference {
    modules: Vec<ModuleDoc>,
}

/// One module, as people read it.
#[derive(Debug, Clone)]
struct ModuleDoc {
    name: String,
    doc: String,
    functions: Vec<FunctionDoc>,
}

/// What every script has, whatever the modules.
const BASICS: &str = include_str!("reference/basics.md");

/// The same for editors.
const BASIC_DEFINITIONS: &str = include_str!("reference/basics.d.rhai");

impl Reference {
    pub(crate) fn of<'a>(modules: impl IntoIterator<Item = &'a ScriptModule>) -> Self {
        let mut modules: Vec<_> = modules
            .into_iter()
            .map(|module| ModuleDoc {
                name: module.name().to_owned(),
                doc: module.text().to_owned(),
                functions: module.functions().cloned().collect(),
            })
            .collect();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Reference { modules }
    }

    /// The functions that have no description yet, as `module::function`.
    pub fn undescribed(&self) -> Vec<String> {
        let functions =
            self.modules.iter().flat_map(|module| module.functions.iter().map(move |doc| (module, doc)));
        functions
            .filter(|(_, doc)| doc.doc.is_empty())
            .map(|(module, doc)| format!("{}::{}", module.name, doc.name))
            .collect()
    }

    /// A page in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut page = BASICS.replace("{sdk}", SDK_VERSION);
        for module in &self.modules {
            // Writing into a string does not fail.
            let _ = write!(page, "\n## `{}::`\n\n{}\n\n| function | |\n|---|---|\n", module.name, module.doc);
            for function in &module.functions {
                let signature = match &function.of {
                    Some(_) => function.signature.clone(),
                    None => format!("{}::{}", module.name, function.signature),
                };
                let _ = writeln!(page, "| `{}` | {} |", signature.replace('|', "\\|"), function.doc);
            }
        }
        page
    }

    /// Definitions for editors that know the language: one file, `picloud.d.rhai`.
    pub fn to_definitions(&self) -> String {
        let mut text = BASIC_DEFINITIONS.replace("{sdk}", SDK_VERSION);
        let methods = self.modules.iter().flat_map(|module| &module.functions).filter(|doc| doc.is_method);
        for method in methods {
            define(&mut text, "", method);
        }
        for module in &self.modules {
            let _ = write!(text, "\n/// {}\nmodule {} {{\n", module.doc, module.name);
            for function in module.functions.iter().filter(|doc| !doc.is_method) {
                define(&mut text, "    ", function);
            }
            text.push_str("}\n");
        }
        text
    }
}

/// A function with each number of parameters that it may have.
fn define(text: &mut String, indent: &str, function: &FunctionDoc) {
    let least = function.params.iter().take_while(|(_, _, optional)| !optional).count();
    for given in least..=function.params.len() {
        let this = function.of.iter().map(|of| format!("this: {of}"));
        let params =
            function.params.iter().take(given).map(|(name, kind, _)| format!("{name}: {}", plain(kind)));
        let params: Vec<_> = this.chain(params).collect();
        let returns = function.returns.as_deref().map_or("()", plain);
        let _ = writeln!(text, "\n{indent}/// {}", function.doc);
        let _ = writeln!(text, "{indent}fn {}({}) -> {returns};", function.name, params.join(", "));
    }
}

/// The type as definitions spell it: they know neither shapes nor alternatives.
fn plain(kind: &str) -> &str {
    match kind {
        "string" => "String",
        "int" => "i64",
        "float" => "f64",
        "bool" | "()" => kind,
        "array" => "Array",
        "map" => "Map",
        "blob" => "Blob",
        shape if shape.starts_with("#{") => "Map",
        alternatives if alternatives.contains('|') => "?",
        "any" => "?",
        named => named,
    }
}
