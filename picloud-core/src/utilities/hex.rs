//! The script module `hex`.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{decoded, encoded};
use crate::CallCx;
use crate::engine::{Bytes, ScriptModule};

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("hex")
        .doc("Bytes as hexadecimal text in lower case, and back from either case.")
        .function("encode(data: string | blob) -> string", |_cx: CallCx, data: Bytes| {
            encoded("hex.too_large", &HEXLOWER, data.as_slice())
        })
        .function("decode(text: string | blob) -> blob", |_cx: CallCx, text: Bytes| {
            decoded(["hex.invalid", "hex.too_large"], "hexadecimal", &HEXLOWER_PERMISSIVE, text.as_slice())
        })
        .about("encode", "Text in lower case.")
        .about("decode", "The bytes. Throws `hex.invalid` with the place.")
}
