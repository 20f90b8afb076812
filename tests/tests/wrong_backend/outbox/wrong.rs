//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Claims.
    ClaimForgetsOne: a_claim_takes_every_due_row_once a_claim_takes_no_more_than_its_limit;
    ClaimTakesTheLastFirst: a_claim_takes_every_due_row_once
        a_claim_takes_rows_in_the_order_in_which_they_were_due;
    ClaimGoesById: a_claim_takes_rows_in_the_order_in_which_they_were_due;
    ClaimIgnoresTheLimit: a_claim_takes_no_more_than_its_limit;
    ClaimServesOneApp: a_claim_takes_rows_of_every_app;
    ClaimPassesOverNobody: a_claim_passes_over_the_apps_and_scripts_that_it_is_told;
    ClaimPassesOverAppsOnly: a_claim_passes_over_the_apps_and_scripts_that_it_is_told;
    ClaimCountsWhatItPassesOver: a_claim_passes_over_the_apps_and_scripts_that_it_is_told;
    ClaimLeavesRowsOfWrites: rows_of_a_write_are_due_at_once;
    TwoWorkersGetTheRow: a_claimed_row_is_not_claimed_again rows_go_to_one_of_many_claiming_workers
        a_claim_takes_every_due_row_once;
    AnyoneClaims: a_worker_that_is_not_registered_claims_nothing a_retired_worker_claims_nothing;
    GoneWorkersClaim: a_worker_that_was_taken_over_claims_nothing;
    AttemptsCountFromZero: the_first_claim_is_the_first_attempt a_take_over_counts_no_attempt;
    AttemptsAreNotCounted: a_retry_keeps_the_attempt a_release_gives_the_attempt_back
        a_batch_settles_each_row_by_itself;
    TheClaimIsTheAttempt: claim_numbers_of_a_row_never_repeat a_take_over_makes_a_new_claim
        claim_numbers_never_repeat_across_workers;
    ClaimsCountByWorker: claim_numbers_never_repeat_across_workers a_take_over_makes_a_new_claim;

    // Settlements.
    DoneLeavesTheRow: a_done_row_is_gone;
    DropBuries: a_dropped_row_is_gone_and_no_dead_letter;
    RetryGivesTheAttemptBack: a_retry_keeps_the_attempt;
    RetryLosesTheRow: a_retry_keeps_the_attempt claim_numbers_of_a_row_never_repeat
        a_row_that_waits_tells_for_how_long what_was_taken_over_can_be_settled;
    RetryIsDueAtOnce: a_row_is_not_claimed_before_it_is_due a_row_is_claimed_when_it_is_due
        what_was_taken_over_can_be_settled;
    RetryIsNeverDue: a_row_is_claimed_when_it_is_due;
    RetryLeavesTheRowWithItsWorker: settling_a_row_that_waits_is_lost a_retry_keeps_the_attempt;
    ReleaseKeepsTheAttempt: a_release_gives_the_attempt_back;
    ReleaseLosesTheRow: a_release_gives_the_attempt_back a_released_row_waits_as_long_as_it_was_told;
    ReleaseIsDueAtOnce: a_released_row_waits_as_long_as_it_was_told
        the_next_time_is_that_of_the_row_that_is_due_first;
    /// Removes without a letter.
    TheDeadAreForgotten: a_given_up_row_is_a_dead_letter_and_gone a_dead_letter_keeps_everything
        dead_letters_keep_every_reason;
    /// Writes a letter without removing.
    TheDeadStay: a_given_up_row_is_a_dead_letter_and_gone;
    EveryDeathIsALetter: settling_twice_is_lost_the_second_time one_of_many_settlements_of_a_claim_counts
        a_settlement_of_another_worker_is_lost a_settlement_under_an_older_claim_is_lost
        a_worker_that_was_taken_over_settles_nothing a_settlement_of_a_row_that_never_was_is_lost;
    TheWorkerIsIgnored: a_settlement_of_another_worker_is_lost;
    TheClaimIsIgnored: a_settlement_under_an_older_claim_is_lost
        a_lost_settlement_in_a_batch_leaves_the_others_alone;
    NothingIsFenced: a_worker_that_was_taken_over_settles_nothing a_settlement_of_another_worker_is_lost
        a_settlement_under_an_older_claim_is_lost;
    LossesAreNotReported: settling_twice_is_lost_the_second_time one_of_many_settlements_of_a_claim_counts
        a_settlement_of_a_row_that_never_was_is_lost a_claim_settled_twice_in_a_batch_counts_the_first_time
        a_retired_worker_settles_nothing;
    EverythingIsReported: settling_twice_is_lost_the_second_time what_was_taken_over_can_be_settled
        an_empty_batch_settles_nothing;
    OneOfABatchCounts: a_batch_settles_each_row_by_itself;
    OneVerdictForTheBatch: a_batch_settles_each_row_by_itself;
    ABatchIsAllOrNothing: a_lost_settlement_in_a_batch_leaves_the_others_alone;
    TheLastOfABatchCounts: a_claim_settled_twice_in_a_batch_counts_the_first_time;
    AnEmptyBatchIsForAll: an_empty_batch_settles_nothing;

    // Dead letters.
    LettersForgetTheReason: a_dead_letter_keeps_everything dead_letters_keep_every_reason;
    LettersForgetTheError: a_dead_letter_keeps_everything;
    LettersForgetTheAttempts: a_dead_letter_keeps_everything;
    LettersForgetTheTrigger: a_dead_letter_keeps_everything;
    LettersForgetTheTime: a_dead_letter_keeps_everything;
    LettersAreOldestFirst: dead_letters_are_listed_newest_first_up_to_the_limit;
    LettersIgnoreTheLimit: dead_letters_are_listed_newest_first_up_to_the_limit;
    LettersAreForEveryApp: dead_letters_of_another_app_are_not_listed;
    HandlersAreForgotten: events_for_handlers_are_stored_with_a_letter events_for_handlers_are_noticed;
    /// Whether the letter is written or not.
    HandlersAreStoredAnyway: a_lost_death_stores_no_events_for_handlers;
    FailedHandlersAreDone: a_failed_handler_closes_its_letter;
    FailedHandlersStay: a_failed_handler_closes_its_letter;
    FailedHandlersReopen: a_failed_handler_leaves_a_closed_letter_as_it_is;
    FailedHandlersCloseAnyLetter: a_failed_handler_closes_no_letter_of_another_app;
    FiresAsOftenAsAsked: a_trigger_fires_once_for_a_time;
    FiresOnceOnly: a_trigger_fires_once_for_a_time;
    FiresForEarlierTimes: a_trigger_fires_for_no_time_before_its_last;
    FiresWithoutATrigger: a_trigger_that_is_gone_does_not_fire;
    FiresWhileDisabled: a_trigger_that_is_disabled_does_not_fire;
    FiresEarly: a_trigger_does_not_fire_before_its_time;
    EarlyFiresTakeTheTime: a_trigger_does_not_fire_before_its_time;
    FiresAnotherRow: a_row_that_fired_is_as_it_was_given_and_noticed;
    OpenLettersAreKeptForEver: old_letters_are_forgotten_open_or_not;
    YoungLettersAreForgotten: old_letters_are_forgotten_open_or_not;
    LettersAreForgottenAtOnce: letters_are_forgotten_up_to_the_limit;
    LettersIgnoreThatTheyAreOpen: open_letters_are_listed_by_themselves;
    LettersIgnoreTheCursor: dead_letters_are_walked_page_by_page;
    LettersHaveOnePage: dead_letters_are_walked_page_by_page;
    AnyCursorOfLettersWillDo: a_cursor_of_another_list_of_letters_is_refused;
    OneLetterIsForEveryApp: a_letter_of_another_app_is_not_found;
    OneLetterIsNone: one_letter_is_found_by_its_id;
    ClosedLettersCount: open_letters_are_counted a_replayed_letter_is_closed;
    EveryLetterIsIgnored: a_letter_that_is_resolved_tells_how;
    ResolveTwiceIsFine: a_letter_is_resolved_once;
    ResolveIsForEveryApp: letters_of_another_app_are_not_resolved;
    /// The letter is marked, and nothing is sent.
    ReplayOnlyMarks: a_replayed_event_is_due_again_as_it_was a_replayed_event_is_noticed
        a_replayed_event_that_is_given_up_again_is_an_open_letter;
    /// Sent as if it were new, and the letter stays open.
    ReplayOnlySends: a_replayed_letter_is_closed a_letter_is_replayed_once a_replayed_event_is_fenced_against_its_past;
    ReplayTwiceIsFine: a_letter_is_replayed_once;
    ReplayMakesAnotherEvent: a_replayed_event_is_due_again_as_it_was;
    ReplayNeedsNoTarget: an_event_whose_script_is_gone_is_not_replayed an_event_whose_trigger_is_gone_is_not_replayed;
    ReplayForgetsWhoAsks: a_replayed_event_is_as_deep_as_who_asks;
    ReplayForgetsTheDepth: a_replayed_event_is_as_deep_as_who_asks;
    ReplayIsForEveryApp: letters_of_another_app_are_not_replayed;

    // Queues.
    NothingIsPromoted: a_message_is_not_claimed_before_it_is_promoted queues_do_not_share_room
        messages_of_a_consumer_that_is_gone_are_due a_replayed_message_waits_for_room a_replayed_message_keeps_its_key
        a_retired_workers_messages_wait_for_room_again;
    DelaysAreNotTold: a_delay_tells_when_it_is_over;
    PromotedRowsAreNotCounted: a_message_is_not_claimed_before_it_is_promoted queues_do_not_share_room;

    // Workers.
    NothingIsTakenOver: rows_of_a_silent_worker_are_taken_over a_take_over_counts_no_attempt
        a_worker_that_was_taken_over_is_told_so a_worker_that_was_taken_over_claims_nothing
        what_was_taken_over_is_taken_over_again_from_a_silent_heir;
    TakeOverCountsAnAttempt: a_take_over_counts_no_attempt;
    TakeOverKeepsTheClaim: a_take_over_makes_a_new_claim claim_numbers_never_repeat_across_workers;
    TakeOverIsFromTheLiving: rows_of_a_worker_that_beats_are_not_taken_over
        rows_of_a_worker_silent_for_less_than_the_lease_are_not_taken_over;
    TakeOverIsFromOneself: a_worker_does_not_take_over_itself;
    TakeOverIgnoresTheLimit: a_take_over_takes_no_more_than_its_limit_and_the_rest_later;
    TakeOverForgetsTheRest: a_take_over_takes_no_more_than_its_limit_and_the_rest_later;
    TwoHeirsGetTheRow: rows_go_to_one_of_many_who_take_over
        a_take_over_takes_no_more_than_its_limit_and_the_rest_later;
    TakeOverIsOfWaitingRows: rows_that_wait_are_not_taken_over;
    AnyoneTakesOver: a_worker_that_is_not_registered_takes_over_nothing;
    TheGoneTakeOver: a_worker_that_was_taken_over_takes_over_nothing;
    HeirsAreForEver: what_was_taken_over_is_taken_over_again_from_a_silent_heir;
    HeirsCannotSettle: what_was_taken_over_can_be_settled;
    /// Answers that a worker lives whatever happened to it.
    BeatIsAlwaysTrue: a_worker_that_was_taken_over_is_told_so
        what_was_taken_over_is_taken_over_again_from_a_silent_heir;
    BeatIsFalseOnce: a_worker_that_was_taken_over_is_told_so;
    BeatIsFalseForHeirs: a_worker_that_was_taken_over_is_told_so;
    RetireKeepsTheRows: rows_of_a_worker_that_retires_are_due_with_the_attempt_given_back
        a_retired_worker_settles_nothing;
    RetireCountsTheAttempt: rows_of_a_worker_that_retires_are_due_with_the_attempt_given_back;
    GivesBackWhatIsHeld: rows_that_a_worker_does_not_know_of_are_given_back;
    GivesNothingBack: rows_that_a_worker_does_not_know_of_are_given_back;
    GivesBackAndCountsTheAttempt: rows_that_a_worker_does_not_know_of_are_given_back;
    GivesBackWhatOthersHave: rows_of_other_workers_are_not_given_back;
    RetireFreesEveryRow: a_retired_worker_leaves_other_rows_alone;

    // Rows.
    RowsForgetTheTrigger: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    RowsForgetTheParent: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    RowsForgetTheTrace: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    RowsForgetTheRequest: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    RowsForgetTheScript: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    RowsForgetTheDepth: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from
        rows_of_a_write_by_the_host_have_no_parent;
    RowsForgetTheTime: a_row_reads_back_as_it_was_stored rows_of_a_write_tell_when_it_happened;
    EveryRowIsOfKv: a_row_of_an_async_request_reads_back;
    EveryRowIsOfARequest: a_row_reads_back_as_it_was_stored a_write_makes_rows_with_where_it_came_from;
    TriggersAreMadeUp: a_row_of_an_async_request_reads_back;
    ParentsAreMadeUp: a_row_of_an_async_request_reads_back rows_of_a_write_by_the_host_have_no_parent;
    PayloadsLoseTheirFloats: a_row_reads_back_as_it_was_stored;
    LargePayloadsAreRefused: the_largest_and_deepest_payloads_read_back;
    DeepPayloadsAreRefused: the_largest_and_deepest_payloads_read_back;
    RowsOfAWriteShareAnId: a_write_makes_rows_with_where_it_came_from;
    DepthIsNotRaised: a_write_makes_rows_with_where_it_came_from rows_of_a_write_by_the_host_have_no_parent;
    RowsAreForAnyApp: a_row_for_an_app_that_does_not_exist_is_refused;

    // What is waiting, and who is told.
    WaitingIsNewestFirst: rows_are_listed_oldest_first_up_to_the_limit;
    WaitingIgnoresTheLimit: rows_are_listed_oldest_first_up_to_the_limit;
    WaitingHidesRowsWithWorkers: rows_with_a_worker_are_listed_too;
    WaitingIsForEveryApp: rows_of_another_app_are_not_listed;
    NothingCountsAsStoredHere: a_stored_row_is_known_to_be_stored_here;
    NothingIsNoticed: a_stored_row_is_noticed a_write_with_rows_is_noticed
        rows_of_a_worker_that_retires_are_noticed;
    NextTimeCountsRowsWithWorkers: nothing_waiting_has_no_next_time;
    NextTimeIsNever: a_due_row_is_due_now a_row_that_waits_tells_for_how_long;
    NextTimeIsNow: a_row_that_waits_tells_for_how_long the_next_time_is_that_of_the_row_that_is_due_first;
    NextTimeIsLate: a_due_row_is_due_now a_row_that_waits_tells_for_how_long
        the_next_time_is_that_of_the_row_that_is_due_first;
}
