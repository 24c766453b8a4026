//! `fanfare completions` and `fanfare man`: what packages install beside the binary, made from the
//! same command tree that reads the command line.

use std::{fs, io, path::Path};

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{command, settings, terminal};

/// Prints what a shell needs to complete commands and flags.
pub(crate) fn completions(flags: &ArgMatches) -> io::Result<()> {
    let Some(shell) = flags.get_one::<Shell>("shell") else { return Ok(()) };
    let brief = |command: Command| {
        command.mut_args(|arg| {
            let help = first_line(&arg);
            match settings::choices(arg.get_id().as_str()) {
                Some(words) => arg.help(help).value_parser(PossibleValuesParser::new(words)),
                None => arg.help(help),
            }
        })
    };
    let mut whole = brief(command::shown()).mut_subcommands(brief);
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut whole, NAME, &mut script);
    terminal::out(&String::from_utf8_lossy(&script))
}

/// The help of an argument without what is allowed: a shell has one line for it.
fn first_line(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.lines().next().unwrap_or_default().to_owned()
}

/// Prints a page of the manual, or writes all of them into a directory.
pub(crate) fn pages(flags: &ArgMatches) -> io::Result<()> {
    if let Some(dir) = flags.get_one::<String>("dir") {
        return all().try_for_each(|page| write(Path::new(dir), &page));
    }
    let name = match flags.get_one::<String>("command") {
        Some(command) => format!("{NAME}-{command}"),
        None => NAME.to_owned(),
    };
    let page = all().find(|page| page.name == name);
    page.map_or(Ok(()), |page| terminal::out(&page.text()?))
}

fn write(dir: &Path, page: &Page) -> io::Result<()> {
    let path = dir.join(format!("{}.1", page.name));
    let named = |error| io::Error::other(format!("{}: {error}", path.display()));
    fs::write(&path, page.text()?).map_err(named)
}

/// A page of the manual.
struct Page {
    name: String,
    command: Command,
}

/// Those of the program and of each of its commands.
fn all() -> impl Iterator<Item = Page> {
    let mut whole = command::shown();
    whole.build();
    let commands: Vec<_> = whole.get_subcommands().cloned().collect();
    [whole].into_iter().chain(commands).map(|command| {
        let name = command.get_display_name().unwrap_or(NAME).to_owned();
        Page { name, command }
    })
}

impl Page {
    fn text(&self) -> io::Result<String> {
        // Some forty flags would be a synopsis that nobody reads.
        let usage = self.command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let page = Man::new(self.command.clone().override_usage(usage))
            .title(self.name.clone())
            .source(concat!("fanfare ", env!("CARGO_PKG_VERSION")))
            .manual("Fanfare");
        let mut text = Vec::new();
        page.render_title(&mut text)?;
        page.render_name_section(&mut text)?;
        page.render_synopsis_section(&mut text)?;
        page.render_options_section(&mut text)?;
        if self.command.has_subcommands() {
            page.render_subcommands_section(&mut text)?;
        }
        self.end().to_writer(&mut text)?;
        // What is allowed stands on a line of its own.
        Ok(String::from_utf8_lossy(&text).replace("\n[", "\n.br\n["))
    }

    /// What follows the options on each page.
    fn end(&self) -> Roff {
        let mut roff = Roff::new();
        if let Some(notes) = self.command.get_after_help() {
            roff.control("SH", ["NOTES"]);
            for line in notes.to_string().lines() {
                match line.strip_prefix("  ") {
                    Some(example) => {
                        roff.control("EX", []).text([roman(example)]).control("EE", [])
                    }
                    None if line.is_empty() => roff.control("PP", []),
                    None => roff.text([roman(line)]),
                };
            }
        }
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in EXIT_STATUS {
            roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
        }
        if self.name != NAME {
            roff.control("SH", ["SEE ALSO"]).text([bold(NAME), roman("(1)")]);
        }
        roff
    }
}

const NAME: &str = "fanfare";
/// The same for all commands.
const EXIT_STATUS: [(&str, &str); 4] = [
    ("0", "It did what it was asked."),
    ("1", "It could not; standard error says why."),
    ("2", "While `publish` streamed to a channel somebody asked that this be cancelled."),
    ("64", "It was asked wrongly: a flag, a variable, or the configuration."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let names: Vec<_> = all().map(|page| page.name).collect();
        assert!(names.iter().any(|name| name == "fanfare-health"), "{names:?}");
        assert!(names.iter().all(|name| !name.contains("settings-table")), "{names:?}");
        for page in all() {
            let text = page.text().unwrap();
            assert!(text.contains(&format!(".TH {} 1", page.name)), "{text}");
            assert!(text.contains("\n.SH NAME\n") && text.contains("\n.SH \"EXIT STATUS\"\n"));
        }
    }

    #[test]
    fn the_page_of_the_hub_has_each_setting_under_its_heading() {
        let text = all().next().unwrap().text().unwrap().replace("\\-", "-");
        for arg in command::shown().get_arguments() {
            let flag = format!("--{}", arg.get_long().unwrap());
            assert!(text.contains(&flag), "{flag}");
        }
        assert!(text.contains("\n.SH LISTENERS\n"), "{text}");
    }
}
