//! The statements that everything waits for use their index, among as many rows as a busy database has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use picloud_core::docs::Query;
use picloud_core::docs::filter::Path;
use picloud_core::{AppId, CollectionName, Json};
use picloud_test_postgres::{unused_schema, url};
use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use uuid::Uuid;

use crate::docs::{indexes, jsonpath};
use crate::schema::{self, SchemaName};
use crate::sql::{Filtered, Sql, Walk};

type Bound = sqlx::query::Query<'static, Postgres, PgArguments>;

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

async fn plan(connection: &mut PgConnection, query: Bound) -> String {
    let rows = query.fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

const FILL_QUEUES: &str = "
    INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, occurred_at, run_at, state,
        position, priority, order_key)
    SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000007', 'queue', '00000000-0000-7000-8000-000000000007',
           gen_random_uuid(), '{}', 1, gen_random_uuid(), gen_random_uuid(), now(), now() + CASE WHEN n % 3 = 1 THEN n * interval '1 second' ELSE '0' END,
           2 + n % 3, n, n % 5, CASE WHEN n % 3 = 2 THEN 'key' || n % 20 END
    FROM generate_series(1, 150000) n;
    ANALYZE {s}.outbox";

/// However many messages wait for room, for their time or behind others.
#[tokio::test]
async fn messages_become_due_by_index_among_many_rows() {
    let name = SchemaName::new(unused_schema()).unwrap();
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    schema::migrate(&mut connection, &name).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(name.fill(FILL_QUEUES))).execute(&mut connection).await.unwrap();
    let sql = Sql::new(&name, true);
    let mine = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0007);

    let consumers = sql.queue_consumers.explained().bind(Uuid::nil()).bind(Uuid::nil()).bind(200_i32);
    let consumers = plan(&mut connection, consumers).await;
    assert!(consumers.contains("outbox_queue"), "{consumers}");
    let delay = plan(&mut connection, sql.queue_next_delay.explained()).await;
    let delayed = plan(&mut connection, sql.queue_delayed.explained()).await;
    assert!(delay.contains("outbox_delayed") && delayed.contains("outbox_delayed"), "{delay}\n{delayed}");
    let keys =
        sql.queue_next_of_keys.explained().bind(vec![mine]).bind(vec![mine]).bind(vec!["key7".to_owned()]);
    let keys = plan(&mut connection, keys).await;
    let round =
        sql.queue_keys.explained().bind(Uuid::nil()).bind(Uuid::nil()).bind(String::new()).bind(500_i32);
    let round = plan(&mut connection, round).await;
    assert!(round.contains("outbox_key"), "{round}");
    let promoted = sql.queue_promote.explained().bind(vec![mine]).bind(vec![mine]);
    let promoted = plan(&mut connection, promoted).await;
    assert!(promoted.contains("outbox_queue"), "{promoted}");
    for plan in [consumers, delay, delayed, keys, round, promoted] {
        let reads_all = |line: &str| line.contains("Seq Scan on outbox") && !line.contains("rows=1 ");
        assert!(!plan.lines().any(reads_all), "{plan}");
    }
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
    let settle = |query: Bound| query.bind(mine).bind(ids.clone()).bind(vec![1_i64; 200]);
    let texts = || vec!["failed".to_owned(); 200];
    let back = settle(sql.outbox_put_back.explained()).bind(vec![0_i64; 200]).bind(vec![0_i32; 200]);
    let bury = settle(sql.outbox_bury.explained()).bind(texts()).bind(texts());
    let bury = crate::outbox::bind_handlers(bury, &[]);
    for (what, query) in
        [("remove", settle(sql.outbox_remove.explained())), ("put_back", back), ("bury", bury)]
    {
        let plan = plan(&mut connection, query).await;
        assert!(plan.contains("outbox_pkey") && !plan.contains("Seq Scan on outbox"), "{what}: {plan:.2000}");
    }

    // What a plan expects of arrays that it does not know, as after some executions, must not make it compare each with each.
    let settling = [
        (&sql.outbox_remove, 3),
        (&sql.outbox_put_back, 5),
        (&sql.outbox_bury, 17),
        (&sql.outbox_handler_failed, 4),
    ];
    let generic = async |connection: &mut PgConnection, text: &str, parameters: usize| {
        let nulls = vec!["NULL"; parameters].join(", ");
        let text = format!(
            "SET plan_cache_mode = force_generic_plan; PREPARE settling AS {text}; EXPLAIN (COSTS OFF) EXECUTE settling ({nulls}); \
             DEALLOCATE settling; RESET plan_cache_mode"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
    };
    for (statement, parameters) in settling {
        let plan = generic(&mut connection, statement.text(), parameters).await;
        let mut lines = plan.lines();
        let is_change =
            |line: &&str| ["Delete on outbox o", "Update on outbox o"].iter().any(|node| line.contains(node));
        lines.find(is_change).unwrap_or_else(|| panic!("{plan}"));
        // The rows come straight from the table: nothing is joined on the way.
        let rows = lines.next().unwrap_or_default();
        assert!(rows.contains("Scan") && rows.contains("on outbox o"), "{plan}");
        assert!(plan.contains("outbox_pkey"), "{plan}");
    }

    let later = crate::time::Time(picloud_core::Timestamp::constant(221_845_392_000, 0));
    let page = sql.executions_list.explained().bind(mine).bind(later).bind(Uuid::max());
    let page = page.bind(None::<Uuid>).bind(None::<String>).bind(101_i64);
    let page = plan(&mut connection, page).await;
    assert!(page.contains("executions_newest") && !page.contains("Sort"), "executions: {page}");
}

