//! What a syntax tree says of its source: what it imports and invokes by name, and whether it is a module.
//!
//! The only file that looks into the interpreter's syntax tree. What it looks with is behind the interpreter's feature
//! `internals`, which may change with every minor version, so the dependency is held to one.

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Stmt};

use super::failure;
use crate::execution::{Failure, FailureClass, Position};

/// The other scripts that a source names, anywhere in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// What it imports, each once, in order.
    pub(crate) imports: Vec<Import>,
    /// Whether it imports something whose name is only known when it runs.
    pub(crate) imports_more: bool,
    /// What it calls by `scripts::invoke("name")`.
    pub(crate) invokes: Vec<String>,
    /// Whether it invokes something whose name is only known when it runs.
    pub(crate) invokes_more: bool,
}

/// An import by a name that stands in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) at: Option<Position>,
}

impl Outline {
    pub(crate) fn of(ast: &AST) -> Self {
        let mut outline = Outline::default();
        ast.walk(&mut |path: &[ASTNode<'_>]| outline.see(path));
        outline
    }

    /// Looks at the innermost node of a path.
    fn see(&mut self, path: &[ASTNode<'_>]) -> bool {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Import(import, _))) => self.import(&import.0),
            Some(ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _))) => {
                self.call(call)
            }
            // The interpreter's own walk passes this one by.
            Some(ASTNode::Stmt(Stmt::BreakLoop(Some(value), ..))) => {
                value.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| self.see(path));
            }
            _ => {}
        }
        true
    }

    fn import(&mut self, name: &Expr) {
        match text(name) {
            Some(text) if self.imports.iter().any(|import| import.name == text) => {}
            Some(text) => {
                self.imports.push(Import { name: text, at: failure::position(name.start_position()) })
            }
            None => self.imports_more = true,
        }
    }

    fn call(&mut self, call: &FnCallExpr) {
        let is_invoke = call.name == "invoke" && call.namespace.to_string() == "scripts";
        match call.args.first().filter(|_| is_invoke).map(text) {
            Some(Some(name)) if !self.invokes.contains(&name) => self.invokes.push(name),
            Some(None) => self.invokes_more = true,
            _ => {}
        }
    }
}

/// A text that stands in the source.
fn text(expr: &Expr) -> Option<String> {
    expr.get_literal_value(None)?.into_string().ok()
}

/// Checks that the top level has functions, constants and imports only.
pub(crate) fn check_module(ast: &AST) -> Result<(), Failure> {
    for statement in ast.statements() {
        let found = match statement {
            Stmt::Noop(_) | Stmt::Import(..) | Stmt::Export(..) => continue,
            Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::CONSTANT) => continue,
            Stmt::Var(..) => "a variable stands here: write const, or export const for importers to see it",
            Stmt::Assignment(..) => "an assignment stands here",
            Stmt::FnCall(..) => "a call stands here",
            _ => "a statement stands here",
        };
        return Err(Failure {
            position: failure::position(statement.position()),
            ..Failure::new(
                FailureClass::Compile,
                format!("a module has only functions, constants and imports at its top level; {found}"),
            )
        });
    }
    Ok(())
}

