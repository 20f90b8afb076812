//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Records.
    NamesAreMadePlain: a_record_reads_back_exactly_as_it_was_written;
    RefusesLargeMetadata: the_largest_record_is_stored;
    MissingIsAnError: a_missing_file_reads_as_none a_deleted_file_is_gone files_of_other_apps_are_not_seen
        files_of_other_collections_are_not_seen;
    TimesStandStill: a_new_file_has_one_time an_update_keeps_the_time_of_creation;
    UpdateDoesNothing: an_update_changes_what_it_names;
    UpdateResetsMetadata: an_update_keeps_what_it_does_not_name;
    UpdateCreates: updating_a_missing_file_is_not_found files_of_other_apps_cannot_be_changed
        files_of_other_collections_cannot_be_changed;
    UpdateTellsWhatIsThereNow: an_update_tells_which_bytes_it_replaced;
    DeleteDoesNothing: a_deleted_file_is_gone;
    DeleteTellsNothing: a_delete_tells_what_was_removed;
    DeletingMissingIsAnError: deleting_a_missing_file_answers_none;
    /// Looks first, and writes then.
    UpdatesAreNotAtomic: replaced_bytes_are_told_to_one_writer_only;
    DeletesAreNotAtomic: removed_bytes_are_told_to_one_writer_only;
    NothingIsInUse: bytes_that_a_record_names_are_in_use bytes_of_every_app_are_in_use;
    EverythingIsInUse: bytes_that_a_record_names_are_in_use;

    // Pages.
    ListsInReverse: files_are_listed_in_the_order_of_their_ids;
    ListMissesTheFirst: pages_hold_every_file_once a_cursor_outlives_its_file;
    /// Answers an empty page when the limit is 0, and one too few otherwise.
    OneLessOnAPage: a_page_holds_at_least_one;
    TheLastPageHasACursor: the_last_page_has_no_cursor;
    CursorsAreNotChecked: a_cursor_of_another_list_is_refused an_altered_cursor_is_refused;

    // Isolation.
    AppsAreOne: files_of_other_apps_are_not_seen files_of_other_apps_cannot_be_changed;
    CollectionsAreOne: files_of_other_collections_are_not_seen files_of_other_collections_cannot_be_changed;

    // Events.
    EventsAreForgotten: a_write_stores_every_row_of_its_operation a_create_tells_what_was_created
        an_update_tells_what_was_there_before a_delete_tells_of_what_is_gone rows_are_of_their_kind
        events_tell_what_was_replaced;
    WritesWithoutEffectFire: writes_without_effect_store_no_rows;
    StaleWritesAreMade: stale_writes_change_nothing;
}
