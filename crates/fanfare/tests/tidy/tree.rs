//! The sources of the repository: every file that people write, whatever crate it belongs to.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// One file.
pub(crate) struct Source {
    /// Its path from the root of the repository.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: String,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Prose.
    Markdown,
    /// Code in another language: the page, the examples, the tests with real clients, the Makefile.
    Other,
    /// Rust.
    Rust,
    /// Manifests and configuration.
    Toml,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?;
        match path.extension().and_then(OsStr::to_str) {
            Some("md") => Some(Self::Markdown),
            Some("rs") => Some(Self::Rust),
            Some("toml") => Some(Self::Toml),
            Some(
                "css" | "go" | "html" | "js" | "mjs" | "py" | "sh" | "ts" | "tsx" | "yml" | "yaml",
            ) => Some(Self::Other),
            _ if ["Makefile", "run", "setup", "smoke"].iter().any(|known| name == *known) => {
                Some(Self::Other)
            }
            _ => None,
        }
    }
}

impl Source {
    /// Whether all of it is a test: a crate's `tests/`, or a module of its own for tests.
    pub(crate) fn is_test(&self) -> bool {
        let stem = self.path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        self.path.components().any(|part| part.as_os_str() == "tests")
            || stem == "tests"
            || stem.ends_with("_tests")
    }

    /// Whether it is code of one of our crates.
    pub(crate) fn is_in_crate(&self) -> bool {
        self.path.starts_with("crates") && self.path.components().any(|c| c.as_os_str() == "src")
    }

    /// Whether it is the manifest of one of our crates.
    pub(crate) fn is_crate_manifest(&self) -> bool {
        // What is copied by users, and what only tests build, is no member of the workspace.
        let is_apart = self.path.starts_with("examples") || self.is_test();
        let is_member = self.path.components().count() > 1 && !is_apart;
        is_member && self.path.ends_with("Cargo.toml")
    }
}

/// All sources.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    walk(&root(), &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The text of one file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn walk(folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && !is_skipped(&entry.file_name()) {
            walk(&path, sources);
        } else if kind.is_file()
            && let Some(kind) = Kind::of(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).unwrap().to_owned();
            sources.push(Source { path, kind, text });
        }
    }
}

/// What tools make, and hidden folders except the one of our own.
fn is_skipped(name: &OsStr) -> bool {
    let name = name.to_str().unwrap_or_default();
    let made = ["__pycache__", "corpus", "dist", "node_modules", "target", "venv"];
    made.contains(&name) || (name.starts_with('.') && name != ".ci")
}

#[test]
fn files_are_told_apart() {
    let kind = |path: &str| Kind::of(Path::new(path));
    assert_eq!(kind("a/b.rs"), Some(Kind::Rust));
    assert_eq!(kind(".ci/run"), Some(Kind::Other));
    assert_eq!((kind("Cargo.lock"), kind("logo.png")), (None, None));
    let source = |path: &str| Source { path: path.into(), kind: Kind::Rust, text: String::new() };
    assert!(
        source("crates/x/tests/a.rs").is_test() && source("crates/x/src/loom_tests.rs").is_test()
    );
    assert!(!source("crates/x/src/a.rs").is_test() && source("crates/x/src/a.rs").is_in_crate());
    assert!(source("crates/x/Cargo.toml").is_crate_manifest());
    assert!(source("benches/Cargo.toml").is_crate_manifest());
    assert!(!source("Cargo.toml").is_crate_manifest());
    assert!(!source("examples/x/Cargo.toml").is_crate_manifest());
}
