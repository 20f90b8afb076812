//! What queries find, and in which order.

use crate::Result;
use crate::conformance::{Case, Documents, World, case_list};
use crate::docs::DocId;

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        equality_is_that_of_values,
        arrays_count_as_each_of_their_elements,
        null_equals_what_is_missing,
        ranges_find_values_of_their_type_only,
        numbers_are_compared_exactly,
        strings_are_compared_by_code_point,
        lists_of_values_are_found,
        existence_texts_and_elements_are_found,
        conditions_are_combined,
        objects_and_arrays_are_found_as_wholes,
        sorting_follows_one_order_across_types,
        sorting_goes_through_objects_only,
        several_paths_sort_one_after_the_other,
        documents_that_sort_alike_are_in_order_of_id,
        counting_counts_what_matches,
        a_selection_leaves_only_what_was_asked_for,
    ]
}

/// Fails unless each query finds the documents with these numbers.
async fn assert_finds(things: &Documents, ids: &[DocId], queries: &[(&str, &[usize])]) -> Result<()> {
    for (query, wanted) in queries {
        let found = things.find(query).await?;
        let found: Vec<_> = found.iter().filter_map(|id| ids.iter().position(|known| known == id)).collect();
        assert_eq!(found, *wanted, "{query}");
        let counted = things.count(query).await?;
        assert_eq!(counted, wanted.len() as u64, "counted by {query}");
    }
    Ok(())
}

