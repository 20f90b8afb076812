//! The decision table.

use super::{AppRole, Capability, InstanceRole, Principal, PrincipalKind, Scope};
use crate::AppId;

/// What a capability asks for.
enum Needs {
    App(AppRole),
    Instance(InstanceRole),
}

impl Capability {
    /// The scope an API key must carry.
    pub fn scope(self) -> Scope {
        self.rule().0
    }

    fn rule(self) -> (Scope, Needs) {
        use Capability::*;
        use Needs::{App, Instance};
        match self {
            AppRead | AppKvRead | AppDocsRead | AppFilesRead | AppSecretsRead => {
                (Scope::ScriptRead, App(AppRole::Viewer))
            }
            AppWriteScript | AppKvWrite | AppDocsWrite | AppFilesWrite | AppPubsubPublish | AppQueueSend
            | AppHttpRequest | AppSecretsWrite => (Scope::ScriptWrite, App(AppRole::Editor)),
            AppWriteRoute => (Scope::RouteWrite, App(AppRole::Editor)),
            AppLogRead => (Scope::LogRead, App(AppRole::Viewer)),
            AppManageDomains => (Scope::DomainManage, App(AppRole::AppAdmin)),
            AppManageTriggers | AppDeadLetterManage | AppAdmin => (Scope::AppAdmin, App(AppRole::AppAdmin)),
            InstanceCreateApp | InstanceManageUsers => (Scope::InstanceAdmin, Instance(InstanceRole::Admin)),
            InstanceManageSettings => (Scope::InstanceAdmin, Instance(InstanceRole::Owner)),
        }
    }
}

impl Principal {
    /// The role in `app`, implicit grants included.
    pub fn role_in(&self, app: AppId) -> Option<AppRole> {
        if self.instance_role >= Some(InstanceRole::Admin) {
            return Some(AppRole::AppAdmin);
        }
        self.memberships.iter().filter(|(id, _)| *id == app).map(|(_, role)| *role).max()
    }

    /// Whether role, key scopes and the key's app binding all allow `capability`. `app` is the app that the
    /// call is about; capabilities of the instance ignore it, but a key bound to an app never has them.
    pub fn allows(&self, capability: Capability, app: Option<AppId>) -> bool {
        let (scope, needs) = capability.rule();
        let by_role = match needs {
            Needs::Instance(least) => self.instance_role >= Some(least),
            Needs::App(least) => app.and_then(|app| self.role_in(app)) >= Some(least),
        };
        let by_scope = self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope));
        let by_binding = match needs {
            Needs::Instance(_) => self.bound_app.is_none(),
            Needs::App(_) => self.bound_app.is_none_or(|bound| Some(bound) == app),
        };
        self.kind != PrincipalKind::Caller && by_role && by_scope && by_binding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Capability; 22] = {
        use Capability::*;
        [
            InstanceCreateApp,
            InstanceManageUsers,
            InstanceManageSettings,
            AppRead,
            AppWriteScript,
            AppWriteRoute,
            AppManageDomains,
            AppManageTriggers,
            AppDeadLetterManage,
            AppLogRead,
            AppAdmin,
            AppKvRead,
            AppKvWrite,
            AppDocsRead,
            AppDocsWrite,
            AppFilesRead,
            AppFilesWrite,
            AppPubsubPublish,
            AppQueueSend,
            AppHttpRequest,
            AppSecretsRead,
            AppSecretsWrite,
        ]
    };

    fn allowed(principal: &Principal, app: AppId) -> Vec<Capability> {
        ALL.into_iter().filter(|capability| principal.allows(*capability, Some(app))).collect()
    }

    #[test]
    fn each_role_has_exactly_its_capabilities() {
        use Capability::*;
        let app = AppId::new();
        let user = || Principal::new(PrincipalKind::User, "u", "ada");
        let viewer = vec![AppRead, AppLogRead, AppKvRead, AppDocsRead, AppFilesRead, AppSecretsRead];
        let editor: Vec<_> = ALL
            .into_iter()
            .filter(|c| {
                viewer.contains(c)
                    || matches!(
                        c,
                        AppWriteScript
                            | AppWriteRoute
                            | AppKvWrite
                            | AppDocsWrite
                            | AppFilesWrite
                            | AppPubsubPublish
                            | AppQueueSend
                            | AppHttpRequest
                            | AppSecretsWrite
                    )
            })
            .collect();
        let app_admin: Vec<_> = ALL
            .into_iter()
            .filter(|c| !matches!(c, InstanceCreateApp | InstanceManageUsers | InstanceManageSettings))
            .collect();
        let admin: Vec<_> = ALL.into_iter().filter(|c| *c != InstanceManageSettings).collect();
        assert_eq!(allowed(&user(), app), vec![]);
        assert_eq!(allowed(&user().instance_role(InstanceRole::Member), app), vec![]);
        assert_eq!(allowed(&user().member(app, AppRole::Viewer), app), viewer);
        assert_eq!(allowed(&user().member(app, AppRole::Editor), app), editor);
        assert_eq!(allowed(&user().member(app, AppRole::AppAdmin), app), app_admin);
        assert_eq!(allowed(&user().instance_role(InstanceRole::Admin), app), admin);
        assert_eq!(allowed(&user().instance_role(InstanceRole::Owner), app), ALL.to_vec());
    }

    #[test]
    fn a_membership_is_good_for_its_app_only() {
        let (app, other) = (AppId::new(), AppId::new());
        let editor = Principal::new(PrincipalKind::User, "u", "ada").member(app, AppRole::Editor);
        assert_eq!(allowed(&editor, other), vec![]);
    }

    #[test]
    fn a_key_is_narrowed_by_each_scope_and_by_its_binding() {
        let (app, other) = (AppId::new(), AppId::new());
        let owner = Principal::new(PrincipalKind::ApiKey, "k", "ada").instance_role(InstanceRole::Owner);
        let scopes = [
            Scope::ScriptRead,
            Scope::ScriptWrite,
            Scope::RouteWrite,
            Scope::DomainManage,
            Scope::LogRead,
            Scope::AppAdmin,
            Scope::InstanceAdmin,
        ];
        for scope in scopes {
            let key = owner.clone().scopes([scope]);
            for capability in ALL {
                assert_eq!(
                    key.allows(capability, Some(app)),
                    capability.scope() == scope,
                    "{scope:?} {capability:?}"
                );
            }
        }
        let bound = owner.clone().bound_to(app);
        assert!(bound.allows(Capability::AppKvWrite, Some(app)));
        assert!(!bound.allows(Capability::AppKvWrite, Some(other)));
        assert!(!bound.allows(Capability::InstanceCreateApp, Some(app)));
        assert!(!owner.scopes([]).allows(Capability::AppRead, Some(app)));
    }

    #[test]
    fn a_caller_is_never_allowed_anything_even_with_a_role() {
        let app = AppId::new();
        let caller = Principal::caller("c", "visitor").instance_role(InstanceRole::Owner);
        assert_eq!(allowed(&caller, app), vec![]);
    }
}
