//! The statements that everything waits for use their index, among as many rows as a busy database has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use picloud_test_postgres::{unused_schema, url};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use uuid::Uuid;

use crate::schema::{self, SchemaName};
use crate::sql::Sql;

const FILL: &str = "
    INSERT INTO {s}.kv (app, collection, key, value, version)
    SELECT ('00000000-0000-7000-8000-0000000000' || lpad(to_hex(n % 50), 2, '0'))::uuid, 'c' || n % 7, 'key' || n, '1', n
    FROM generate_series(1, 100000) n;
    INSERT INTO {s}.workers (id, beat_at) VALUES ('00000000-0000-7000-8000-000000000007', now());
    INSERT INTO {s}.outbox (id, app, kind, script, payload, trigger_depth, trace, request, occurred_at, run_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 'kv', gen_random_uuid(), '{}', 1, gen_random_uuid(), gen_random_uuid(),
           now(), now() + interval '1 hour' + n * interval '1 second'
    FROM generate_series(1, 100000) n;
    INSERT INTO {s}.executions (app, id, script, status, started_at, record)
    SELECT ('00000000-0000-7000-8000-0000000000' || lpad(to_hex(n % 50), 2, '0'))::uuid, gen_random_uuid(),
           gen_random_uuid(), 'success', now() - n * interval '1 second', '{}'
    FROM generate_series(1, 100000) n;
    ANALYZE {s}.kv; ANALYZE {s}.outbox; ANALYZE {s}.executions";

async fn plan(connection: &mut PgConnection, query: Query<'static, Postgres, PgArguments>) -> String {
    let rows = query.fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn hot_statements_use_their_index_among_many_rows() {
    let name = SchemaName::new(unused_schema()).unwrap();
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    schema::migrate(&mut connection, &name).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(name.fill(FILL))).execute(&mut connection).await.unwrap();
    let sql = Sql::new(&name, true);
    let mine = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0007);

    let get = sql.kv_get.explained().bind(mine).bind("c0").bind("key7");
    let many =
        sql.kv_get_many.explained().bind(mine).bind("c0").bind(vec!["key7".to_owned(), "x".to_owned()]);
    let list = sql.kv_list.explained().bind(mine).bind("c0").bind("key").bind("kez").bind(100_i64);
    for (what, query) in [("get", get), ("get_many", many), ("list", list)] {
        let plan = plan(&mut connection, query).await;
        assert!(plan.contains("kv_pkey") && !plan.contains("Seq Scan"), "{what}: {plan}");
    }

    let claim = plan(&mut connection, sql.outbox_claim.explained().bind(mine).bind(200_i64)).await;
    assert!(claim.contains("outbox_due") && !claim.contains("Seq Scan on outbox"), "claim: {claim}");
    let next = plan(&mut connection, sql.outbox_next_due.explained()).await;
    assert!(next.contains("outbox_due") && !next.contains("Sort"), "next_due: {next}");
    let over = plan(&mut connection, sql.outbox_take_over.explained().bind(mine).bind(200_i64)).await;
    assert!(!over.contains("Seq Scan on outbox"), "take_over: {over}");

    let ids = vec![Uuid::now_v7(); 200];
    let settle = |query: Query<'static, Postgres, PgArguments>| {
        query.bind(mine).bind(ids.clone()).bind(vec![1_i64; 200])
    };
    let texts = || vec!["failed".to_owned(); 200];
    let back = settle(sql.outbox_put_back.explained()).bind(vec![0_i64; 200]).bind(vec![0_i32; 200]);
    let bury = settle(sql.outbox_bury.explained()).bind(texts()).bind(texts());
    for (what, query) in
        [("remove", settle(sql.outbox_remove.explained())), ("put_back", back), ("bury", bury)]
    {
        let plan = plan(&mut connection, query).await;
        assert!(plan.contains("outbox_pkey") && !plan.contains("Seq Scan on outbox"), "{what}: {plan:.2000}");
    }

    let later = crate::time::Time(picloud_core::Timestamp::constant(221_845_392_000, 0));
    let page = sql.executions_list.explained().bind(mine).bind(later).bind(Uuid::max());
    let page = page.bind(None::<Uuid>).bind(None::<String>).bind(101_i64);
    let page = plan(&mut connection, page).await;
    assert!(page.contains("executions_newest") && !page.contains("Sort"), "executions: {page}");
}