async fn equality_is_that_of_values(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all = [r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":true}"#, r#"{"a":{"b":"x"}}"#, "{}"];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            ("{}", &[0, 1, 2, 3, 4, 5]),
            (r#"{"a":1}"#, &[0, 1]),
            (r#"{"a":{"$eq":1.0}}"#, &[0, 1]),
            (r#"{"a":"1"}"#, &[2]),
            (r#"{"a":true}"#, &[3]),
            (r#"{"a.b":"x"}"#, &[4]),
            (r#"{"a":{"$ne":1}}"#, &[2, 3, 4, 5]),
            (r#"{"a.b":{"$ne":"x"}}"#, &[0, 1, 2, 3, 5]),
            (r#"{"a.b.c":"x"}"#, &[]),
        ],
    )
    .await
}

async fn arrays_count_as_each_of_their_elements(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all = [
        r#"{"a":[1,5,"x"]}"#,
        r#"{"a":[{"b":1},{"b":[7]},3]}"#,
        r#"{"a":[[1],[{"b":1}]]}"#,
        r#"{"a":[]}"#,
        r#"{"a":{"b":[1,null]}}"#,
    ];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":1}"#, &[0]),
            (r#"{"a":{"$gt":4}}"#, &[0]),
            (r#"{"a":{"$gt":4,"$lt":2}}"#, &[0]),
            (r#"{"a":{"$starts_with":"x"}}"#, &[0]),
            (r#"{"a.b":1}"#, &[1, 4]),
            (r#"{"a.b":7}"#, &[1]),
            (r#"{"a.b":{"$gte":1}}"#, &[1, 4]),
            (r#"{"a.b":{"$ne":1}}"#, &[0, 2, 3]),
            (r#"{"a":[1]}"#, &[2]),
            (r#"{"a":[]}"#, &[3]),
            (r#"{"a.0":1}"#, &[]),
        ],
    )
    .await
}

async fn null_equals_what_is_missing(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids =
        things.fill(&["{}", r#"{"a":null}"#, r#"{"a":[null]}"#, r#"{"a":0}"#, r#"{"a":{"b":null}}"#]).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":null}"#, &[0, 1, 2]),
            (r#"{"a":{"$ne":null}}"#, &[3, 4]),
            (r#"{"a":{"$in":[null,0]}}"#, &[0, 1, 2, 3]),
            (r#"{"a":{"$nin":[null,0]}}"#, &[4]),
            (r#"{"a.b":null}"#, &[0, 1, 2, 3, 4]),
            (r#"{"a":{"$ne":0}}"#, &[0, 1, 2, 4]),
            (r#"{"a":{"$exists":true}}"#, &[1, 2, 3, 4]),
            (r#"{"a.b":{"$exists":false}}"#, &[0, 1, 2, 3]),
        ],
    )
    .await
}

async fn ranges_find_values_of_their_type_only(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all =
        [r#"{"a":9}"#, r#"{"a":10.5}"#, r#"{"a":"9"}"#, r#"{"a":"10"}"#, r#"{"a":true}"#, r#"{"a":null}"#];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":{"$gt":9}}"#, &[1]),
            (r#"{"a":{"$gte":9}}"#, &[0, 1]),
            (r#"{"a":{"$lt":10}}"#, &[0]),
            (r#"{"a":{"$lte":10.5}}"#, &[0, 1]),
            (r#"{"a":{"$lt":"9"}}"#, &[3]),
            (r#"{"a":{"$gte":""}}"#, &[2, 3]),
            (r#"{"a":{"$gt":false}}"#, &[4]),
            (r#"{"a":{"$not":{"$gt":9}}}"#, &[0, 2, 3, 4, 5]),
        ],
    )
    .await
}

async fn numbers_are_compared_exactly(world: World) -> Result<()> {
    let things = world.documents().await?;
    // 2^62 as an integer and as a float, whose shortest text is another number; 2^53 + 1, which no float is.
    let all = [
        r#"{"a":4611686018427387904}"#,
        r#"{"a":4.611686018427388e18}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":9007199254740992.0}"#,
        r#"{"a":0.1}"#,
        r#"{"a":-0.0}"#,
        r#"{"a":1e300}"#,
    ];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":4.611686018427388e18}"#, &[0, 1]),
            (r#"{"a":4611686018427387904}"#, &[0, 1]),
            (r#"{"a":{"$gt":4.611686018427388e18}}"#, &[6]),
            (r#"{"a":9007199254740992}"#, &[3]),
            (r#"{"a":{"$gt":9007199254740992.0,"$lt":9007199254740994}}"#, &[2]),
            (r#"{"a":0.1}"#, &[4]),
            (r#"{"a":0}"#, &[5]),
            (r#"{"a":{"$gt":9223372036854775807}}"#, &[6]),
        ],
    )
    .await
}

async fn strings_are_compared_by_code_point(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all =
        [r#"{"a":"a"}"#, r#"{"a":"B"}"#, r#"{"a":"ä"}"#, r#"{"a":"\ud83e\udd80"}"#, r#"{"a":"\uffee"}"#];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":{"$lt":"a"}}"#, &[1]),
            (r#"{"a":{"$gt":"z"}}"#, &[2, 3, 4]),
            (r#"{"a":{"$gt":"\uffee"}}"#, &[3]),
        ],
    )
    .await?;
    let sorted = things.find(r#"{"$sort":"a"}"#).await?;
    assert_eq!(sorted, [1, 0, 2, 4, 3].map(|n: usize| ids[n]));
    Ok(())
}

async fn lists_of_values_are_found(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids =
        things.fill(&[r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":[2,3]}"#, r#"{"a":{"b":1}}"#, "{}"]).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":{"$in":["x",1.0,4]}}"#, &[0, 1]),
            (r#"{"a":{"$in":[3,{"b":1}]}}"#, &[2, 3]),
            (r#"{"a":{"$in":[]}}"#, &[]),
            (r#"{"a":{"$nin":[]}}"#, &[0, 1, 2, 3, 4]),
            (r#"{"a":{"$nin":["x",2]}}"#, &[0, 3, 4]),
        ],
    )
    .await
}

async fn existence_texts_and_elements_are_found(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all = [
        r#"{"a":"a (b+) %_\\ c"}"#,
        r#"{"a":["b","xb"]}"#,
        r#"{"a":[1,{"c":1}]}"#,
        r#"{"a":""}"#,
        r#"{"b":1}"#,
    ];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":{"$contains":"(b+) %_\\"}}"#, &[0]),
            (r#"{"a":{"$contains":"b"}}"#, &[0, 1]),
            (r#"{"a":{"$contains":"B"}}"#, &[]),
            (r#"{"a":{"$contains":"x"}}"#, &[]),
            (r#"{"a":{"$contains":1.0}}"#, &[2]),
            (r#"{"a":{"$contains":{"c":1}}}"#, &[2]),
            (r#"{"a":{"$contains":""}}"#, &[0, 3]),
            (r#"{"a":{"$not":{"$contains":"b"}}}"#, &[2, 3, 4]),
            (r#"{"a":{"$starts_with":"a ("}}"#, &[0]),
            (r#"{"a":{"$starts_with":"x"}}"#, &[1]),
            (r#"{"a":{"$starts_with":""}}"#, &[0, 1, 3]),
            (r#"{"a":{"$exists":false}}"#, &[4]),
        ],
    )
    .await
}

async fn conditions_are_combined(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids =
        things.fill(&[r#"{"a":1,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":2,"b":2}"#, r#"{"b":3}"#]).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":1,"b":2}"#, &[1]),
            (r#"{"$and":[{"a":1},{"b":{"$gt":1}}]}"#, &[1]),
            (r#"{"$or":[{"a":2},{"b":1}]}"#, &[0, 2]),
            (r#"{"$or":[{"a":2},{"b":{"$gt":2}}],"b":{"$lt":3}}"#, &[2]),
            (r#"{"$not":{"a":1}}"#, &[2, 3]),
            (r#"{"$not":{"$or":[{"a":1},{"$not":{"b":3}}]}}"#, &[3]),
            (r#"{"$not":{"a":{"$gte":1},"b":{"$gte":2}}}"#, &[0, 3]),
            (r#"{"a":{"$not":{"$gt":1,"$lt":9}}}"#, &[0, 1, 3]),
            (r#"{"$not":{}}"#, &[]),
        ],
    )
    .await
}

async fn objects_and_arrays_are_found_as_wholes(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all = [
        r#"{"a":{"b":1,"c":[1,2]}}"#,
        r#"{"a":{"b":1,"c":[1,2],"d":1}}"#,
        r#"{"a":[{"b":1.0,"c":[1,2]},5]}"#,
        r#"{"a":[1,2]}"#,
        r#"{"a":[2,1]}"#,
        r#"{"a":[[1,2]]}"#,
        r#"{"a":{}}"#,
    ];
    let ids = things.fill(&all).await?;
    assert_finds(
        &things,
        &ids,
        &[
            (r#"{"a":{"c":[1.0,2],"b":1}}"#, &[0, 2]),
            (r#"{"a":[1,2]}"#, &[3, 5]),
            (r#"{"a":{}}"#, &[6]),
            (r#"{"a":{"$ne":[1,2]}}"#, &[0, 1, 2, 4, 6]),
            (r#"{"a":{"$nin":[[1,2],{}]}}"#, &[0, 1, 2, 4]),
            (r#"{"a":{"$contains":[1,2]}}"#, &[5]),
        ],
    )
    .await
}

async fn sorting_follows_one_order_across_types(world: World) -> Result<()> {
    let things = world.documents().await?;
    let in_order = [
        "{}",
        r#"{"a":null}"#,
        r#"{"a":-1e300}"#,
        r#"{"a":-1}"#,
        r#"{"a":9}"#,
        r#"{"a":10.5}"#,
        r#"{"a":""}"#,
        r#"{"a":"10"}"#,
        r#"{"a":"9"}"#,
        r#"{"a":{"z":1}}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":[9]}"#,
        r#"{"a":[]}"#,
        r#"{"a":false}"#,
        r#"{"a":true}"#,
    ];
    // Those that are alike remain in this order, that of their ids.
    let ids = things.fill(&in_order).await?;
    assert_eq!(things.find(r#"{"$sort":"a"}"#).await?, ids);
    let falling = [14, 13, 11, 12, 9, 10, 8, 7, 6, 5, 4, 3, 2, 0, 1].map(|n: usize| ids[n]);
    assert_eq!(things.find(r#"{"$sort":{"a":-1}}"#).await?, falling);
    Ok(())
}

async fn sorting_goes_through_objects_only(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids =
        things.fill(&[r#"{"a":{"b":2}}"#, r#"{"a":[{"b":1}]}"#, r#"{"a":{"b":1}}"#, r#"{"a":5}"#]).await?;
    assert_eq!(things.find(r#"{"$sort":"a.b"}"#).await?, [1, 3, 2, 0].map(|n: usize| ids[n]));
    Ok(())
}

async fn several_paths_sort_one_after_the_other(world: World) -> Result<()> {
    let things = world.documents().await?;
    let all = [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":2,"b":"x"}"#];
    let ids = things.fill(&all).await?;
    for (query, wanted) in [
        (r#"{"$sort":["a","b"]}"#, [0, 2, 1, 3]),
        (r#"{"$sort":["a",{"b":-1}]}"#, [2, 0, 3, 1]),
        (r#"{"$sort":[{"a":"desc"},"b"]}"#, [1, 3, 0, 2]),
        (r#"{"$sort":["b",{"a":-1}]}"#, [1, 0, 2, 3]),
    ] {
        assert_eq!(things.find(query).await?, wanted.map(|n: usize| ids[n]), "{query}");
    }
    Ok(())
}

async fn documents_that_sort_alike_are_in_order_of_id(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":1}"#]).await?;
    for query in ["{}", r#"{"$sort":"a"}"#, r#"{"$sort":{"a":-1}}"#, r#"{"$sort":["b","c"]}"#] {
        assert_eq!(things.find(query).await?, ids, "{query}");
    }
    Ok(())
}

async fn counting_counts_what_matches(world: World) -> Result<()> {
    let things = world.documents().await?;
    assert_eq!(things.count("{}").await?, 0);
    for n in 0..120 {
        things.create(&format!(r#"{{"n":{n},"even":{}}}"#, n % 2 == 0)).await?;
    }
    for (filter, wanted) in [
        ("{}", 120),
        (r#"{"even":true}"#, 60),
        (r#"{"n":{"$lt":30},"even":false}"#, 15),
        (r#"{"n":{"$not":{"$contains":"x"}}}"#, 120),
    ] {
        assert_eq!(things.count(filter).await?, wanted, "{filter}");
    }
    Ok(())
}

async fn a_selection_leaves_only_what_was_asked_for(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.create(r#"{"a":{"b":1,"c":2},"d":[{"e":1,"f":2},3,[{"e":4}]],"g":1.0}"#).await?;
    for (paths, wanted) in [
        (r#"["a.b","g"]"#, r#"{"a":{"b":1},"g":1.0}"#),
        (r#"["a","a.b"]"#, r#"{"a":{"b":1,"c":2}}"#),
        (r#"["d.e"]"#, r#"{"d":[{"e":1},[{"e":4}]]}"#),
        (r#"["g.h","x"]"#, "{}"),
        ("[]", "{}"),
    ] {
        let page = things.page(&format!(r#"{{"$select":{paths}}}"#), None).await?;
        let found: Vec<_> = page.items.iter().map(|document| document.data.as_str()).collect();
        assert_eq!(found, [wanted], "{paths}");
    }
    Ok(())
}
