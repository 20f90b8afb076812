use rhai::packages::Package;
pub(crate) fn packages() -> Vec<rhai::Shared<rhai::Module>> {
    vec![rhai::packages::StandardPackage::new().as_shared_module()]
}
pub(crate) fn module() -> rhai::Shared<rhai::Module> {
    let mut m = rhai::Module::new();
    m.set_id("x");
    m.build_index();
    m.into()
}
