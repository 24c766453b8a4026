//! The rules of this repository that a machine can check. Each rule is a function from a text to
//! what it finds, with a test that it finds something; the tests here apply them to every file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrows;
mod length;
mod readme;
mod tree;
mod words;

use std::fmt::Write as _;

use crate::tree::{Kind, Source};

#[test]
fn lines_have_at_most_100_columns() {
    none_of(|source| length::long_lines(source.kind, &source.text));
}

#[test]
fn every_rust_file_says_what_it_is() {
    let missing = |source: &Source| source.kind == Kind::Rust && !source.text.starts_with("//! ");
    none_of(|source| missing(source).then(|| "no //! at its top".to_owned()).into_iter().collect());
}

#[test]
fn functions_have_at_most_70_lines() {
    none_of(|source| match source.kind {
        Kind::Rust => length::long_functions(&source.text),
        _ => Vec::new(),
    });
}

#[test]
fn files_have_at_most_400_lines_of_code() {
    none_of(|source| match source.kind {
        Kind::Rust if !source.is_test() => length::long_file(&source.text).into_iter().collect(),
        _ => Vec::new(),
    });
}

#[test]
fn no_banned_words() {
    none_of(|source| words::banned(source.kind, &source.text));
}

#[test]
fn tests_do_not_sleep() {
    none_of(|source| match source.kind {
        Kind::Rust if source.is_test() => words::sleeps(&source.text),
        Kind::Rust => words::sleeps(words::tests_of(&source.text)),
        _ => Vec::new(),
    });
}

#[test]
fn one_word_for_each_thing() {
    none_of(|source| match source.kind {
        Kind::Rust if source.is_in_crate() => words::synonyms(&source.text),
        _ => Vec::new(),
    });
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    none_of(|source| match source.path.starts_with("crates/fanfare-core/src") {
        true => words::not_for_core(&source.text),
        false => Vec::new(),
    });
}

#[test]
fn crate_arrows_are_as_drawn() {
    none_of(|source| match source.is_crate_manifest() {
        true => arrows::wrong(&source.text),
        false => Vec::new(),
    });
}

#[test]
fn the_architecture_is_short() {
    none_of(|source| match source.path.ends_with("ARCHITECTURE.md") {
        true => length::long_document(&source.text).into_iter().collect(),
        false => Vec::new(),
    });
}

#[test]
fn the_readme_has_the_settings_of_the_code() {
    let table = readme::table_of_code();
    let is_same = readme::table_of_readme(&tree::read("README.md")) == Some(table.as_str());
    assert!(is_same, "{}\n\n{table}", readme::ADVICE);
}

#[test]
fn the_tree_is_walked() {
    let sources = tree::sources();
    for path in ["Cargo.toml", "crates/fanfare/src/main.rs", "crates/fanfare/tests/tidy/main.rs"] {
        assert!(sources.iter().any(|source| source.path == *path), "{path}");
    }
    let is_foreign = |source: &Source| source.path.components().any(|c| c.as_os_str() == "target");
    assert!(!sources.iter().any(is_foreign));
}

/// Applies a rule to every source and fails with all that it finds.
#[track_caller]
fn none_of(rule: impl Fn(&Source) -> Vec<String>) {
    let mut found = String::new();
    for source in tree::sources() {
        for what in rule(&source) {
            writeln!(found, "{}: {what}", source.path.display()).unwrap();
        }
    }
    assert!(found.is_empty(), "\n{found}");
}
