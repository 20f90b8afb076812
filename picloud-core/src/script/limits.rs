//! How many triggers an app may have: what one write sets going is bounded by them.

use std::collections::HashSet;

use super::deploy::Checked;
use super::{DeployProblem, Owner};
use crate::ScriptId;
use crate::catalog::AppSnapshot;
use crate::trigger::{MAX_SCHEDULES, MAX_TRIGGERS, TriggerKind};

/// The first directive of a bundle that is one too many, of each sort. `directed` are the scripts whose directives are read
/// anew, or that go.
pub(super) fn problems(
    snapshot: &AppSnapshot,
    directed: &HashSet<ScriptId>,
    checked: &[Checked<'_>],
) -> Vec<DeployProblem> {
    let is_schedule = |kind: &TriggerKind| matches!(kind, TriggerKind::Cron(_));
    let sorts = [(false, MAX_TRIGGERS, "triggers besides schedules"), (true, MAX_SCHEDULES, "schedules")];
    let problem = |(schedules, most, what): (bool, usize, &str)| {
        let stays = snapshot.triggers.iter().filter(|trigger| {
            let goes = directed.contains(&trigger.script) && trigger.owner == Owner::Directive;
            !goes && is_schedule(&trigger.kind) == schedules
        });
        let room = most.saturating_sub(stays.count());
        let mut wanted = checked.iter().flat_map(|checked| {
            let of_sort = checked.directives.triggers.iter();
            of_sort
                .filter(|wanted| is_schedule(&wanted.kind) == schedules)
                .map(|wanted| (checked.file, wanted.at))
        });
        wanted.nth(room).map(|(file, at)| DeployProblem {
            file: file.path.clone(),
            position: Some(at),
            code: "trigger.too_many".into(),
            message: format!("an app has at most {most} {what}; this is one more"),
        })
    };
    sorts.into_iter().filter_map(problem).collect()
}
