//! A folder of scripts, as it is deployed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{MAX_SOURCE_BYTES, ScriptName};
use crate::{Error, ErrorKind, Result};

/// The ending of script files.
const ENDING: &str = "rhai";

/// Most files in a folder, and how deep folders may nest: a folder given by mistake is an error, not a long wait.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// A set of script files, to be [deployed](crate::App::deploy) all at once.
///
/// A file is named by its path without the ending: `hooks/stripe.rhai` is the script `hooks/stripe`. An app keeps
/// apart what was deployed under different bundle names, so several folders can share it.
///
/// ```
/// use picloud_core::script::Bundle;
/// let bundle = Bundle::new().file("greet", "//! route GET /greet/:name\n`hello ${ctx.request.params.name}`")?;
/// assert_eq!(bundle.names().collect::<Vec<_>>(), ["greet"]);
/// # Ok::<_, picloud_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    name: String,
    files: BTreeMap<String, File>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: ScriptName,
    /// As people know it: with folder and ending.
    pub(crate) path: String,
    pub(crate) source: String,
}

impl Default for Bundle {
    fn default() -> Self {
        Bundle::new()
    }
}

impl Bundle {
    /// An empty bundle named `default`. Deploying it removes everything that was deployed under that name.
    pub fn new() -> Self {
        Bundle { name: "default".into(), files: BTreeMap::new() }
    }

    /// The same files under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a script.
    ///
    /// # Errors
    /// `script.invalid_name`; `script.name_taken` for a second file of one name.
    pub fn file(mut self, name: &str, source: impl Into<String>) -> Result<Self> {
        self.add(name, format!("{name}.{ENDING}"), source.into())?;
        Ok(self)
    }

    /// Reads every `.rhai` file of a folder and the folders in it. Names that begin with a dot and symbolic links are
    /// passed over. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// `bundle.unreadable` naming the path, with the cause; `bundle.not_utf8`; `script.too_large`;
    /// `script.invalid_name`; `bundle.too_many_files`.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let mut bundle = Bundle::new();
        bundle.read_folder(folder, "", 0)?;
        Ok(bundle)
    }

    /// The names of the scripts, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(crate) fn bundle_name(&self) -> &str {
        &self.name
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    fn add(&mut self, name: &str, path: String, mut source: String) -> Result<()> {
        // Some editors begin a file with this mark; the interpreter would refuse it, and nobody can see it.
        if source.starts_with('\u{feff}') {
            source.remove(0);
        }
        let file =
            File { name: ScriptName::new(name).map_err(|error| error.with("file", &path))?, path, source };
        if self.files.len() >= MAX_FILES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "bundle.too_many_files",
                format!("a bundle has at most {MAX_FILES} scripts"),
            ));
        }
        match self.files.insert(name.to_owned(), file) {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::AlreadyExists,
                "script.name_taken",
                format!("the bundle has {name:?} already"),
            )),
        }
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<()> {
        let unreadable = |path: &Path, error: io::Error| {
            Error::new(
                ErrorKind::NotFound,
                "bundle.unreadable",
                format!("{} cannot be read: {error}", path.display()),
            )
            .caused_by(error)
        };
        if depth > MAX_DEPTH {
            return Err(Error::invalid("bundle.too_deep", format!("folders nest deeper than {MAX_DEPTH}"))
                .with("folder", folder.display()));
        }
        for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
            let entry = entry.map_err(|error| unreadable(folder, error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| unreadable(&path, error))?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                return Err(Error::invalid(
                    "bundle.not_utf8",
                    format!("{} is not named in UTF-8", path.display()),
                ));
            };
            if file_name.starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                self.read_folder(&path, &format!("{prefix}{file_name}/"), depth + 1)?;
            } else if kind.is_file()
                && let Some(stem) = file_name.strip_suffix(".rhai")
            {
                let bytes = read_at_most(&path).map_err(|error| unreadable(&path, error))?;
                if bytes.len() > MAX_SOURCE_BYTES {
                    return Err(Error::new(
                        ErrorKind::TooLarge,
                        "script.too_large",
                        format!(
                            "{} has more than {MAX_SOURCE_BYTES} bytes, the most for a script",
                            path.display()
                        ),
                    ));
                }
                let source = String::from_utf8(bytes).map_err(|error| {
                    Error::invalid("bundle.not_utf8", format!("{} is not UTF-8", path.display()))
                        .caused_by(error)
                })?;
                self.add(&format!("{prefix}{stem}"), format!("{prefix}{file_name}"), source)?;
            }
        }
        Ok(())
    }
}

/// The file, or its beginning if it is longer than any script.
fn read_at_most(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_SOURCE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_with_the_folders_in_it() {
        let root = std::env::temp_dir().join(format!("picloud-bundle-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(root.join("hooks")).unwrap();
        std::fs::write(root.join("greet.rhai"), "1").unwrap();
        std::fs::write(root.join("hooks/stripe.rhai"), "2").unwrap();
        std::fs::write(root.join("notes.txt"), "no script").unwrap();
        std::fs::write(root.join(".draft.rhai"), "hidden").unwrap();

        let bundle = Bundle::read(&root);
        std::fs::write(root.join("long.rhai"), "x".repeat(MAX_SOURCE_BYTES + 1)).unwrap();
        let too_long = Bundle::read(&root);
        std::fs::remove_dir_all(&root).unwrap();

        assert_eq!(bundle.unwrap().names().collect::<Vec<_>>(), ["greet", "hooks/stripe"]);
        assert_eq!(too_long.unwrap_err().code(), "script.too_large");
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_source() {
        let bundle = Bundle::new().file("greet", "\u{feff}//! route GET /").unwrap();
        assert_eq!(bundle.files().next().unwrap().source, "//! route GET /");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Bundle::read("/no/such/folder").unwrap_err();
        assert_eq!(error.code(), "bundle.unreadable");
        assert!(error.message().contains("/no/such/folder"), "{error}");
    }
}
