//! An outbox that is right unless told otherwise: what a wrong service would have stored.

use std::collections::BTreeMap;

use picloud_core::kv::MAX_VALUE_BYTES;
use picloud_core::outbox::{FanoutRow, OutboxRow};
use picloud_core::{AppId, Backend, CallCx, Json, ScriptId, TriggerId};
use serde_json::{Value, json};

use super::{Wrong, WrongKv};

impl WrongKv {
    pub(crate) async fn outbox_rows(&self, app: AppId) -> Vec<(FanoutRow, Json)> {
        let apps = if self.is(Wrong::ShowsRowsToEveryApp) { self.notes().apps.clone() } else { vec![app] };
        let mut rows = Vec::new();
        for app in apps {
            let stored = self.memory.outbox().waiting(app, 10_000).await.unwrap();
            rows.extend(stored.into_iter().map(handed_over));
        }
        rows.extend(
            self.notes().invented.iter().map(|row| (row.clone(), Json::from_value(&json!({})).unwrap())),
        );
        if self.is(Wrong::LosesLargeEvents) {
            rows.retain(|(_, payload)| payload.len() <= MAX_VALUE_BYTES);
        }
        let rewrites = [
            Wrong::CallsEverythingAnUpdate,
            Wrong::ForgetsThePreviousValue,
            Wrong::LeavesOutWhatIsNull,
            Wrong::VersionsRepeat,
            Wrong::VersionsStartOver,
            Wrong::VersionsFall,
        ];
        if self.wrong.is_some_and(|wrong| rewrites.contains(&wrong)) {
            let mut since_insert = BTreeMap::new();
            for (row, payload) in &mut rows {
                let mut event: BTreeMap<String, Value> = payload.to_value().unwrap();
                self.rewrite(row, &mut event, &mut since_insert);
                *payload = Json::from_value(&event).unwrap();
            }
        }
        rows
    }

    fn rewrite(
        &self,
        row: &mut FanoutRow,
        event: &mut BTreeMap<String, Value>,
        since_insert: &mut BTreeMap<String, u64>,
    ) {
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        match self.wrong {
            Some(Wrong::CallsEverythingAnUpdate) => {
                row.op = "update";
                put("op", json!("update"));
            }
            Some(Wrong::ForgetsThePreviousValue) => {
                put("prev_value", Value::Null);
            }
            Some(Wrong::LeavesOutWhatIsNull) => event.retain(|_, value| !value.is_null()),
            Some(Wrong::VersionsRepeat) => {
                put("version", json!(1));
            }
            Some(Wrong::VersionsStartOver) => {
                let writes = since_insert.entry(event["key"].to_string()).or_default();
                *writes = if row.op == "insert" { 1 } else { *writes + 1 };
                event.insert("version".to_owned(), json!(*writes));
            }
            Some(Wrong::VersionsFall) => {
                let version = event["version"].as_u64().unwrap();
                event.insert("version".to_owned(), json!(1_000_000 - version));
            }
            _ => (),
        }
    }

    /// Adds a row that no trigger asked for.
    pub(crate) fn invent(&self, cx: &CallCx) {
        let mut notes = self.notes();
        notes.apps.push(cx.app());
        notes.invented.push(FanoutRow { op: "update", trigger: TriggerId::new(), script: ScriptId::new() });
    }
}

/// What a write handed over, as its row tells.
fn handed_over(row: OutboxRow) -> (FanoutRow, Json) {
    let event: Value = row.payload.to_value().unwrap();
    let op = match event["op"].as_str().unwrap() {
        "insert" => "insert",
        "update" => "update",
        _ => "delete",
    };
    (FanoutRow { op, trigger: row.trigger.unwrap(), script: row.script }, row.payload)
}
