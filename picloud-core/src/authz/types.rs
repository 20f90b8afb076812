//! The vocabulary of authorisation.

use serde::{Deserialize, Serialize};

use crate::AppId;

/// What kind of caller a [`Principal`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person with an account.
    User,
    /// An API key of a user.
    ApiKey,
    /// The host application itself, for what it registers from its own code.
    Host,
    /// An end user whom the host vouches for and who has no picloud role. Visible to scripts; counts as
    /// anonymous wherever capabilities are checked.
    Caller,
}

/// A role in the whole instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceRole {
    /// Exactly the roles of the memberships.
    Member,
    /// Implicitly [`AppRole::AppAdmin`] of every app.
    Admin,
    /// Everything.
    Owner,
}

/// A role in one app. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppRole {
    /// Reads.
    Viewer,
    /// Writes scripts, routes and data.
    Editor,
    /// Manages triggers, domains, members, dead letters and the app itself.
    AppAdmin,
}

/// What an API key may be used for. No scope implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// `script:read`
    #[serde(rename = "script:read")]
    ScriptRead,
    /// `script:write`
    #[serde(rename = "script:write")]
    ScriptWrite,
    /// `route:write`
    #[serde(rename = "route:write")]
    RouteWrite,
    /// `domain:manage`
    #[serde(rename = "domain:manage")]
    DomainManage,
    /// `log:read`
    #[serde(rename = "log:read")]
    LogRead,
    /// `app:admin`
    #[serde(rename = "app:admin")]
    AppAdmin,
    /// `instance:admin`
    #[serde(rename = "instance:admin")]
    InstanceAdmin,
}

/// One thing that somebody may be allowed to do. Finer than scopes; each maps to one scope and a least role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the documentation; the table in `decide` says the rest")]
pub enum Capability {
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
}

/// Who is behind a call.
///
/// Made by a [`PrincipalResolver`](super::PrincipalResolver); scripts see `kind`, `id` and `name` of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// What kind of caller this is.
    pub kind: PrincipalKind,
    /// Stable and unique among the principals of its kind.
    pub id: String,
    /// For people.
    pub name: String,
    /// The role in the whole instance, if it has one.
    pub instance_role: Option<InstanceRole>,
    /// The roles in single apps.
    pub memberships: Vec<(AppId, AppRole)>,
    /// For API keys: the scopes that the key carries. `None` does not narrow the role.
    pub scopes: Option<Vec<Scope>>,
    /// For API keys: the only app that the key is good for. `None` does not narrow the role.
    pub bound_app: Option<AppId>,
}

impl Principal {
    /// A principal without any role.
    pub fn new(kind: PrincipalKind, id: impl Into<String>, name: impl Into<String>) -> Self {
        Principal {
            kind,
            id: id.into(),
            name: name.into(),
            instance_role: None,
            memberships: Vec::new(),
            scopes: None,
            bound_app: None,
        }
    }

    /// An end user of the host: visible in `ctx.principal`, anonymous for every check.
    pub fn caller(id: impl Into<String>, name: impl Into<String>) -> Self {
        Principal::new(PrincipalKind::Caller, id, name)
    }

    /// The principal of what a host registers in `app` from its own code: `app_admin` there, nothing elsewhere.
    pub fn host(app: AppId) -> Self {
        Principal::new(PrincipalKind::Host, "host", "host").member(app, AppRole::AppAdmin)
    }

    /// Gives a role in the whole instance.
    #[must_use]
    pub fn instance_role(mut self, role: InstanceRole) -> Self {
        self.instance_role = Some(role);
        self
    }

    /// Gives a role in one app.
    #[must_use]
    pub fn member(mut self, app: AppId, role: AppRole) -> Self {
        self.memberships.push((app, role));
        self
    }

    /// Narrows to the scopes of an API key.
    #[must_use]
    pub fn scopes(mut self, scopes: impl Into<Vec<Scope>>) -> Self {
        self.scopes = Some(scopes.into());
        self
    }

    /// Narrows to one app.
    #[must_use]
    pub fn bound_to(mut self, app: AppId) -> Self {
        self.bound_app = Some(app);
        self
    }
}
