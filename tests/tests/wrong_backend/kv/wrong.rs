//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Values.
    IntegersBecomeFloats: integers_read_back_exactly;
    FloatsLoseTheirFraction: floats_read_back_as_the_same_floats;
    TextIsTrimmed: text_reads_back_exactly;
    NullMeansMissing: null_is_a_value get_many_answers_none_for_each_missing_key;
    EmptyMapsBecomeNull: empty_values_read_back;
    RefusesDeepValues: nested_values_read_back the_largest_and_deepest_values_have_events;
    RefusesLargeValues: a_value_of_the_largest_size_reads_back the_largest_and_deepest_values_have_events;
    MissingReadsAsNull: a_missing_key_reads_as_none a_deleted_key_is_missing;
    KeepsTheFirstWrite: a_second_write_replaces_the_first;
    /// Answers as if it had deleted.
    DeleteDoesNothing: a_deleted_key_is_missing a_delete_of_a_present_key_is_a_delete;
    DeleteAlwaysFalse: deleting_a_present_key_answers_true one_of_many_deletes;
    DeleteAlwaysTrue: deleting_a_missing_key_succeeds_and_answers_false deleting_an_expired_entry_answers_false
        delete_does_not_notice_another_app one_of_many_deletes;
    DeleteOfMissingIsAnError: deleting_a_missing_key_succeeds_and_answers_false;
    DeletesForGood: a_deleted_key_can_be_written_again;
    GetManySorts: get_many_answers_in_the_order_of_the_keys;
    GetManyDropsDuplicates: get_many_answers_duplicates_each;
    GetManySkipsMissing: get_many_answers_none_for_each_missing_key get_many_answers_duplicates_each;
    GetManyOfNothingIsEverything: get_many_of_no_keys_answers_nothing;

    // Names and keys.
    KeyCaseFolded: keys_that_look_alike_are_different;
    KeyTrimmed: keys_that_look_alike_are_different;
    KeyNormalised: keys_that_look_alike_are_different;
    KeyCut: the_longest_keys_are_told_apart;
    NameCut: the_longest_collection_names_are_told_apart;
    NameCaseFolded: collections_that_differ_in_case_are_separate;
    LeaksAcrossCollections: deleting_leaves_other_collections_alone listing_shows_one_collection_only
        the_longest_collection_names_are_told_apart a_cursor_of_another_collection_is_refused;
    LeaksAcrossApps: get_does_not_see_another_app get_many_does_not_see_another_app
        list_does_not_see_another_app set_does_not_touch_another_app delete_does_not_touch_another_app
        delete_does_not_notice_another_app increment_does_not_see_another_app
        compare_and_set_does_not_see_another_app compare_and_set_does_not_touch_another_app
        a_cursor_of_another_app_is_refused;

    // Lists.
    ListForgetsValues: a_list_has_keys_and_values;
    ListIsBackwards: a_list_is_in_byte_order_of_the_utf8_key;
    ListOrdersLikePeople: a_list_is_in_byte_order_of_the_utf8_key;
    ListOrdersByUtf16: a_list_is_in_byte_order_of_the_utf8_key;
    ListDropsTheLast: a_list_has_keys_and_values pages_of_any_size_list_each_entry_once;
    ListRepeatsTheLast: pages_of_any_size_list_each_entry_once
        entries_that_stay_are_listed_once_while_others_come;
    ListSkipsOneBetweenPages: pages_of_any_size_list_each_entry_once pages_keep_to_the_prefix;
    PagesByOffset: entries_that_stay_are_listed_once_while_others_go
        entries_that_stay_are_listed_once_while_others_come;
    CursorDiesWithItsEntry: entries_that_stay_are_listed_once_while_others_go;
    CursorAtTheEnd: an_empty_collection_is_one_empty_page the_last_page_has_no_cursor
        expired_entries_make_no_further_page;
    PrefixIgnored: a_prefix_selects_the_keys_that_begin_with_it;
    PrefixAnywhere: a_prefix_selects_the_keys_that_begin_with_it;
    PrefixIsAPattern: a_prefix_is_text_and_no_pattern;
    PrefixIgnoresCase: a_prefix_minds_the_case;
    PrefixHasNoHighestCharacter: a_prefix_may_be_the_highest_character;
    EmptyPrefixSelectsNothing: an_empty_prefix_selects_everything;
    PrefixEndsAtNul: a_prefix_that_no_key_can_have_selects_nothing;
    PrefixRefusedWhenLong: a_prefix_that_no_key_can_have_selects_nothing;
    PrefixOnTheFirstPageOnly: pages_keep_to_the_prefix;
    SmallPages: a_page_has_100_items_unless_the_caller_says;
    ZeroLimitIsAnEmptyPage: a_page_of_no_items_is_a_page_of_one;
    LimitUnclamped: a_page_has_at_most_1000_items;
    CursorUnchecked: a_tampered_cursor_is_refused an_invented_cursor_is_refused;
    CursorTrimmed: a_tampered_cursor_is_refused;
    CursorOfAnyCollection: a_cursor_of_another_collection_is_refused;
    CursorOfAnyPrefix: a_cursor_of_another_prefix_is_refused;
    CursorOfAnyApp: a_cursor_of_another_app_is_refused;

    // Time to live.
    ExpiresTooSoon: an_entry_lives_until_its_time_has_passed the_longest_time_to_live_is_accepted;
    RefusesLongTimes: the_longest_time_to_live_is_accepted;
    ForgetsTtl: an_expired_entry_is_missing_for_get a_write_with_a_shorter_time_to_live_shortens_it;
    ExpiryVisibleToGet: an_expired_entry_is_missing_for_get;
    ExpiryVisibleToGetMany: an_expired_entry_is_missing_for_get_many;
    ExpiryVisibleInList: an_expired_entry_is_not_listed an_expired_entry_takes_no_room_on_a_page
        expired_entries_make_no_further_page;
    ExpiryFilteredAfterTheLimit: an_expired_entry_takes_no_room_on_a_page expired_entries_make_no_further_page;
    ExpiryVisibleToDelete: deleting_an_expired_entry_answers_false deleting_an_expired_entry_stores_no_rows;
    ExpiryVisibleToIncrement: incrementing_an_expired_entry_counts_from_zero
        an_increment_over_an_expired_entry_is_an_insert;
    ExpiryVisibleToCas: an_expired_entry_is_missing_for_compare_and_set
        an_expired_value_does_not_equal_the_expected_one a_compare_and_set_over_an_expired_entry_is_an_insert;
    ExpiryVisibleToSet: a_set_over_an_expired_entry_is_an_insert;
    SetKeepsTtl: a_write_without_a_time_to_live_clears_it;
    FirstTtlStays: a_write_with_a_shorter_time_to_live_shortens_it
        a_write_with_a_longer_time_to_live_prolongs_it;
    IncrementClearsTtl: an_increment_keeps_the_time_to_live;
    CasClearsTtl: a_compare_and_set_keeps_the_time_to_live;
    TtlOutlivesItsEntry: an_increment_over_an_expired_entry_inherits_no_time_to_live
        a_compare_and_set_over_an_expired_entry_inherits_no_time_to_live;

    // Increment.
    IncrementOfMissingIsAnError: incrementing_a_missing_key_counts_from_zero
        an_increment_of_a_missing_key_is_an_insert;
    IncrementAnswersTheOldValue: an_increment_answers_and_stores_the_sum;
    IncrementIgnoresTheSign: an_increment_may_be_negative;
    IncrementRefusesTheLimits: an_increment_reaches_the_limits_of_an_integer;
    IncrementAcceptsFloats: incrementing_a_float_is_refused a_refused_increment_writes_nothing;
    IncrementReadsText: incrementing_anything_but_a_number_is_refused;
    IncrementWraps: an_increment_past_the_largest_integer_is_refused
        an_increment_past_the_smallest_integer_is_refused;
    FailedIncrementWrites: a_refused_increment_writes_nothing an_overflowing_increment_writes_nothing;
    LosesUpdates: no_increment_is_lost;

    // Compare-and-set.
    CasNeverWrites: compare_and_set_writes_over_the_expected_value
        a_compare_and_set_of_a_present_key_is_an_update no_update_by_compare_and_set_is_lost;
    CasAlwaysWrites: compare_and_set_leaves_an_unexpected_value a_failed_compare_and_set_stores_no_rows;
    CasNeedsAnEntry: compare_and_set_writes_a_key_that_is_expected_to_be_missing
        a_compare_and_set_of_a_missing_key_is_an_insert;
    CasNeverFindsAKeyInTheWay: compare_and_set_leaves_a_key_that_is_not_missing;
    CasWritesMissingKeys: compare_and_set_does_not_write_a_missing_key_that_is_expected;
    CasTakesNullForMissing: compare_and_set_tells_a_stored_null_from_a_missing_key;
    CasComparesLoosely: compare_and_set_tells_an_integer_from_a_float
        compare_and_set_tells_negative_zero_from_zero;
    CasComparesAsText: compare_and_set_tells_a_number_from_text;
    CasIgnoresTheOrderOfArrays: compare_and_set_minds_the_order_of_an_array;
    CasNeverMatchesObjects: compare_and_set_ignores_the_order_in_which_an_object_was_written;
    CasRaces: one_of_many_takes_a_lock no_update_by_compare_and_set_is_lost;

    // Calls at the same time.
    DeleteRaces: one_of_many_deletes;
    WritesInHalves: concurrent_writes_and_deletes_are_never_half_seen;
    GetManyReadsOneByOne: get_many_reads_at_one_moment;

    // Outbox rows.
    FanoutForgotten: a_write_stores_every_row_of_its_operation a_set_of_a_missing_key_is_an_insert
        a_set_of_a_present_key_is_an_update a_delete_of_a_present_key_is_a_delete
        an_increment_of_a_missing_key_is_an_insert an_increment_of_a_present_key_is_an_update
        a_compare_and_set_of_a_missing_key_is_an_insert a_compare_and_set_of_a_present_key_is_an_update
        versions_of_a_key_grow_with_every_write;
    FanoutToOneTriggerOnly: a_write_stores_every_row_of_its_operation;
    FanoutOfEveryOperation: a_set_of_a_missing_key_is_an_insert a_set_of_a_present_key_is_an_update
        a_delete_of_a_present_key_is_a_delete;
    FanoutInvented: a_write_without_rows_stores_none rows_belong_to_the_app_of_the_write;
    FanoutWhenNothingHappened: deleting_a_missing_key_stores_no_rows deleting_an_expired_entry_stores_no_rows
        a_failed_compare_and_set_stores_no_rows a_failed_increment_stores_no_rows;
    FanoutOfExpiry: expiry_stores_no_rows;
    SkipsEqualWrites: an_update_to_the_same_value_is_an_update;
    CallsEverythingAnUpdate: a_set_of_a_missing_key_is_an_insert a_delete_of_a_present_key_is_a_delete;
    ForgetsThePreviousValue: a_set_of_a_present_key_is_an_update an_increment_of_a_present_key_is_an_update
        a_compare_and_set_of_a_present_key_is_an_update the_previous_value_is_the_one_that_was_replaced;
    LeavesOutWhatIsNull: a_set_of_a_missing_key_is_an_insert a_delete_of_a_present_key_is_a_delete;
    LosesLargeEvents: the_largest_and_deepest_values_have_events;
    ShowsRowsToEveryApp: rows_belong_to_the_app_of_the_write;
    VersionsRepeat: versions_of_a_key_grow_with_every_write versions_grow_across_delete_and_insert
        versions_grow_across_expiry;
    VersionsStartOver: versions_grow_across_delete_and_insert versions_grow_across_expiry;
    VersionsFall: versions_of_a_key_grow_with_every_write;

    // Revisions.
    StoresRowsWithoutARevision: a_fanout_without_a_revision_stores_no_rows;
    NeedsARevision: a_fanout_without_a_revision_is_a_plain_write;
    WritesDespiteStaleRevision: a_set_with_a_stale_revision_is_refused_and_writes_nothing
        a_delete_with_a_stale_revision_is_refused_and_deletes_nothing
        an_increment_with_a_stale_revision_is_refused_and_writes_nothing
        a_compare_and_set_with_a_stale_revision_is_refused_and_writes_nothing
        a_stale_revision_counts_without_rows_too a_revision_that_is_yet_to_come_is_stale;
    StoresRowsOfStaleWrites: a_write_with_a_stale_revision_stores_no_rows;
    /// Writes, then finds that it should not have.
    WritesBeforeItRefuses: a_set_with_a_stale_revision_is_refused_and_writes_nothing;
    StalenessNeedsRows: a_stale_revision_counts_without_rows_too;
    OnlyOldRevisionsAreStale: a_revision_that_is_yet_to_come_is_stale;
}
