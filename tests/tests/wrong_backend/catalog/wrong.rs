//! The ways of being wrong, and the cases that must notice each.

use crate::wrongs;

wrongs! {
    // Apps.
    NewAppsAreAtRevisionOne: a_new_app_is_empty_at_revision_zero;
    SlugsAreNotUnique: a_taken_slug_is_refused one_of_many_takes_a_slug;
    RefusedAppsAreStored: a_refused_app_is_not_stored;
    AppsAreListedBackwards: apps_are_listed_in_the_order_of_their_ids;
    AppsAreListedAtRevisionZero: apps_are_listed_with_their_revision;
    UnknownAppsAreEmpty: an_unknown_app_has_no_snapshot a_refused_app_is_not_stored;
    ChangesOfUnknownAppsAreIgnored: an_unknown_app_cannot_be_changed;
    NothingIsTold: creating_an_app_changes_the_number_of_changes applying_changes_the_number_of_changes;

    // Change sets.
    RevisionsDoNotGrow: every_change_set_makes_a_greater_revision a_trigger_alone_makes_a_greater_revision;
    StaleChangesAreApplied: a_stale_change_set_is_refused_and_changes_nothing
        a_change_set_for_a_revision_to_come_is_refused one_of_many_change_sets_for_a_revision_succeeds
        an_empty_change_set_for_another_revision_is_refused;
    OnlyOldRevisionsAreStale: a_change_set_for_a_revision_to_come_is_refused
        an_empty_change_set_for_another_revision_is_refused;
    AppliesStepByStep: a_change_set_with_one_wrong_step_changes_nothing
        a_refused_change_set_can_be_repaired_and_repeated a_route_may_come_before_its_script_within_a_change_set
        a_trigger_may_come_before_its_script_within_a_change_set names_may_change_hands_within_a_change_set
        imports_may_come_before_their_script_within_a_change_set refused_imports_leave_no_trace;
    RefusedChangesMakeARevision: a_change_set_with_one_wrong_step_changes_nothing
        a_refused_change_set_can_be_repaired_and_repeated two_scripts_of_one_name_are_refused;
    DeletesLast: the_steps_take_effect_in_order steps_on_triggers_take_effect_in_order;
    EmptyChangesMakeARevision: an_empty_change_set_succeeds_and_changes_nothing;
    EmptyChangesAreNeverStale: an_empty_change_set_for_another_revision_is_refused;
    DeletingWhatIsMissingIsAnError: deleting_what_does_not_exist_is_no_error
        deleting_a_missing_trigger_is_no_error;
    ChangesReachEveryApp: a_change_leaves_other_apps_alone imports_leave_other_apps_alone;
    DeletesReachEveryApp: a_script_of_another_app_cannot_be_deleted a_route_of_another_app_cannot_be_deleted
        a_trigger_of_another_app_cannot_be_deleted;
    IdsAreUniqueAcrossApps: a_script_id_of_another_app_is_free a_trigger_id_of_another_app_is_free;

    // Scripts.
    NamesAreNotUnique: two_scripts_of_one_name_are_refused a_renamed_script_may_not_take_a_name
        a_refused_change_set_can_be_repaired_and_repeated a_taken_name_is_told_before_a_missing_script;
    NamesAreTakenForEver: a_name_is_free_again_after_its_script_is_deleted
        names_may_change_hands_within_a_change_set;
    NamesIgnoreCase: names_that_differ_in_case_are_different;
    NamesAreUniqueAcrossApps: two_apps_may_have_scripts_of_one_name;
    SourcesAreTrimmed: a_script_reads_back_as_it_was_put;
    ScriptsForgetTheOwner: a_script_reads_back_as_it_was_put;
    ScriptsForgetTheSandbox: a_script_reads_back_as_it_was_put;
    LongSourcesAreCut: the_longest_source_reads_back;
    ScriptsAreOrderedLikeWords: scripts_are_ordered_by_name;
    TheFirstVersionStays: a_newer_version_replaces_the_script;
    VersionsAreOldestFirst: old_versions_are_kept_newest_first;
    TenVersionsAreKept: old_versions_are_kept_newest_first;
    /// Every put is a version, whatever its number, and stays one.
    EveryPutIsAVersion: a_renamed_script_keeps_its_version deleting_a_script_removes_its_versions;
    VersionsAreForEveryApp: a_script_of_another_app_has_no_versions;
    UnknownScriptsHaveAVersion: an_unknown_app_has_no_versions a_script_of_another_app_has_no_versions
        deleting_a_script_removes_its_versions;
    DeletingAScriptDoesNothing: deleting_a_script_removes_it deleting_a_script_removes_its_versions
        deleting_a_script_removes_its_routes_and_no_others deleting_a_script_removes_its_triggers_and_no_others
        a_name_is_free_again_after_its_script_is_deleted a_trigger_to_a_script_deleted_before_is_refused
        a_route_to_a_script_deleted_before_is_refused;
    DeletingAScriptRemovesEverything: deleting_a_script_removes_its_routes_and_no_others
        deleting_a_script_removes_its_triggers_and_no_others;

    // Routes.
    RoutesForgetTheHost: a_route_reads_back_as_it_was_put;
    RoutesForgetTheMethod: a_route_reads_back_as_it_was_put;
    RoutesAreListedBackwards: routes_are_ordered_by_id;
    TheFirstRouteStays: a_route_that_is_put_again_is_replaced;
    RoutesAreAddedBeside: a_route_that_is_put_again_is_replaced;
    DeletingARouteDoesNothing: a_deleted_route_is_gone the_steps_take_effect_in_order;
    DanglingRoutesAreDropped: a_route_to_a_missing_script_is_refused a_route_to_a_script_deleted_before_is_refused
        a_route_cannot_lead_to_a_script_of_another_app a_change_set_with_one_wrong_step_changes_nothing;

    // Triggers.
    TriggersForgetTheOperations: a_trigger_reads_back_as_it_was_put;
    TriggersForgetTheRetry: a_trigger_reads_back_as_it_was_put;
    TriggersForgetTheRegistrant: a_trigger_reads_back_as_it_was_put every_backoff_and_registrant_reads_back;
    TriggersForgetTheOwner: a_trigger_reads_back_as_it_was_put;
    TriggersAreEnabled: a_trigger_reads_back_as_it_was_put a_trigger_that_is_put_again_is_replaced;
    BackoffIsExponential: a_trigger_reads_back_as_it_was_put every_backoff_and_registrant_reads_back;
    TriggersAreListedBackwards: triggers_are_ordered_by_id;
    TheFirstTriggerStays: a_trigger_that_is_put_again_is_replaced;
    TriggersAreAddedBeside: a_trigger_that_is_put_again_is_replaced;
    DeletingATriggerDoesNothing: a_deleted_trigger_is_gone steps_on_triggers_take_effect_in_order;
    DanglingTriggersAreDropped: a_trigger_to_a_missing_script_is_refused
        a_trigger_cannot_lead_to_a_script_of_another_app a_trigger_to_a_script_deleted_before_is_refused;
    TriggersAreToldFirst: a_missing_script_is_told_of_a_route_before_a_trigger
        a_taken_name_is_told_before_a_missing_script;

    // Imports.
    ImportsAreOutOfOrder: imports_read_back_in_order_of_their_names;
    ImportsAreListedBackwards: imports_are_listed_by_script;
    ImportsAddUp: imports_that_are_put_again_are_replaced a_script_that_imports_nothing_is_not_listed;
    ImportsOfNothingAreListed: a_script_that_imports_nothing_is_not_listed;
    DeletingAScriptRemovesAllImports: deleting_a_script_removes_its_imports_and_no_others
        what_others_import_stays_when_a_module_goes;
    ImportsGoWithTheModule: what_others_import_stays_when_a_module_goes;
    NewVersionsImportNothing: a_newer_version_keeps_the_imports;
    DanglingImportsAreDropped: imports_of_a_missing_script_are_refused
        imports_of_a_script_deleted_before_are_refused imports_of_a_script_of_another_app_are_refused;
    ImportsAreToldFirst: a_missing_script_is_told_of_a_trigger_before_imports refused_imports_leave_no_trace;
    ImportsMakeNoRevision: imports_alone_make_a_greater_revision;
}
