//! Rules about length: lines, functions, files.

use crate::{tree::Kind, words::is_test_module};

/// Lines over 100 columns. A row of a Markdown table, an inline table of TOML and a URL cannot be
/// broken.
pub(crate) fn long_lines(kind: Kind, text: &str) -> Vec<String> {
    let may_be_long = |line: &str| {
        let start = line.trim_start().chars().next();
        line.contains("://")
            || (kind == Kind::Markdown && start == Some('|'))
            || (kind == Kind::Toml && start == Some('{'))
    };
    let long = |(index, line): (usize, &str)| {
        let columns = line.chars().count();
        let is_long = COLUMNS_MAX < columns && !may_be_long(line);
        is_long.then(|| format!("line {} has {columns} columns", index + 1))
    };
    text.lines().enumerate().filter_map(long).collect()
}

/// Functions over 70 lines, from `fn` to the brace that closes it, which rustfmt puts at the
/// same indentation.
pub(crate) fn long_functions(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        let has_ended = |line: &&str| **line == close || line.ends_with(';');
        let is_one_line = line.ends_with('}') || line.ends_with(';');
        if is_one_line {
            continue;
        }
        // A declaration without a body ends with `;` before any line opens one.
        let opens = lines[start..].iter().position(|line| line.ends_with('{')).unwrap_or(0);
        if lines[start..].iter().take(opens).any(has_ended) {
            continue;
        }
        let Some(length) = lines[start..].iter().position(|line| *line == close) else { continue };
        if FUNCTION_LINES_MAX < length + 1 {
            found.push(format!("line {}: `{name}` has {} lines", start + 1, length + 1));
        }
    }
    found
}

/// A file with over 400 lines of code: tests, comments and empty lines do not count.
pub(crate) fn long_file(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    let tests = (0..lines.len()).find(|index| is_test_module(&lines[*index..]));
    let code = &lines[..tests.unwrap_or(lines.len())];
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let count = code.iter().filter(is_code).count();
    (FILE_LINES_MAX < count).then(|| format!("{count} lines of code"))
}

/// A document of over 150 lines.
pub(crate) fn long_document(text: &str) -> Option<String> {
    let count = text.lines().count();
    (DOCUMENT_LINES_MAX < count).then(|| format!("{count} lines"))
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ');
    let modifiers = ["async", "const", "default", "extern", "pub", "unsafe", "\"C\""];
    let word = words.find(|word| !modifiers.contains(word) && !word.starts_with("pub("))?;
    if word != "fn" {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 400;
const DOCUMENT_LINES_MAX: usize = 150;

#[test]
fn long_lines_are_found() {
    let (fits, long) = ("ä".repeat(100), "ä".repeat(101));
    assert!(long_lines(Kind::Rust, &fits).is_empty());
    let found = long_lines(Kind::Rust, &format!("{fits}\n{long}\n"));
    assert_eq!(found, ["line 2 has 101 columns"]);
    assert!(long_lines(Kind::Markdown, &format!("| {long} |\nhttps://{long}")).is_empty());
    assert_eq!(long_lines(Kind::Rust, &format!("| {long} |")).len(), 1);
}

#[test]
fn long_functions_are_found() {
    let function = |indent: &str, head: &str, lines: usize| {
        let body = format!("{indent}    step();\n").repeat(lines - 2);
        format!("{indent}{head} {{\n{body}{indent}}}\n")
    };
    assert!(long_functions(&function("", "fn fits()", 70)).is_empty());
    let found = long_functions(&function("    ", "pub(crate) async fn long<T>(a: T)", 71));
    assert_eq!(found, ["line 1: `long` has 71 lines"]);
    let declared =
        format!("    fn declared();\n    fn one() {{}}\n{}", function("    ", "fn x()", 69));
    assert!(long_functions(&declared).is_empty());
    let wrapped =
        format!("    fn wrapped(\n        a: u8,\n    );\n{}", function("    ", "fn x()", 69));
    assert!(long_functions(&wrapped).is_empty());
}

#[test]
fn long_files_are_found() {
    let code = "let a = 1;\n".repeat(400);
    let rest = format!("// why\n\n#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_eq!(long_file(&format!("{code}{rest}")), None);
    assert_eq!(long_file(&format!("{code}b();\n{rest}")), Some("401 lines of code".to_owned()));
}

#[test]
fn long_documents_are_found() {
    assert_eq!(long_document(&"a\n".repeat(150)), None);
    assert_eq!(long_document(&"a\n".repeat(151)), Some("151 lines".to_owned()));
}
