//! JSON in and out of scripts.

use picloud_core::fuzzing::{Value, json_in, json_out};
use rhai::Dynamic;

use crate::measure::{Goal, Table, each, in_turns, show};

/// About 100 KiB of what requests usually carry.
fn mixed() -> String {
    let items: Vec<_> = (0..700)
        .map(|i| {
            serde_json::json!({
                "id": i, "name": format!("customer number {i}"), "email": format!("c{i}@example.com"),
                "balance": f64::from(i) * 1.25, "active": i % 3 == 0, "tags": ["new", "north", "vip"], "note": null,
            })
        })
        .collect();
    serde_json::to_string(&items).unwrap()
}

pub(crate) fn run(table: &mut Table) {
    let text = mixed();
    let size = text.len() / 1024;
    let value: Dynamic = serde_json::from_str(&text).unwrap();
    let ours_value: Value = json_in(text.as_bytes());
    let [ours_in, serde_in, ours_out, serde_out] = in_turns(
        11,
        [
            &mut || each(50, || drop(std::hint::black_box(json_in(text.as_bytes())))),
            &mut || each(50, || drop(std::hint::black_box(serde_json::from_str::<Dynamic>(&text).unwrap()))),
            &mut || each(50, || drop(std::hint::black_box(json_out(&ours_value)))),
            &mut || each(50, || drop(std::hint::black_box(serde_json::to_string(&value).unwrap()))),
        ],
    );
    table.row(
        format!("JSON of {size} KiB into a script value, beside serde straight into Rhai's value"),
        show(ours_in),
        show(serde_in),
        ours_in / serde_in,
        " ×",
        Goal::AtMost(1.2),
    );
    table.row(
        format!("JSON of {size} KiB out of a script value, beside serde straight from Rhai's value"),
        show(ours_out),
        show(serde_out),
        ours_out / serde_out,
        " ×",
        Goal::AtMost(1.6),
    );
}
