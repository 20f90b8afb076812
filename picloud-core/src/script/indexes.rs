//! The indexes that the scripts of a bundle name with `//! index`: how many there may be, and declaring those that are
//! missing once the scripts are live.
//!
//! They are no part of the change set: an index changes how long a query takes and nothing else, so a deployment stands
//! without one. None is ever dropped, since nobody knows here who else needs it.

use std::collections::BTreeMap;

use super::bundle::File;
use super::deploy::Checked;
use super::directive::IndexDirective;
use super::{Change, DeployProblem, DeployReport, DeployedIndex};
use crate::docs::filter::Path;
use crate::docs::{DocsService, MAX_INDEXES};
use crate::{CallCx, CollectionName, Error};

/// Most indexes that the scripts of one bundle may name, together and of all collections: declaring them is the part of a
/// deployment that takes a statement for each.
pub const MAX_BUNDLE_INDEXES: usize = 256;

/// The indexes of a bundle, each once, with the file that names it first.
#[derive(Debug)]
pub(super) struct Indexes<'a>(BTreeMap<&'a CollectionName, Vec<Named<'a>>>);

type Named<'a> = (&'a File, &'a IndexDirective);

impl<'a> Indexes<'a> {
    /// Collects them.
    ///
    /// # Errors
    /// Every one above [`MAX_INDEXES`] of a collection or [`MAX_BUNDLE_INDEXES`].
    pub(super) fn of(checked: &'a [Checked<'a>]) -> Result<Self, Vec<DeployProblem>> {
        let (mut indexes, mut all, mut problems) = (BTreeMap::<_, Vec<Named<'_>>>::new(), 0, Vec::new());
        for Checked { file, directives, .. } in checked {
            for index in &directives.indexes {
                let of_collection = indexes.entry(&index.collection).or_default();
                if of_collection.iter().any(|(_, known)| known.path == index.path) {
                    continue;
                }
                let wrong = if of_collection.len() >= MAX_INDEXES {
                    format!(
                        "a collection has at most {MAX_INDEXES} declared indexes, and these scripts name more of {}",
                        index.collection
                    )
                } else if all >= MAX_BUNDLE_INDEXES {
                    format!("the scripts of a folder name at most {MAX_BUNDLE_INDEXES} indexes together")
                } else {
                    of_collection.push((file, index));
                    all += 1;
                    continue;
                };
                problems.push(DeployProblem {
                    file: file.path.clone(),
                    position: Some(index.at),
                    code: "docs.too_many_indexes".into(),
                    message: wrong,
                });
            }
        }
        if problems.is_empty() { Ok(Indexes(indexes)) } else { Err(problems) }
    }

    /// Declares those that are missing, and says what became of each. A backend that fails is not asked again and again.
    pub(super) async fn declare(&self, docs: &dyn DocsService, cx: &CallCx, report: &mut DeployReport) {
        for (collection, named) in &self.0 {
            let mut known: Vec<Path> = match docs.indexes(cx, collection).await {
                Ok(known) => known.into_iter().map(|index| index.path).collect(),
                Err(error) => {
                    return report.warnings.extend(named.first().map(|named| failed(*named, &error)));
                }
            };
            for named in named {
                let path = &named.1.path;
                let mut change = Change::Kept;
                if !known.contains(path) {
                    match docs.declare_index(cx, collection, path).await {
                        Ok(()) => {
                            known.push(path.clone());
                            change = Change::Added;
                        }
                        Err(error) if error.code() == "docs.too_many_indexes" => {
                            report.warnings.push(full(*named, &known));
                            continue;
                        }
                        Err(error) => return report.warnings.push(failed(*named, &error)),
                    }
                }
                let (collection, path) = ((*collection).clone(), path.clone());
                report.indexes.push(DeployedIndex { collection, path, change });
            }
        }
    }
}

/// What was not declared, for people.
fn missing((file, index): Named<'_>) -> String {
    let (path, at) = (&file.path, index.at);
    format!(
        "{path}:{}:{}: the index {:?} of {} was not declared",
        at.line, at.column, index.path, index.collection
    )
}

fn full(named: Named<'_>, known: &[Path]) -> String {
    format!(
        "{}: the collection has {known:?}, and at most {MAX_INDEXES}; the host drops those that nobody needs \
         (drop_index), then deploys again",
        missing(named)
    )
}

fn failed(named: Named<'_>, error: &Error) -> String {
    format!("{}, nor any other that is missing: {error}; the next deployment tries again", missing(named))
}
