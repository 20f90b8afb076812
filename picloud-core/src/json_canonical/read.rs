//! Reading JSON: the rules that hold whatever is read into, and the reader that writes canonical text.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::de::StrRead;

use super::failure::{Failure, Step};
use super::locate;
use super::writer::{Object, Writer};
use crate::{Json, Result};

/// What a reader notes on its way: why it refuses and where. It rides along by reference, because errors of
/// serde carry nothing but text.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// How much deeper than values what is read may nest: an event wraps a value.
    pub(crate) extra_depth: usize,
    /// Whether reading is counted as operations of the script that runs, and lets others run in between.
    pub(crate) takes_turns: bool,
    /// Elements and entries read so far.
    pub(crate) items: u32,
    failure: Option<Failure>,
    /// Innermost first, added while the containers are left.
    steps: Vec<Step>,
    /// A float was read that may have been an integer in the text.
    suspect: bool,
}

impl Trace {
    /// Ends reading with `failure`.
    #[cold]
    pub(crate) fn refuse<E: de::Error>(&mut self, failure: Failure) -> E {
        let error = E::custom(&failure);
        self.failure = Some(failure);
        error
    }

    /// Notes that the failure is within this element or entry.
    #[cold]
    pub(crate) fn left(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// The depth of a container within `depth` others.
    pub(crate) fn enter<E: de::Error>(&mut self, depth: usize) -> Result<usize, E> {
        if depth < Json::MAX_DEPTH + self.extra_depth {
            Ok(depth + 1)
        } else {
            Err(self.refuse(Failure::too_deep()))
        }
    }

    /// An integer of any width, if `i64` holds it.
    pub(crate) fn integer<E: de::Error>(
        &mut self,
        value: impl TryInto<i64> + Copy + fmt::Display,
    ) -> Result<i64, E> {
        value.try_into().map_err(|_| self.refuse(Failure::integer(value)))
    }

    /// A float. The parser hands over integers outside 64 bits as floats: the text has to tell.
    pub(crate) fn float(&mut self, value: f64) -> f64 {
        const FIRST_OUTSIDE: f64 = 9_223_372_036_854_775_808.0;
        self.suspect |= value.abs() >= FIRST_OUTSIDE;
        value
    }

    fn into_failure(self, error: &dyn fmt::Display) -> Failure {
        self.failure.unwrap_or_else(|| Failure::invalid(error.to_string())).inside_all(self.steps)
    }
}

/// Reads the whole of `text` with `run`.
pub(crate) fn read<'de, T>(
    text: &'de str,
    run: impl FnOnce(
        &mut Trace,
        &mut serde_json::Deserializer<StrRead<'de>>,
    ) -> std::result::Result<T, serde_json::Error>,
) -> Result<T> {
    let mut trace = Trace::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = run(&mut trace, &mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| std::mem::take(&mut trace).into_failure(&error))?;
    if trace.suspect
        && let Some(failure) = locate::oversized_integer(text)
    {
        return Err(failure.into());
    }
    Ok(value)
}

/// Reads one value from any format and writes it as canonical text.
pub(super) struct Transcode<'t> {
    trace: &'t mut Trace,
    out: &'t mut Writer,
    depth: usize,
}

impl<'t> Transcode<'t> {
    pub(super) fn new(trace: &'t mut Trace, out: &'t mut Writer) -> Self {
        Transcode { trace, out, depth: 0 }
    }

    fn within(&mut self, depth: usize) -> Transcode<'_> {
        Transcode { trace: self.trace, out: self.out, depth }
    }

    fn done<E: de::Error>(&mut self, written: Result<(), Failure>) -> Result<(), E> {
        written.map_err(|failure| self.trace.refuse(failure))
    }
}

impl<'de> DeserializeSeed<'de> for Transcode<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        let written = self.out.null();
        self.done(written)
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<(), E> {
        let written = self.out.bool(value);
        self.done(written)
    }

    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        let written = self.out.int(value);
        self.done(written)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        let value = self.trace.integer(value)?;
        self.visit_i64(value)
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<(), E> {
        let value = self.trace.integer(value)?;
        self.visit_i64(value)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<(), E> {
        let value = self.trace.integer(value)?;
        self.visit_i64(value)
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        let value = self.trace.float(value);
        let written = self.out.float(value);
        self.done(written)
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<(), E> {
        let written = self.out.string(value);
        self.done(written)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let depth = self.trace.enter(self.depth)?;
        let written = self.out.mark('[');
        self.done(written)?;
        for index in 0.. {
            match access.next_element_seed(Element { to: self.within(depth), index }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.trace.left(Step::Index(index));
                    return Err(error);
                }
            }
        }
        let written = self.out.mark(']');
        self.done(written)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let depth = self.trace.enter(self.depth)?;
        let mut object = self.out.open_object().map_err(|failure| self.trace.refuse(failure))?;
        while let Some(()) = access.next_key_seed(Key { to: self.within(depth), object: &mut object })? {
            if let Err(error) = access.next_value_seed(self.within(depth)) {
                self.trace.left(Step::key(&self.out.current_key(&object)));
                return Err(error);
            }
        }
        let written = self.out.close_object(&object);
        self.done(written)
    }
}

struct Element<'t> {
    to: Transcode<'t>,
    index: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        if self.index > 0 {
            let written = self.to.out.mark(',');
            self.to.done(written)?;
        }
        deserializer.deserialize_any(self.to)
    }
}

struct Key<'t> {
    to: Transcode<'t>,
    object: &'t mut Object,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string as key")
    }

    fn visit_str<E: de::Error>(mut self, key: &str) -> Result<(), E> {
        let written = self.to.out.key(self.object, key);
        self.to.done(written)
    }
}

impl<'de> de::Deserialize<'de> for Json {
    /// Integers outside `i64` are refused where the format tells them from floats: JSON text read by another
    /// parser does not past 64 bits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut trace, mut out) = (Trace::default(), Writer::new(usize::MAX));
        match Transcode::new(&mut trace, &mut out).deserialize(deserializer) {
            Ok(()) => Ok(Json::from_canonical(out.into_text())),
            Err(error) if trace.failure.is_none() => Err(error),
            Err(error) => Err(de::Error::custom(trace.into_failure(&error))),
        }
    }
}
