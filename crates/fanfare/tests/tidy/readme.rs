//! The table of settings in the README: it is the one that the binary prints.

use std::process::Command;

/// What to do when they differ.
pub(crate) const ADVICE: &str = "README.md needs, between <!-- settings --> and \
     <!-- /settings -->, what `cargo run -q -- settings-table` prints";

/// The table of the binary.
pub(crate) fn table_of_code() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let output = command.arg("settings-table").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What stands between the markers.
pub(crate) fn table_of_readme(readme: &str) -> Option<&str> {
    let (_, rest) = readme.split_once("<!-- settings -->\n")?;
    let (table, _) = rest.split_once("<!-- /settings -->")?;
    Some(table)
}

#[test]
fn a_readme_that_differs_is_found() {
    let table = table_of_code();
    let readme = format!("# Fanfare\n<!-- settings -->\n{table}<!-- /settings -->\n");
    assert_eq!(table_of_readme(&readme), Some(table.as_str()));
    let old = readme.replace("`--workers`", "`--threads`");
    assert_ne!(table_of_readme(&old), Some(table.as_str()));
    assert_eq!(table_of_readme("# Fanfare\n"), None);
}
