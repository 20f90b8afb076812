//! The contract of [`SecretStore`](super::SecretStore), sentence by sentence.

use std::sync::Arc;

use super::{MAX_SECRET_BYTES, SealedSecret, SecretInfo, SecretName, SecretStore};
use crate::conformance::{Case, World, case_list};
use crate::{AppId, Result, Timestamp};

pub(crate) fn cases() -> Vec<Case> {
    case_list!["secrets":
        a_missing_secret_reads_as_none,
        a_secret_reads_back_as_it_was_put,
        the_largest_secret_fits,
        putting_replaces_all_of_it,
        an_expectation_that_holds_replaces,
        an_expectation_that_does_not_hold_changes_nothing,
        an_expectation_of_what_is_missing_stores_nothing,
        deleting_tells_whether_it_was_there,
        lists_are_in_order_of_the_names,
        lists_tell_hosts_and_times,
        secrets_of_another_app_do_not_exist,
    ]
}

struct Kept {
    store: Arc<dyn SecretStore>,
    app: AppId,
    other: AppId,
}

impl Kept {
    async fn new(world: World) -> Result<Self> {
        let store = world.backend().secrets();
        Ok(Kept { store, app: world.app().await?, other: world.app().await? })
    }
}

fn secret(name: &str, sealed: &[u8]) -> Result<SealedSecret> {
    Ok(SealedSecret {
        name: SecretName::new(name)?,
        sealed: sealed.to_vec(),
        hosts: vec!["z.example".to_owned(), "*.a.example".to_owned()],
        updated_at: Timestamp::constant(1_700_000_000, 123_456_000),
    })
}

fn info(secret: &SealedSecret) -> SecretInfo {
    SecretInfo { name: secret.name.clone(), hosts: secret.hosts.clone(), updated_at: secret.updated_at }
}

async fn a_missing_secret_reads_as_none(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    assert_eq!(kept.store.get(kept.app, &SecretName::new("a")?).await?, None);
    assert_eq!(kept.store.list(kept.app).await?, []);
    Ok(())
}

async fn a_secret_reads_back_as_it_was_put(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    for sealed in [&bytes[..], b"", b"\0\0"] {
        let secret = secret("a:b.c-D_9", sealed)?;
        assert!(kept.store.put(kept.app, &secret, None).await?);
        assert_eq!(kept.store.get(kept.app, &secret.name).await?, Some(secret));
    }
    Ok(())
}

async fn the_largest_secret_fits(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let secret = SealedSecret {
        hosts: (0..super::MAX_HOSTS).map(|n| format!("{n}.{}", "x".repeat(240))).collect(),
        ..secret(&"n".repeat(crate::MAX_NAME_BYTES), &vec![0xff; MAX_SECRET_BYTES + 256])?
    };
    kept.store.put(kept.app, &secret, None).await?;
    assert_eq!(kept.store.get(kept.app, &secret.name).await?, Some(secret));
    Ok(())
}

async fn putting_replaces_all_of_it(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let first = secret("a", b"one")?;
    kept.store.put(kept.app, &first, None).await?;
    let later = Timestamp::constant(1_800_000_000, 0);
    let second = SealedSecret { sealed: b"two".to_vec(), hosts: vec![], updated_at: later, ..first };
    assert!(kept.store.put(kept.app, &second, None).await?);
    assert_eq!(kept.store.get(kept.app, &second.name).await?, Some(second.clone()));
    assert_eq!(kept.store.list(kept.app).await?, [info(&second)]);
    Ok(())
}

async fn an_expectation_that_holds_replaces(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    kept.store.put(kept.app, &secret("a", b"one")?, None).await?;
    let second = secret("a", b"two")?;
    assert!(kept.store.put(kept.app, &second, Some(b"one")).await?);
    assert_eq!(kept.store.get(kept.app, &second.name).await?, Some(second));
    Ok(())
}

async fn an_expectation_that_does_not_hold_changes_nothing(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let first = secret("a", b"one")?;
    kept.store.put(kept.app, &first, None).await?;
    for expected in [&b"on"[..], b"one\0", b"two", b""] {
        assert!(!kept.store.put(kept.app, &secret("a", b"two")?, Some(expected)).await?);
    }
    assert_eq!(kept.store.get(kept.app, &first.name).await?, Some(first));
    Ok(())
}

async fn an_expectation_of_what_is_missing_stores_nothing(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let secret = secret("a", b"one")?;
    assert!(!kept.store.put(kept.app, &secret, Some(b"")).await?);
    assert_eq!(kept.store.get(kept.app, &secret.name).await?, None);
    Ok(())
}

async fn deleting_tells_whether_it_was_there(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let (a, b) = (secret("a", b"one")?, secret("b", b"two")?);
    assert!(!kept.store.delete(kept.app, &a.name).await?);
    kept.store.put(kept.app, &a, None).await?;
    kept.store.put(kept.app, &b, None).await?;
    assert!(kept.store.delete(kept.app, &a.name).await?);
    assert!(!kept.store.delete(kept.app, &a.name).await?);
    assert_eq!(kept.store.get(kept.app, &a.name).await?, None);
    assert_eq!(kept.store.list(kept.app).await?, [info(&b)]);
    Ok(())
}

async fn lists_are_in_order_of_the_names(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let ordered = ["-", ".", "0", ":", "A", "Z", "_", "a", "a.b", "aa", "b"];
    for name in ordered.iter().rev() {
        kept.store.put(kept.app, &secret(name, b"x")?, None).await?;
    }
    let list = kept.store.list(kept.app).await?;
    assert_eq!(list.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ordered);
    Ok(())
}

async fn lists_tell_hosts_and_times(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let secret = secret("a", b"x")?;
    kept.store.put(kept.app, &secret, None).await?;
    assert_eq!(kept.store.list(kept.app).await?, [info(&secret)]);
    Ok(())
}

async fn secrets_of_another_app_do_not_exist(world: World) -> Result<()> {
    let kept = Kept::new(world).await?;
    let (mine, theirs) = (secret("a", b"mine")?, secret("a", b"theirs")?);
    kept.store.put(kept.app, &mine, None).await?;
    assert_eq!(kept.store.get(kept.other, &mine.name).await?, None);
    assert_eq!(kept.store.list(kept.other).await?, []);
    assert!(!kept.store.delete(kept.other, &mine.name).await?);
    assert!(!kept.store.put(kept.other, &theirs, Some(b"mine")).await?);
    kept.store.put(kept.other, &theirs, None).await?;
    assert_eq!(kept.store.get(kept.app, &mine.name).await?, Some(mine));
    assert_eq!(kept.store.get(kept.other, &theirs.name).await?, Some(theirs));
    Ok(())
}
