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
        .about("get", "A secret that the host has set for this app. It can be the value of a header of `http::…`, to the hosts that it is bound to, the key of `crypto::hmac_sha256`, and either side of `crypto::equals`, and nothing else. Throws `secrets.not_found`, `secrets.invalid_name`, `secrets.not_enabled`.")
        .about("with_prefix", "The same secret with text before it: `secrets::get(\"mail\").with_prefix(\"Bearer \")`. Throws `secrets.prefix_too_long`.")
        .about("to_string", "Its name, not its value.")
        .about("to_debug", "Its name, not its value.")
}