/// 100 000 documents in one collection, and as many in others.
const FILL_DOCS: &str = "
    INSERT INTO {s}.docs (app, collection, id, data, form, version, created_at, updated_at)
    SELECT app::uuid, 'c', gen_random_uuid(), data::text, jsonb_build_object(scope, data), 1, now(), now()
    FROM (VALUES ({mine}), ({others})) AS of (app, scope), generate_series(1, 100000) n,
    LATERAL (SELECT jsonb_build_object('n', n, 'minus', -n, 'float', n + 0.5, 'tags', jsonb_build_array('a', 't' || n),
        'o', jsonb_build_object('p', jsonb_build_object('n', n), 'same', 1)) AS data) d;
    ANALYZE {s}.docs";

#[tokio::test]
async fn equality_in_documents_uses_the_index_among_many() {
    let name = SchemaName::new(unused_schema()).unwrap();
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    schema::migrate(&mut connection, &name).await.unwrap();
    let (app, other) = (AppId::new(), AppId::new());
    let collection = CollectionName::new("c").unwrap();
    let values = |app| format!("'{app}', '{}'", jsonpath::scope(app, &collection));
    let fill = name.fill(FILL_DOCS).replace("{mine}", &values(app)).replace("{others}", &values(other));
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await.unwrap();
    let sql = Sql::new(&name, true);

    let thousand: Vec<_> = (1..=1_000).map(|n| format!("{n}")).collect();
    for query in [
        r#"{"n":77777}"#,
        r#"{"minus":-5}"#,
        r#"{"float":5.5}"#,
        r#"{"tags":"t7"}"#,
        r#"{"o.p.n":7}"#,
        r#"{"o":{"p":{"n":7},"same":1}}"#,
        r#"{"tags":["a","t7"]}"#,
        r#"{"n":{"$in":[1,2,"x"]},"minus":{"$lt":-1}}"#,
        r#"{"$or":[{"n":5},{"o.p.n":6}]}"#,
        &format!(r#"{{"n":{{"$in":[{}]}}}}"#, thousand.join(",")),
    ] {
        let query = Query::parse(&Json::parse(query).unwrap()).unwrap();
        let condition = jsonpath::condition(&jsonpath::scope(app, &collection), query.filter()).unwrap();
        assert!(condition.is_indexed);
        let find = sql.docs.find(Filtered::ByIndex, &[], false).explained();
        let count = sql.docs.count(Filtered::ByIndex).explained();
        let bind = |query: Bound| query.bind(*app.as_uuid()).bind("c").bind(condition.text.clone());
        for explained in [bind(find).bind(101_i64), bind(count)] {
            let plan = plan(&mut connection, explained).await;
            let by_index = plan.lines().find(|line| line.contains("Index Scan on docs_form"));
            let rows = by_index.and_then(|line| line.split("rows=").nth(1)).and_then(|rest| {
                rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|rows| rows.parse::<usize>().ok())
            });
            // The index keeps hashes: now and then one more is looked at.
            let few = rows.is_some_and(|rows| rows <= 1_050) && !plan.contains("Seq Scan");
            assert!(few, "{}: {plan:.3000}", &condition.text[..condition.text.len().min(200)]);
        }
    }

    // Without a filter and in the order of ids a page ends early.
    let page = sql.docs.find(Filtered::Not, &[], true).explained();
    let page =
        plan(&mut connection, page.bind(*app.as_uuid()).bind("c").bind(101_i64).bind(Uuid::nil())).await;
    assert!(page.contains("docs_pkey") && !page.contains("Sort"), "page: {page}");
}

