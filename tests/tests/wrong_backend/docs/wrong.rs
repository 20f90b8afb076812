//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Values.
    LargeFloatsBecomeIntegers: data_reads_back_exactly_as_it_was_written;
    RefusesLargeData: the_largest_and_deepest_data_is_stored the_largest_and_deepest_data_has_events;
    MissingIsAnError: a_missing_document_reads_as_none a_deleted_document_is_gone
        documents_of_other_apps_are_not_seen documents_of_other_collections_are_not_seen;
    FindsInReverse: documents_have_ids_of_their_own documents_that_sort_alike_are_in_order_of_id;
    UpdateMerges: an_update_replaces_the_data;
    UpdateCreates: writing_a_missing_document_is_not_found documents_of_other_apps_cannot_be_changed
        documents_of_other_collections_cannot_be_changed;
    PatchDoesNothing: a_patch_changes_a_part_of_the_data a_patch_tells_what_was_there_before;
    FailedPatchesCount: a_failed_patch_changes_nothing writes_without_effect_store_no_rows;
    /// Two that patch at the same time overwrite each other.
    PatchesAreNotAtomic: no_patch_is_lost;
    DeleteSaysYes: a_delete_tells_whether_there_was_something one_of_those_who_delete_was_first;
    DeleteDoesNothing: a_deleted_document_is_gone a_delete_tells_what_was_removed;

    // Versions.
    VersionsStandStill: a_new_document_has_version_1_and_one_time
        a_write_counts_the_version_and_keeps_the_time_of_creation every_write_counts_the_version;
    VersionsNeverFit: writes_with_the_present_version_take_place;
    VersionsAreNotCompared: an_update_with_another_version_changes_nothing
        a_patch_with_another_version_changes_nothing a_delete_with_another_version_removes_nothing
        one_of_the_writers_of_a_version_succeeds writes_without_effect_store_no_rows;
    MissingHasNoVersion: deleting_a_missing_document_with_a_version_answers_false;

    // Queries.
    FindMissesTheFirst: equality_is_that_of_values arrays_count_as_each_of_their_elements
        null_equals_what_is_missing ranges_find_values_of_their_type_only numbers_are_compared_exactly
        strings_are_compared_by_code_point lists_of_values_are_found existence_texts_and_elements_are_found
        conditions_are_combined objects_and_arrays_are_found_as_wholes no_text_in_a_query_is_more_than_text
        pages_hold_every_match_once_and_in_order pages_hold_what_only_a_few_match
        a_cursor_outlives_its_document;
    FindIgnoresTheFilter: equality_is_that_of_values arrays_count_as_each_of_their_elements
        null_equals_what_is_missing ranges_find_values_of_their_type_only numbers_are_compared_exactly
        lists_of_values_are_found existence_texts_and_elements_are_found conditions_are_combined
        objects_and_arrays_are_found_as_wholes pages_hold_what_only_a_few_match no_text_in_a_query_is_more_than_text;
    SortIsIgnored: sorting_follows_one_order_across_types sorting_goes_through_objects_only
        several_paths_sort_one_after_the_other strings_are_compared_by_code_point
        what_is_added_behind_a_cursor_is_found;
    CountsOnePage: counting_counts_what_matches;
    SelectIsIgnored: a_selection_leaves_only_what_was_asked_for;
    /// Answers an empty page when the limit is 0, and one too few otherwise.
    OneLessOnAPage: a_page_holds_at_least_one pages_of_a_sorted_query_hold_every_match_once_and_in_order;
    TheLastPageHasACursor: the_last_page_has_no_cursor;
    CursorsAreNotChecked: a_cursor_of_another_query_is_refused an_altered_cursor_is_refused;

    // Declared indexes.
    IndexesAreListedInReverse: an_index_is_declared_once;
    IndexesAreForgotten: an_index_is_declared_once an_index_becomes_complete an_index_is_of_its_collection_and_app
        a_dropped_index_is_gone;
    IndexesAreOfEveryone: an_index_is_of_its_collection_and_app;
    DroppedIndexesStay: a_dropped_index_is_gone;
    AnyNumberOfIndexes: too_many_indexes_are_refused;
    IndexesMissTheFirst: an_index_changes_no_answer an_index_becomes_complete;
    IndexesMissTheLastWrite: what_is_written_after_an_index_was_declared_is_found;

    // Isolation.
    AppsAreOne: documents_of_other_apps_are_not_seen documents_of_other_apps_cannot_be_changed;
    CollectionsAreOne: documents_of_other_collections_are_not_seen
        documents_of_other_collections_cannot_be_changed;

    // Events.
    EventsAreForgotten: a_write_stores_every_row_of_its_operation a_create_tells_what_was_created
        an_update_tells_what_was_there_before a_patch_tells_what_was_there_before
        a_delete_tells_what_was_removed rows_are_of_their_kind the_largest_and_deepest_data_has_events
        the_previous_data_is_what_was_replaced;
    StaleWritesAreMade: stale_writes_change_nothing;
}
