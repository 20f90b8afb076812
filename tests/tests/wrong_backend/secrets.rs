//! Wrong stores of secrets: the memory backend's, except in one way.

use std::sync::Arc;

use picloud_core::secrets::{SealedSecret, SecretInfo, SecretName, SecretStore};
use picloud_core::{AppId, Error, Result, Timestamp, async_trait};

crate::wrongs! {
    MissingIsAFailure: a_missing_secret_reads_as_none;
    ZeroesEnd: a_secret_reads_back_as_it_was_put;
    HostsAreSorted: a_secret_reads_back_as_it_was_put lists_tell_hosts_and_times;
    TimesAreInSeconds: a_secret_reads_back_as_it_was_put lists_tell_hosts_and_times;
    LargeOnesAreCut: the_largest_secret_fits;
    HostsStay: putting_replaces_all_of_it;
    NothingIsReplaced: putting_replaces_all_of_it an_expectation_that_holds_replaces;
    NoExpectationHolds: an_expectation_that_holds_replaces;
    ExpectationsAreIgnored: an_expectation_that_does_not_hold_changes_nothing an_expectation_of_what_is_missing_stores_nothing;
    MissingIsEmpty: an_expectation_of_what_is_missing_stores_nothing;
    DeletingAlwaysWorks: deleting_tells_whether_it_was_there;
    DeletingDoesNothing: deleting_tells_whether_it_was_there;
    ListsAreBackwards: lists_are_in_order_of_the_names;
    /// All apps share one drawer.
    AppsAreIgnored: secrets_of_another_app_do_not_exist;
}

#[derive(Debug)]
pub(crate) struct WrongSecrets {
    wrong: Option<Wrong>,
    right: Arc<dyn SecretStore>,
    drawer: AppId,
}

impl WrongSecrets {
    pub(crate) fn new(right: Arc<dyn SecretStore>, wrong: Option<Wrong>) -> Self {
        WrongSecrets { wrong, right, drawer: AppId::new() }
    }

    fn app(&self, app: AppId) -> AppId {
        if self.wrong == Some(Wrong::AppsAreIgnored) { self.drawer } else { app }
    }
}

#[async_trait]
impl SecretStore for WrongSecrets {
    async fn get(&self, app: AppId, name: &SecretName) -> Result<Option<SealedSecret>> {
        match self.right.get(self.app(app), name).await? {
            None if self.wrong == Some(Wrong::MissingIsAFailure) => {
                Err(Error::not_found("secrets.not_found", "there is none"))
            }
            found => Ok(found),
        }
    }

    async fn put(&self, app: AppId, secret: &SealedSecret, expected: Option<&[u8]>) -> Result<bool> {
        let app = self.app(app);
        let mut secret = secret.clone();
        let known = self.right.get(app, &secret.name).await?;
        match self.wrong {
            Some(Wrong::ZeroesEnd) => {
                secret.sealed = secret.sealed.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
            }
            Some(Wrong::HostsAreSorted) => secret.hosts.sort(),
            Some(Wrong::TimesAreInSeconds) => {
                secret.updated_at = Timestamp::from_second(secret.updated_at.as_second()).unwrap();
            }
            Some(Wrong::LargeOnesAreCut) => secret.sealed.truncate(8_000),
            Some(Wrong::HostsStay) => {
                if let Some(known) = known {
                    secret.hosts = known.hosts;
                }
            }
            Some(Wrong::NothingIsReplaced) if known.is_some() => return Ok(true),
            Some(Wrong::NoExpectationHolds) if expected.is_some() => return Ok(false),
            Some(Wrong::ExpectationsAreIgnored) => return self.right.put(app, &secret, None).await,
            Some(Wrong::MissingIsEmpty) if known.is_none() && expected == Some(b"") => {
                return self.right.put(app, &secret, None).await;
            }
            _ => {}
        }
        self.right.put(app, &secret, expected).await
    }

    async fn delete(&self, app: AppId, name: &SecretName) -> Result<bool> {
        match self.wrong {
            Some(Wrong::DeletingDoesNothing) => Ok(self.right.get(self.app(app), name).await?.is_some()),
            Some(Wrong::DeletingAlwaysWorks) => self.right.delete(self.app(app), name).await.map(|_| true),
            _ => self.right.delete(self.app(app), name).await,
        }
    }

    async fn list(&self, app: AppId) -> Result<Vec<SecretInfo>> {
        let mut list = self.right.list(self.app(app)).await?;
        if self.wrong == Some(Wrong::ListsAreBackwards) {
            list.reverse();
        }
        Ok(list)
    }
}
