//! Errors of the database as errors of picloud.

use std::error::Error as _;

use picloud_core::{Error, ErrorKind};
use sqlx::postgres::PgConnectOptions;

use crate::schema::not_migrated;

/// What a failed call means to whoever made it. The cause is attached: it may tell of statements and rows, which scripts
/// never see.
pub(crate) fn of_database(error: sqlx::Error) -> Error {
    let new = |kind, code, message: &str| Error::new(kind, code, message);
    let state = state(&error);
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

/// Why a host cannot connect: where to, what is wrong there, and what would be right. Only for whoever named the database:
/// scripts are not told where it is.
pub(crate) fn of_connecting(error: Error, options: &PgConnectOptions) -> Error {
    let (place, flags) = match options.get_socket() {
        Some(folder) => {
            (format!("{}", folder.display()), format!("-h {} -p {}", folder.display(), options.get_port()))
        }
        None => {
            let (host, port) = (options.get_host(), options.get_port());
            (format!("{host}:{port}"), format!("-h {host} -p {port}"))
        }
    };
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    let state = error.source().and_then(|cause| cause.downcast_ref()).and_then(state);
    let told = match state.as_deref() {
        Some("3D000") => {
            let create = if [user, database, &flags].into_iter().all(is_plain) {
                format!("`createdb {flags} -U {user} {database}` creates it")
            } else {
                "`createdb` creates it".to_owned()
            };
            Error::new(
                ErrorKind::NotFound,
                "postgres.no_database",
                format!("there is no database {database:?} on {place}; {create}"),
            )
        }
        Some(code) if code.starts_with("28") => Error::new(
            ErrorKind::Unauthenticated,
            "postgres.login_refused",
            format!(
                "{place} does not let user {user:?} in{}; look at the user and the password of the database URL",
                cause_of(&error)
            ),
        ),
        _ if error.kind() == ErrorKind::Unavailable => Error::new(
            ErrorKind::Unavailable,
            "postgres.unavailable",
            format!(
                "the database {database:?} on {place} cannot be reached{}; is Postgres running there?",
                cause_of(&error)
            ),
        ),
        _ => return of_setup(error),
    };
    told.caused_by(error)
}

/// An error of what only a host does, with its cause as part of the message.
pub(crate) fn of_setup(error: Error) -> Error {
    if error.code() != "postgres.failed" {
        return error;
    }
    let message = format!("{}{}", error.message(), cause_of(&error));
    Error::new(error.kind(), "postgres.failed", message).caused_by(error)
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/'))
}

/// What the database or the network said, after a colon.
fn cause_of(error: &Error) -> String {
    match error.source().and_then(|cause| cause.downcast_ref()) {
        Some(sqlx::Error::Database(error)) => format!(": {}", error.message()),
        Some(sqlx::Error::Io(error)) => format!(": {error}"),
        Some(error) => format!(": {error}"),
        None => format!(": {}", error.message()),
    }
}

fn state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()))
}

/// The database gave way to another transaction: nothing was done.
pub(crate) fn is_contended(error: &Error) -> bool {
    error.code() == "postgres.contended"
}

/// Connection failures, too few resources, an operator's intervention, a login that is no longer good, a database that is gone;
/// and a server that only reads, since that one was the primary until a moment ago.
fn is_outage(state: &str) -> bool {
    ["08", "28", "3D000", "53", "57P", "25006"].iter().any(|class| state.starts_with(class))
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