/// Whether loading the module is the same each time, whoever asks: it has nothing but functions and constants that are
/// written out.
pub(crate) fn is_static(ast: &AST) -> bool {
    ast.statements().iter().all(|statement| match statement {
        Stmt::Noop(_) | Stmt::Export(..) => true,
        Stmt::Var(variable, ..) => variable.1.get_literal_value(None).is_some(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(source: &str) -> AST {
        let mut engine = rhai::Engine::new_raw();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        engine.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"))
    }

    fn imports(source: &str) -> (Vec<String>, bool) {
        let outline = Outline::of(&parsed(source));
        (outline.imports.into_iter().map(|import| import.name).collect(), outline.imports_more)
    }

    #[test]
    fn imports_are_found_wherever_they_stand() {
        for source in [
            r#"import "a" as x;"#,
            r#"import `a` as x;"#,
            r#"fn f() { import "a" as x; }"#,
            r#"let f = || { import "a" as x; x::f() };"#,
            r#"let f = |y| [1].map(|z| { import "a" as x; x::f() });"#,
            r#"if true { import "a" as x; }"#,
            r#"if true { } else { import "a" as x; }"#,
            r#"if ({ import "a" as x; x::f() }) == 1 { }"#,
            r#"while true { import "a" as x; }"#,
            r#"loop { break { import "a" as x; x::f() }; }"#,
            r#"loop { break { loop { break { import "a" as x; x::f() }; } }; }"#,
            r#"do { import "a" as x; } while false;"#,
            r#"for i in 0..1 { import "a" as x; }"#,
            r#"for i in [{ import "a" as x; x::f() }] { }"#,
            r#"switch 1 { 1 => { import "a" as x; } }"#,
            r#"switch 1 { _ => { import "a" as x; } }"#,
            r#"switch 1 { 0..9 => { import "a" as x; } }"#,
            r#"switch 1 { 1 if ({ import "a" as x; x::f() }) == 1 => 1 }"#,
            r#"try { import "a" as x; } catch { }"#,
            r#"try { } catch { import "a" as x; }"#,
            r#"return { import "a" as x; x::f() };"#,
            r#"throw { import "a" as x; x::f() };"#,
            r#"let y = [{ import "a" as x; x::f() }];"#,
            r#"let y = #{ k: { import "a" as x; x::f() } };"#,
            r#"let y = `${{ import "a" as x; x::f() }}`;"#,
            r#"let y = 0; y = { import "a" as x; x::f() };"#,
            r#"f({ import "a" as x; x::f() });"#,
            r#"let y = 1; y.f({ import "a" as x; x::f() });"#,
            r#"let y = [1]; y[{ import "a" as x; x::f() }]"#,
            r#"1 + { import "a" as x; x::f() }"#,
            r#"true && { import "a" as x; x::f() }"#,
            r#"() ?? { import "a" as x; x::f() }"#,
            r#"const C = { import "a" as x; x::f() };"#,
            r#"{ { import "a" as x; } }"#,
            r#"import "a" as x; import "a" as y;"#,
        ] {
            assert_eq!(imports(source), (vec!["a".to_owned()], false), "{source}");
        }
    }

    #[test]
    fn what_only_looks_like_an_import_is_none() {
        for source in ["// import \"a\" as x;", "let x = \"import 'a' as x\";", "/* import \"a\" as x; */ 1"]
        {
            assert_eq!(imports(source), (Vec::new(), false), "{source}");
        }
    }

    #[test]
    fn names_made_at_run_time_are_told_apart() {
        assert_eq!(imports("let n = \"a\"; import n as x;"), (Vec::new(), true));
        assert_eq!(imports("import \"a\" + 1 as x;"), (Vec::new(), true));
        assert_eq!(imports("import `a${1}` as x;"), (Vec::new(), true));
    }

    #[test]
    fn an_import_is_told_with_its_place() {
        let outline = Outline::of(&parsed("let x = 1;\n  import \"a\" as y;"));
        assert_eq!(outline.imports[0].at, Some(Position { line: 2, column: 10 }));
    }

    #[test]
    fn invocations_by_name_are_found() {
        let of = |source| {
            let outline = Outline::of(&parsed(source));
            (outline.invokes, outline.invokes_more)
        };
        assert_eq!(of("scripts::invoke(\"a\");"), (vec!["a".to_owned()], false));
        assert_eq!(
            of("let x = scripts::invoke(\"a\", 1) + scripts::invoke(\"a\");"),
            (vec!["a".to_owned()], false)
        );
        assert_eq!(of("fn f(n) { scripts::invoke(n) }"), (Vec::new(), true));
        assert_eq!(of("invoke(\"a\"); other::invoke(\"a\"); scripts::other(\"a\")"), (Vec::new(), false));
    }

    #[test]
    fn a_module_has_functions_constants_and_imports() {
        for source in [
            "",
            "// nothing",
            "fn f() { 1 } private fn g() { let x = 1; x }",
            "const A = 1; export const B = A + 1;",
            "const A = 1; export A as B;",
            "import \"a\" as a; const B = a::f();",
            "const F = |x| x + 1;",
            "const A = { let x = 1; x };",
            ";;",
        ] {
            assert_eq!(check_module(&parsed(source)), Ok(()), "{source}");
        }
        for (source, line, column) in [
            ("fn f() { }\n1 + 1", 2, 3),
            ("let x = 1;", 1, 1),
            ("export let x = 1;", 1, 1),
            ("const A = 1;\nprint(1);", 2, 1),
            ("if true { }", 1, 1),
            ("{ const A = 1; }", 1, 1),
            ("loop { break; }", 1, 1),
            ("return 1;", 1, 1),
            ("throw 1;", 1, 1),
            ("try { } catch { }", 1, 1),
            ("kv::collection(\"c\").set(\"k\", 1)", 1, 1),
            ("const A = 1; A", 1, 14),
        ] {
            let failure = check_module(&parsed(source)).unwrap_err();
            assert_eq!(failure.class, FailureClass::Compile);
            let at = failure.position.unwrap();
            assert_eq!(at.line, line, "{source}: {at:?}");
            assert!(at.column >= column, "{source}: {at:?}");
        }
    }

    #[test]
    fn only_what_is_written_out_is_the_same_each_time() {
        for source in
            ["fn f() { now() }", "const A = 1; export const B = #{ a: [1, \"x\"] };", "const F = |x| x;", ""]
        {
            assert!(is_static(&parsed(source)), "{source}");
        }
        for source in [
            "import \"a\" as a;",
            "const A = f();",
            "const A = ctx;",
            "const A = 1; const B = A;",
            "const A = { let x = 1; || { x += 1; x } };",
            "const A = [f()];",
            "const A = `${f()}`;",
        ] {
            assert!(!is_static(&parsed(source)), "{source}");
        }
    }
}
