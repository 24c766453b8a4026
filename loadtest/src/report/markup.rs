//! Text in HTML and SVG.

/// A text that a browser shows as it is, between tags and in a quoted attribute. Characters that
/// XML cannot hold are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ if character.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is not well formed in an SVG, or in our HTML: a tag that is not closed or not opened,
    /// an attribute without quotes or given twice, a bare `<` or `&`, a character that XML cannot
    /// hold. Elements that have no content in HTML may stay open.
    pub(in crate::report) fn problem(markup: &str) -> Option<String> {
        let mut open = Vec::new();
        let mut rest = markup.strip_prefix("<!doctype html>").unwrap_or(markup);
        while let Some(start) = rest.find('<') {
            if let Some(problem) = text_problem(&rest[..start]) {
                return Some(problem);
            }
            let Some(end) = rest[start..].find('>') else { return Some("a tag has no end".into()) };
            let tag = &rest[start + 1..start + end];
            rest = &rest[start + end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Some(format!("</{name}> closes nothing"));
                }
                continue;
            }
            let (tag, is_closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Some(format!("<{tag}> has no name"));
            }
            if let Some(problem) = attribute_problem(&tag[name.len()..]) {
                return Some(format!("<{tag}>: {problem}"));
            }
            if !is_closed && !["meta", "link", "br"].contains(&name) {
                open.push(name);
            }
        }
        text_problem(rest).or_else(|| open.pop().map(|name| format!("<{name}> is not closed")))
    }

    fn attribute_problem(mut rest: &str) -> Option<String> {
        let mut names = Vec::new();
        while !rest.trim().is_empty() {
            let Some((name, value)) = rest.trim_start().split_once("=\"") else {
                return Some(format!("an attribute without quotes in {rest:?}"));
            };
            let Some((value, after)) = value.split_once('"') else {
                return Some(format!("{name} is not closed"));
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
            if name.is_empty() || !name.chars().all(is_name) || names.contains(&name) {
                return Some(format!("the attribute {name:?}"));
            }
            if let Some(problem) = text_problem(value) {
                return Some(problem);
            }
            names.push(name);
            rest = after;
        }
        None
    }

    fn text_problem(text: &str) -> Option<String> {
        let is_foreign = |c: char| c == '\u{ffff}' || (c.is_control() && c != '\n' && c != '\t');
        let is_entity = |part: &str| {
            ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| part.starts_with(entity))
        };
        if text.contains('>') || text.contains(is_foreign) {
            return Some(format!("a bare character in {text:?}"));
        }
        let is_bare = text.split('&').skip(1).any(|part| !is_entity(part));
        is_bare.then(|| format!("a bare & in {text:?}"))
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            escape("<b a='1' c=\"2\">&amp;"),
            concat!("&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;", "&amp;amp;")
        );
        assert_eq!(
            escape("a\u{1b}[31m\u{0}\u{85}\u{ffff}b\n"),
            "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b\n"
        );
        assert_eq!(escape("µ × ≤"), "µ × ≤");
    }

    #[test]
    fn what_is_not_well_formed_is_found() {
        assert_eq!(problem("<!doctype html><a b=\"c &amp; d\">e<br><f g=\"\"/></a>\n"), None);
        for (markup, part) in [
            ("<a>", "<a> is not closed"),
            ("<a></b></a>", "</b> closes nothing"),
            ("</a>", "</a> closes nothing"),
            ("<a><b></a></b>", "</a> closes nothing"),
            ("<a b=c></a>", "without quotes"),
            ("<a b=\"c></a>", "is not closed"),
            ("<a b=\"c\" b=\"d\"></a>", "the attribute \"b\""),
            ("<a b=\"c & d\"></a>", "a bare &"),
            ("<a>b & c</a>", "a bare &"),
            ("<a>b &nbsp; c</a>", "a bare &"),
            ("<a>b > c</a>", "a bare character"),
            ("<a>1 < 2</a>", "has no name"),
            ("<a>\u{1b}</a>", "a bare character"),
            ("<a", "a tag has no end"),
        ] {
            let found = problem(markup).unwrap();
            assert!(found.contains(part), "{markup}: {found}");
        }
    }
}
