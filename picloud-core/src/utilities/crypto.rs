//! The script module `crypto`.

use ctutils::{Choice, CtEq};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::engine::natives::{self, BYTES_PER_OPERATION};
use crate::engine::{Bytes, Operand, ScriptModule};
use crate::{CallCx, Error, ErrorKind, Result};

/// Bytes that are hashed in about the time of a few operations.
const HASHED_PER_OPERATION: usize = 1 << 10;

/// Most random bytes of one call: plenty for keys and tokens.
const MAX_RANDOM_BYTES: usize = 1_024;

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("crypto")
        .doc("Hashes, signatures, comparison that tells nothing by its time, randomness.")
        .small_answers()
        .function(
            "sha256(data: string | blob, encoding?: string) -> string | blob",
            |_cx: CallCx, data: Bytes, encoding: Option<String>| {
                spelt(&sha256(data.as_slice())?, encoding.as_deref())
            },
        )
        .function(
            "hmac_sha256(key: string | blob | Secret, data: string | blob, encoding?: string) -> string | blob",
            |_cx: CallCx, key: Operand, data: Bytes, encoding: Option<String>| {
                spelt(&hmac_sha256(key.as_slice(), data.as_slice())?, encoding.as_deref())
            },
        )
        .function(
            "equals(a: string | blob | Secret, b: string | blob | Secret) -> bool",
            |_cx: CallCx, a: Operand, b: Operand| equals(a.as_slice(), b.as_slice()),
        )
        .function("random_bytes(count: int) -> blob", |_cx: CallCx, count: i64| {
            match usize::try_from(count) {
                Ok(count) if count <= MAX_RANDOM_BYTES => random(vec![0; count]).map(Bytes::from),
                _ => Err(Error::invalid(
                    "crypto.invalid_count",
                    format!("the count is from 0 to {MAX_RANDOM_BYTES}"),
                )
                .with("count", count)),
            }
        })
        .function("uuid() -> string", |_cx: CallCx| {
            let id = uuid::Builder::from_random_bytes(random([0; 16])?).into_uuid();
            Ok::<_, Error>(Uuid::to_string(&id))
        })
        .about("sha256", "The hash: `\"hex\"` (lower case, unless said otherwise), `\"base64\"` or `\"blob\"`. Throws `crypto.invalid_encoding`.")
        .about("hmac_sha256", "The same of an HMAC: what a webhook is signed with, over the bytes as they came: `ctx.request.body_raw`.")
        .about("equals", "Whether the bytes are the same, in a time that does not tell where they differ: for signatures and tokens.")
        .about("random_bytes", "Up to 1 024 random bytes. Throws `crypto.invalid_count`.")
        .about("uuid", "A random UUID (version 4).")
}

pub(super) fn sha256(data: &[u8]) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    natives::in_pieces(data, HASHED_PER_OPERATION, |piece| hash.update(piece))?;
    Ok(hash.finalize().into())
}

pub(super) fn hmac_sha256(key: &[u8], data: &[u8]) -> Result<[u8; 32]> {
    // A long key is hashed first; done here so that it is done in pieces.
    let short = if key.len() > 64 { &sha256(key)? } else { key };
    let mut mac = Hmac::<Sha256>::new_from_slice(short)
        .map_err(|error| Error::internal("a key that is not taken").caused_by(error))?;
    natives::in_pieces(data, HASHED_PER_OPERATION, |piece| mac.update(piece))?;
    Ok(mac.finalize().into_bytes().into())
}

/// Whether two texts are the same bytes. How long it takes depends on their lengths, not on where they differ.
pub(super) fn equals(a: &[u8], b: &[u8]) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let mut same = Choice::TRUE;
    for (a, b) in a.chunks(BYTES_PER_OPERATION).zip(b.chunks(BYTES_PER_OPERATION)) {
        natives::spend(a.len())?;
        same &= a.ct_eq(b);
    }
    Ok(same.to_bool())
}

/// A hash as scripts want it.
fn spelt(hash: &[u8], encoding: Option<&str>) -> Result<Bytes> {
    match encoding.unwrap_or("hex") {
        "hex" => Ok(Bytes::from(HEXLOWER.encode(hash))),
        "base64" => Ok(Bytes::from(BASE64.encode(hash))),
        "blob" => Ok(Bytes::from(hash.to_vec())),
        other => {
            Err(Error::invalid("crypto.invalid_encoding", "an encoding is \"hex\", \"base64\" or \"blob\"")
                .with("encoding", other.chars().take(40).collect::<String>()))
        }
    }
}

fn random<B: AsMut<[u8]>>(mut bytes: B) -> Result<B> {
    getrandom::fill(bytes.as_mut()).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "crypto.no_randomness", "the system gives no random bytes")
            .caused_by(error)
    })?;
    Ok(bytes)
}