#[tokio::test]
async fn ranges_and_sorting_walk_along_a_declared_index_among_many() {
    let name = SchemaName::new(unused_schema()).unwrap();
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    schema::migrate(&mut connection, &name).await.unwrap();
    let (app, other) = (AppId::new(), AppId::new());
    let collection = CollectionName::new("c").unwrap();
    let scope = jsonpath::scope(app, &collection);
    let values = |app| format!("'{app}', '{}'", jsonpath::scope(app, &collection));
    let fill = name.fill(FILL_DOCS).replace("{mine}", &values(app)).replace("{others}", &values(other));
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await.unwrap();
    let sql = Sql::new(&name, true);
    let path = Path::parse("n").unwrap();
    let (only, any) =
        (jsonpath::sort_path(&scope, &path).unwrap(), jsonpath::any_path(&scope, &path).unwrap());
    let declare = sql.docs_index_declare.query().bind(*app.as_uuid()).bind("c").bind("n");
    declare.bind(only.clone()).bind(any).bind(8_i64).execute(&mut connection).await.unwrap();
    sql.docs_index_begin.query().bind(*app.as_uuid()).bind(1_i64).execute(&mut connection).await.unwrap();
    let mut filled = 0;
    while filled < 100_000 {
        let fill = sql.docs_index_fill.query().bind(*app.as_uuid()).bind(1_i64);
        filled += fill.fetch_one(&mut connection).await.unwrap().get::<i64, _>(0);
    }
    let analyze = name.fill("ANALYZE {s}.docs_keys");
    sqlx::raw_sql(AssertSqlSafe(analyze)).execute(&mut connection).await.unwrap();

    for (text, falls) in [
        (r#"{"n":{"$gt":50000},"$sort":"n"}"#, false),
        (r#"{"n":{"$gt":50000,"$lte":90000},"minus":{"$lt":-7},"$sort":{"n":-1}}"#, true),
        (r#"{"$sort":{"n":-1}}"#, true),
    ] {
        let query = Query::parse(&Json::parse(text).unwrap()).unwrap();
        let condition = jsonpath::condition(&scope, query.filter()).unwrap();
        let (least, greatest) = indexes::bounds(&query, None).unwrap();
        for goes_on in [false, true] {
            let walk = Walk { filtered: Filtered::EachLookedAt, falls, goes_on };
            // The plan for any parameters, which is the one that is kept.
            let prepare = format!(
                "SET plan_cache_mode = force_generic_plan; DEALLOCATE ALL; PREPARE walk AS {}",
                sql.docs.walk(walk).text()
            );
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
            // Those who go on are narrowed by a place.
            let (least, greatest) = match (goes_on, falls) {
                (false, _) => (&least, &greatest),
                (true, false) => (&indexes::Key { number: "60000".to_owned(), ..least.clone() }, &greatest),
                (true, true) => {
                    (&least, &indexes::Key { rank: 2, number: "60000".into(), text: String::new() })
                }
            };
            let mut given = vec![quoted(&app.to_string()), "'c'".to_owned(), quoted(&condition.text)];
            given.extend(["101".to_owned(), quoted(&only), "1".to_owned()]);
            for bound in [least, greatest] {
                given.extend([bound.rank.to_string(), quoted(&bound.number), quoted(&bound.text)]);
            }
            if goes_on {
                given.extend([
                    "2".to_owned(),
                    "'60000'".to_owned(),
                    "''".to_owned(),
                    quoted(&Uuid::nil().to_string()),
                ]);
            }
            let explain = format!("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE walk ({})", given.join(", "));
            let plan = plan(&mut connection, sqlx::query(AssertSqlSafe(explain)).persistent(false)).await;
            let looked_at = plan.lines().find(|line| line.contains("docs_keys_order"));
            let rows = looked_at.and_then(|line| line.split("rows=").nth(1)).and_then(|rest| {
                rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|rows| rows.parse::<usize>().ok())
            });
            let few = rows.is_some_and(|rows| rows <= 150) && !plan.contains("Seq Scan");
            assert!(few, "{text}: {plan:.4000}");
        }
    }
}
