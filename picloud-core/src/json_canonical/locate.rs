//! Finding places in JSON text that is known to be valid: only ever run for the sake of an error.

use std::ops::Range;

use super::failure::{Failure, Step};
use super::writer::decoded;

/// What the walk came upon. The range is its place in the text.
enum Token {
    /// A string as a value, a number or a word.
    Scalar(Range<usize>),
    Key(Range<usize>),
    /// An opening bracket.
    Open(usize),
    /// The end of a closing bracket.
    Close(usize),
}

enum Frame {
    Array(usize),
    Object(Option<Range<usize>>),
}

/// Goes through valid `text` until `stop`, and answers the steps to there, innermost first.
fn walk(text: &str, mut stop: impl FnMut(&Token) -> bool) -> Option<Vec<Step>> {
    let bytes = text.as_bytes();
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        let mut entered = None;
        let token = match byte {
            b'[' | b'{' => {
                entered = Some(if byte == b'[' { Frame::Array(0) } else { Frame::Object(None) });
                Token::Open(start)
            }
            b']' | b'}' => {
                frames.pop();
                Token::Close(at)
            }
            b',' => {
                match frames.last_mut() {
                    Some(Frame::Array(index)) => *index += 1,
                    Some(Frame::Object(key)) => *key = None,
                    None => {}
                }
                continue;
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => {
                while let Some(&byte) = bytes.get(at) {
                    at += if byte == b'\\' { 2 } else { 1 };
                    if byte == b'"' {
                        break;
                    }
                }
                match frames.last_mut() {
                    Some(Frame::Object(key @ None)) => {
                        *key = Some(start..at);
                        Token::Key(start..at)
                    }
                    _ => Token::Scalar(start..at),
                }
            }
            _ => {
                let rest = bytes.get(at..).unwrap_or_default();
                let more = rest.iter().position(|byte| b",]} \t\n\r".contains(byte));
                at += more.unwrap_or(rest.len());
                Token::Scalar(start..at)
            }
        };
        if stop(&token) {
            let steps = frames.iter().rev().filter_map(|frame| match frame {
                Frame::Array(index) => Some(Step::Index(*index)),
                Frame::Object(key) => {
                    key.clone().and_then(|key| text.get(key)).map(|literal| Step::key(&decoded(literal)))
                }
            });
            return Some(steps.collect());
        }
        frames.extend(entered);
    }
    None
}

/// The first integer of valid `text` that `i64` does not hold. The parser turns such a number into a float
/// before anyone sees it.
pub(super) fn oversized_integer(text: &str) -> Option<Failure> {
    let mut literal = "";
    let steps = walk(text, |token| {
        let Token::Scalar(range) = token else { return false };
        literal = text.get(range.clone()).unwrap_or_default();
        let is_number = literal.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        is_number && !literal.contains(['.', 'e', 'E']) && literal.parse::<i64>().is_err()
    })?;
    Some(Failure::integer(literal).inside_all(steps))
}

/// What serde has against valid `text` as a value of some type, and where.
pub(crate) fn mismatch(text: &str, error: &serde_json::Error) -> Failure {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
    };
    let offset = line_start + error.column();
    // The parser has read a scalar and a key when it complains, and stands before an opening bracket.
    let steps = walk(text, |token| match token {
        Token::Scalar(range) | Token::Key(range) => range.end >= offset,
        Token::Open(start) => *start >= offset,
        Token::Close(end) => *end >= offset,
    });
    // Whoever wrote the value did not write this text: the position in it means nothing to them.
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&position).unwrap_or(&message);
    Failure::mismatch(message).inside_all(steps.unwrap_or_default())
}
