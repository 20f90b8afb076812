//! Records of files. What a write fires was put together by who saw the record, so it is written only if the record is
//! still the same.

pub(super) const FILES_GET: &str =
    "SELECT id, name, content_type, size, sha256, metadata, created_at, updated_at, blob, version
     FROM {s}.files WHERE app = $1 AND collection = $2 AND id = $3";

/// $3 the id to begin after.
pub(super) const FILES_LIST: &str =
    "SELECT id, name, content_type, size, sha256, metadata, created_at, updated_at, blob, version
     FROM {s}.files WHERE app = $1 AND collection = $2 AND id > $3 ORDER BY id LIMIT $4";

/// Of all apps, for the sweep.
pub(super) const FILES_IN_USE: &str = "SELECT blob FROM {s}.files WHERE blob = ANY($1)";

/// The rows of the outbox that `put` takes along; $13 is their payload. And what the write came to.
const FIRED: &str = "fired AS (
    INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at, run_at)
    SELECT row.id, $1, 'files', row.trigger, row.script, $13, $9, $10, $11, $12, now(), now()
    FROM put, {rows}
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM put) AS written, EXISTS (SELECT 1 FROM fired) AS fired, {fresh} AS fresh";

/// $14 to $21 the record.
pub(super) fn files_create() -> String {
    format!(
        "WITH put AS (
             INSERT INTO {{s}}.files
             (app, collection, id, name, content_type, size, sha256, metadata, created_at, updated_at, blob, version)
             SELECT $1, $2, $3, $14, $15, $16, $17, $18, $19, $20, $21, 1 WHERE {{fresh}}
             RETURNING 1
         ), {FIRED}"
    )
}

/// $14 to $21 the record, $22 the version that it must have.
pub(super) fn files_update() -> String {
    format!(
        "WITH put AS (
             UPDATE {{s}}.files SET name = $14, content_type = $15, size = $16, sha256 = $17, metadata = $18,
                 created_at = $19, updated_at = $20, blob = $21, version = version + 1
             WHERE app = $1 AND collection = $2 AND id = $3 AND version = $22 AND {{fresh}}
             RETURNING 1
         ), {FIRED}"
    )
}

/// $14 the version that it must have.
pub(super) fn files_delete() -> String {
    format!(
        "WITH put AS (
             DELETE FROM {{s}}.files
             WHERE app = $1 AND collection = $2 AND id = $3 AND version = $14 AND {{fresh}}
             RETURNING 1
         ), {FIRED}"
    )
}
