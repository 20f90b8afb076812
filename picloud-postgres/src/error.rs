//! Errors of the database as errors of picloud.

use picloud_core::{Error, ErrorKind};

use crate::schema::not_migrated;

/// What a failed call means to whoever made it. The cause is attached: it may tell of statements and rows, which scripts
/// never see.
pub(crate) fn of_database(error: sqlx::Error) -> Error {
    let new = |kind, code, message: &str| Error::new(kind, code, message);
    let state = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    let mapped = match (&error, state.as_deref()) {
        (_, Some("42P01" | "3F000" | "42703")) => not_migrated(),
        (_, Some("40001" | "40P01")) => new(
            ErrorKind::Unavailable,
            "postgres.contended",
            "the database gave way to another transaction; try again",
        ),
        (_, Some("57014")) => new(ErrorKind::Timeout, "postgres.timeout", "the database took too long"),
        (_, Some("25P03")) => picloud_core::tx_closed(),
        (_, Some("22021")) => {
            Error::invalid("postgres.invalid_text", "text holds a character that cannot be stored")
        }
        (_, Some(code)) if is_outage(code) => unavailable(),
        (error, None) if is_broken(error) => unavailable(),
        _ => Error::new(ErrorKind::Internal, "postgres.failed", "the database refused a statement"),
    };
    mapped.caused_by(error)
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "postgres.unavailable", "the database cannot be reached")
}

/// The database gave way to another transaction: nothing was done.
pub(crate) fn is_contended(error: &Error) -> bool {
    error.code() == "postgres.contended"
}

/// Connection failures, too few resources, an operator's intervention; and a server that only reads, since that one was
/// the primary until a moment ago.
fn is_outage(state: &str) -> bool {
    ["08", "53", "57P", "25006"].iter().any(|class| state.starts_with(class))
}

/// Whether the connection is of no use any more.
pub(crate) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_outage(&code) || code == "25P03"),
        sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => false,
        _ => true,
    }
}

/// A row that holds what it should not.
pub(crate) fn corrupt(what: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(format!("a stored {what} cannot be read")).caused_by(error)
}
