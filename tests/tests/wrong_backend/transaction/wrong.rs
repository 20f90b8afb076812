//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    /// Every write is permanent and visible at once.
    ThereIsNone: writes_are_not_seen_outside_before_the_commit
        updates_and_deletes_are_not_seen_outside_before_the_commit a_dropped_transaction_leaves_no_writes
        a_dropped_transaction_leaves_no_events writes_and_their_events_appear_together
        events_cannot_be_claimed_before_the_commit readers_see_all_of_a_commit_or_nothing
        values_and_events_of_a_commit_appear_at_one_moment after_the_commit_its_services_are_closed
        after_a_drop_its_services_are_closed documents_are_part_of_it
        a_dropped_transaction_leaves_no_documents;
    CommitDoesNothing: documents_are_part_of_it writes_are_seen_outside_after_the_commit writes_and_their_events_appear_together
        transactions_follow_each_other transactions_that_write_different_keys_all_commit
        no_increment_is_lost_between_transactions its_services_asked_for_twice_are_the_same
        failures_that_are_expected_leave_it_usable versions_grow_across_transactions;
    CommitForgetsTheEvents: writes_and_their_events_appear_together events_are_noticed_at_the_commit
        events_tell_where_they_came_from events_cannot_be_claimed_before_the_commit
        values_and_events_of_a_commit_appear_at_one_moment;
    EventsAreStoredAtOnce: writes_and_their_events_appear_together a_dropped_transaction_leaves_no_events
        events_cannot_be_claimed_before_the_commit;
    EventsComeAfterTheCommit: values_and_events_of_a_commit_appear_at_one_moment;
    EventsForgetWhereTheyCameFrom: events_tell_where_they_came_from;
    EventsAreNotNoticed: events_are_noticed_at_the_commit;
    EmptyCommitsFail: a_transaction_without_writes_commits;
    ThereIsOneAtMost: transactions_follow_each_other transactions_that_write_different_keys_all_commit;
    /// Adds to what was there when it began, whatever others did meanwhile.
    TheLastCommitWins: no_increment_is_lost_between_transactions;
    VersionsRepeat: versions_grow_across_transactions;

    DropCommits: a_dropped_transaction_leaves_no_writes a_dropped_transaction_leaves_no_events
        a_dropped_transaction_leaves_no_documents;
    DropHoldsOn: a_dropped_transaction_holds_nobody_up;

    ReadsAreFromOutside: writes_are_seen_inside_at_once;
    InsideIsEmpty: what_was_stored_before_is_seen_inside;
    ServicesAreGoodOnce: its_services_asked_for_twice_are_the_same;
    FailuresEndIt: failures_that_are_expected_leave_it_usable;
    StaleWritesEndIt: a_stale_write_stores_nothing_and_leaves_it_usable;
    StaleWritesAreMade: a_stale_write_stores_nothing_and_leaves_it_usable;
    ServicesNeverClose: after_the_commit_its_services_are_closed after_a_drop_its_services_are_closed;
    ExpiredIsSeenInside: what_expired_before_is_missing_inside;
    TimesToLiveAreForgotten: a_time_to_live_set_inside_counts_after_the_commit;
}
