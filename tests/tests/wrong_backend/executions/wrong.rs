//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Forgetting.
    NothingIsForgotten: old_records_are_forgotten_up_to_the_limit;
    RecordsAreForgottenAtOnce: old_records_are_forgotten_up_to_the_limit;
    YoungRecordsAreForgotten: records_that_are_not_old_stay;

    // Writing.
    BatchesLoseTheLast: a_plain_record_reads_back_as_it_was_written records_are_listed_newest_first
        pages_list_every_record_once;
    /// A record that is written again gets an id of its own.
    RepeatedRecordsAreStored: a_record_written_twice_is_there_once a_record_twice_in_a_batch_is_there_once
        a_batch_with_a_known_record_stores_the_others;
    LaterContentWins: a_record_written_again_with_other_content_stays_as_it_was;
    KnownRecordsSpoilTheBatch: a_batch_with_a_known_record_stores_the_others;
    KnownRecordsAreAnError: a_record_written_twice_is_there_once a_record_twice_in_a_batch_is_there_once;
    EmptyBatchesAreAnError: an_empty_batch_is_no_error;

    // Reading back.
    RecordsForgetTheError: a_plain_record_reads_back_as_it_was_written;
    RecordsForgetTheNameOfTheScript: a_plain_record_reads_back_as_it_was_written;
    TimesAreInMilliseconds: a_plain_record_reads_back_as_it_was_written;
    RecordsForgetTheEvent: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetThePosition: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetTheRequest: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetTheResponse: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetTheData: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetTheDroppedLines: a_record_with_everything_reads_back_as_it_was_written;
    RecordsForgetTheLog: a_record_with_everything_reads_back_as_it_was_written
        every_level_of_a_log_line_reads_back a_long_log_reads_back;
    NumbersAreSmall: a_record_with_everything_reads_back_as_it_was_written;
    FailuresAreErrors: every_status_and_class_reads_back;
    ClassesAreForgotten: every_status_and_class_reads_back a_plain_record_reads_back_as_it_was_written;
    EverythingIsAnInvoke: every_invocation_type_reads_back;
    LinesAreInformation: every_level_of_a_log_line_reads_back;
    LongLogsAreCut: a_long_log_reads_back;
    MissingIsTheFirst: a_missing_record_is_none;
    NothingIsGot: a_plain_record_reads_back_as_it_was_written a_long_log_reads_back;

    // Lists.
    ListIsOldestFirst: records_are_listed_newest_first pages_list_every_record_once;
    ListIgnoresIds: records_of_one_moment_are_listed_by_id;
    PagesSkipOne: pages_list_every_record_once pages_keep_to_their_filters;
    PagesAreByOffset: records_that_stay_are_listed_once_while_others_come;
    PagesForgetTheFilter: pages_keep_to_their_filters;
    PagesHaveNoLimit: a_page_has_at_most_200_records;
    ALimitOfNothingIsNothing: a_page_has_at_most_200_records;
    PagesHaveTen: a_page_has_at_most_200_records;
    CursorAtTheEnd: the_last_page_has_no_cursor an_app_without_records_is_one_empty_page;
    EmptyAppsAreAnError: an_app_without_records_is_one_empty_page an_empty_batch_is_no_error;
    TheScriptIsIgnored: records_are_filtered_by_script filters_of_script_and_status_both_count
        a_cursor_is_good_for_its_list_only;
    TheStatusIsIgnored: records_are_filtered_by_status filters_of_script_and_status_both_count
        a_cursor_is_good_for_its_list_only;
    OneFilterIsEnough: filters_of_script_and_status_both_count;
    RecordsAreForEveryApp: records_of_another_app_are_not_seen;
    AnyAppGetsARecord: records_of_another_app_are_not_seen;
    CursorsAreNotChecked: a_cursor_is_good_for_its_list_only a_cursor_that_was_altered_is_refused
        an_invented_cursor_is_refused;
    CursorsAreTrimmed: a_cursor_that_was_altered_is_refused;
}
