//! Rules about words. The words themselves are put together from parts, so that these files keep
//! to their own rules.

use crate::tree::Kind;

/// Words that are not for committed code.
pub(crate) fn banned(kind: Kind, text: &str) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let calls = [concat!("db", "g!("), concat!("unbounded_", "channel"), concat!("#[ig", "nore")];
    let mut found = Vec::new();
    if kind != Kind::Markdown {
        found.extend(marks.into_iter().filter(|mark| identifiers(text).any(|word| word == *mark)));
    }
    if kind == Kind::Rust {
        found.extend(calls.into_iter().filter(|call| text.contains(call)));
    }
    found.into_iter().map(|word| format!("has the banned word {word}")).collect()
}

/// Waiting for time to pass in a test: it is slow when it passes and fails when it is unlucky.
pub(crate) fn sleeps(text: &str) -> Vec<String> {
    let calls = [concat!("thread::", "sleep"), concat!("time::", "sleep"), concat!(" sl", "eep(")];
    let found = calls.into_iter().filter(|call| text.contains(call));
    found.map(|call| format!("a test waits with{call}")).collect()
}

/// Words for which DESIGN has another one, as parts of identifiers. What is in comments and in
/// strings is prose, and `room` outside the name of a type is space.
pub(crate) fn synonyms(text: &str) -> Vec<String> {
    let code = code_of(text);
    let mut found = Vec::new();
    for identifier in identifiers(&code) {
        for part in parts(identifier) {
            let is_type = identifier.contains(char::is_lowercase)
                && identifier.starts_with(char::is_uppercase);
            if ["topic", "topics", "rooms"].contains(&part.as_str()) || (part == "room" && is_type)
            {
                found.push(format!("`{identifier}` says {part} for a channel"));
            }
        }
    }
    found
}

/// What the core never names: it is told the time and does no IO.
pub(crate) fn not_for_core(text: &str) -> Vec<String> {
    let code = code_of(&text[..text.len() - tests_of(text).len()]);
    let names = ["async fn", ".await", "std::env", "std::fs", "std::net", "Instant", "SystemTime"];
    let found = names.into_iter().filter(|name| code.contains(name));
    found.map(|name| format!("the core names {name}")).collect()
}

/// The part of a file that is its tests.
pub(crate) fn tests_of(text: &str) -> &str {
    let lines: Vec<_> = text.lines().collect();
    let start = (0..lines.len()).find(|index| is_test_module(&lines[*index..]));
    let Some(start) = start else { return "" };
    let bytes: usize = text.split_inclusive('\n').take(start).map(str::len).sum();
    &text[bytes..]
}

/// Whether a module of tests begins at the first of these lines.
pub(crate) fn is_test_module(lines: &[&str]) -> bool {
    let is_attribute =
        |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
    match lines {
        [attribute, module, ..] => {
            is_attribute(attribute) && module.contains("mod ") && module.ends_with('{')
        }
        _ => false,
    }
}

/// The words of a text: letters, digits, `_`.
fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The parts of an identifier in snake or camel case, in lower case.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        after_lower = c.is_lowercase();
        if let Some(part) = parts.last_mut().filter(|_| c != '_') {
            part.extend(c.to_lowercase());
        }
    }
    parts
}

/// The code of a text: without comments and without what is in its strings.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut in_string = false;
    for line in text.lines() {
        let mut before = ' ';
        for c in line.chars() {
            match c {
                '/' if before == '/' && !in_string => break,
                '"' if before != '\\' && before != '\'' => in_string = !in_string,
                _ if !in_string => code.push(c),
                _ => {}
            }
            before = if c == '\\' && before == '\\' { ' ' } else { c };
        }
        code.push('\n');
    }
    code
}

#[test]
fn banned_words_are_found() {
    for word in [concat!("// TO", "DO: later"), concat!("# XX", "X"), concat!("/* FIX", "ME */")] {
        assert_eq!(banned(Kind::Other, word).len(), 1, "{word}");
    }
    for code in [
        concat!("db", "g!(x);"),
        concat!("mpsc::unbounded_", "channel()"),
        concat!("#[ig", "nore]"),
        concat!("#[ig", "nore = \"slow\"]"),
    ] {
        assert_eq!(banned(Kind::Rust, code).len(), 1, "{code}");
    }
    assert!(banned(Kind::Other, concat!("mktemp /tmp/x.XX", "XXXX")).is_empty());
    assert!(banned(Kind::Markdown, concat!("no TO", "DO without a reason")).is_empty());
}

#[test]
fn sleeps_are_found() {
    let code = concat!("fn a() {}\n#[cfg(test)]\nmod tests {\n    thread::", "sleep(S);\n}\n");
    assert_eq!(sleeps(tests_of(code)).len(), 1);
    let code = concat!("fn a() {\n    thread::", "sleep(S);\n}\n#[cfg(test)]\nmod tests {\n}\n");
    assert!(sleeps(tests_of(code)).is_empty());
    assert_eq!(sleeps(concat!("tokio::time::", "sleep(s).await")).len(), 1);
    assert_eq!(sleeps(concat!("use std::thread::", "sleep;")).len(), 1);
}

#[test]
fn synonyms_are_found() {
    for code in ["struct Topic;", "let rooms = 1;", "struct RoomId;", "TOPICS_MAX"] {
        assert_eq!(synonyms(code).len(), 1, "{code}");
    }
    let prose = "// a topic elsewhere\nlet HEAD_ROOM = \"room // \\\" topic\";\nlet b = '\"';\n";
    assert!(synonyms(prose).is_empty());
    assert_eq!(synonyms("let a = \"x\"; let topic = 1; // room").len(), 1);
}

#[test]
fn io_in_the_core_is_found() {
    for code in ["use std::net::TcpStream;", "let t = Instant::now();", "async fn a() {}"] {
        assert_eq!(not_for_core(code).len(), 1, "{code}");
    }
    let fine = "//! No std::fs here.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    assert!(not_for_core(fine).is_empty());
}
