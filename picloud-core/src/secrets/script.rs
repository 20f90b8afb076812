//! What scripts see of secrets: `secrets::get(name)`, and a value that has little to say.

use std::sync::Arc;

use super::{Secret, SecretName, SecretsService};
use crate::engine::{Handle, ScriptModule, This};
use crate::{CallCx, Error};

/// The script module `secrets` on top of a (guarded) service.
pub(crate) fn module(secrets: Arc<dyn SecretsService>) -> ScriptModule {
    ScriptModule::new("secrets")
        .doc("Secrets of this app: for headers of outbound requests, for signing and comparing. They cannot be read.")
        .small_answers()
        .handle_type::<Secret>("Secret")
        .async_function("get(name: string) -> Secret", move |cx: CallCx, name: String| {
            let secrets = secrets.clone();
            async move { secrets.get(&cx, &SecretName::new(name)?).await.map(Handle) }
        })
        .function(
            "Secret.with_prefix(text: string) -> Secret",
            |_cx: CallCx, This(secret): This<Secret>, text: String| {
                Ok::<_, Error>(Handle(secret.with_prefix(&text)?))
            },
        )
        .function("Secret.to_string() -> string", |_cx: CallCx, This(secret): This<Secret>| secret.to_string())
        .function("Secret.to_debug() -> string", |_cx: CallCx, This(secret): This<Secret>| secret.to_string())
}
