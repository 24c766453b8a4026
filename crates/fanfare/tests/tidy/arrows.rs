//! The arrows between crates: which of our crates each one may use, and what the core may use at
//! all.

use toml::{Table, Value};

/// The arrows as DESIGN draws them. A crate that is not drawn is an error, too.
const DRAWN: [(&str, &[&str]); 6] = [
    ("fanfare", &["fanfare-core", "fanfare-server"]),
    ("fanfare-benches", &["fanfare-core", "fanfare-fanout"]),
    ("fanfare-core", &[]),
    ("fanfare-fanout", &["fanfare-core"]),
    // It shares no code with the hub, so that it cannot share its mistakes.
    ("fanfare-loadtest", &[]),
    ("fanfare-server", &["fanfare-core", "fanfare-fanout"]),
];
/// All that the core uses.
const CORE_USES: [&str; 2] = ["bytes", "dashmap"];
/// And for tests.
const CORE_TESTS_USE: [&str; 2] = ["loom", "proptest"];

/// What is wrong with the arrows of a crate's manifest.
pub(crate) fn wrong(manifest: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().unwrap();
    let name = manifest["package"]["name"].as_str().unwrap();
    let Some((_, drawn)) = DRAWN.iter().find(|(drawn, _)| *drawn == name) else {
        return vec![format!("no arrows are drawn for {name}")];
    };
    let (uses, tests_use) = (uses(&manifest), tests_use(&manifest));
    let is_ours = |used: &&String| used.starts_with("fanfare");
    let all = uses.iter().chain(&tests_use).filter(is_ours);
    let undrawn = all.filter(|used| !drawn.contains(&used.as_str()));
    let mut wrong: Vec<_> = undrawn.map(|used| format!("{name} may not use {used}")).collect();
    if name == "fanfare-core" {
        if uses != CORE_USES {
            wrong.push(format!("the core uses {uses:?}, drawn are {CORE_USES:?}"));
        }
        let foreign = tests_use.iter().filter(|used| !CORE_TESTS_USE.contains(&used.as_str()));
        wrong.extend(foreign.map(|used| format!("tests of the core may not use {used}")));
    }
    wrong
}

/// Names of what a crate uses, sorted.
fn uses(manifest: &Table) -> Vec<String> {
    names(manifest.get("dependencies"))
}

/// The same for its tests, its build, and single targets: loom is for the target `loom`.
fn tests_use(manifest: &Table) -> Vec<String> {
    let mut all = names(manifest.get("dev-dependencies"));
    all.extend(names(manifest.get("build-dependencies")));
    let targets = manifest.get("target").and_then(Value::as_table);
    for target in targets.into_iter().flat_map(Table::values) {
        all.extend(names(target.get("dependencies")));
        all.extend(names(target.get("dev-dependencies")));
    }
    all
}

/// The names in a table of dependencies; those of packages where they are renamed.
fn names(dependencies: Option<&Value>) -> Vec<String> {
    let Some(table) = dependencies.and_then(Value::as_table) else { return Vec::new() };
    let package = |used: &Value| Some(used.get("package")?.as_str()?.to_owned());
    let name = |(name, used): (&String, &Value)| package(used).unwrap_or_else(|| name.clone());
    let mut names: Vec<_> = table.iter().map(name).collect();
    names.sort_unstable();
    names
}

#[test]
fn undrawn_arrows_are_found() {
    for (name, rest) in [
        ("fanfare-fanout", "[dependencies]\nfanfare-server.workspace = true"),
        ("fanfare-fanout", "[dev-dependencies]\nfanfare-server.workspace = true"),
        ("fanfare", "[dependencies]\nfanout = { package = \"fanfare-fanout\", path = \"x\" }"),
        ("fanfare-new", ""),
        ("fanfare-loadtest", "[dependencies]\nfanfare-core.workspace = true"),
        ("fanfare-core", "[dependencies]\nbytes = \"1\"\ndashmap = \"6\"\nslab = \"0\""),
        ("fanfare-core", "[dependencies]\nbytes = \"1\""),
        (
            "fanfare-core",
            "[dependencies]\nbytes = \"1\"\ndashmap = \"6\"\n[dev-dependencies]\nrand = \"0\"",
        ),
        (
            "fanfare-core",
            "[dependencies]\nbytes = \"1\"\ndashmap = \"6\"\n\
             [target.'cfg(unix)'.dependencies]\nlibc = \"0\"",
        ),
    ] {
        let manifest = format!("[package]\nname = \"{name}\"\n{rest}");
        assert_eq!(wrong(&manifest).len(), 1, "{manifest}");
    }
    let fine = "[package]\nname = \"fanfare-server\"\n[dependencies]\nfanfare-core = \"1\"\n\
                fanfare-fanout = \"1\"\ntokio = \"1\"\n";
    assert_eq!(wrong(fine), [""; 0]);
}
