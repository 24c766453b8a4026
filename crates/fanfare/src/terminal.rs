//! All that is printed. Results go to standard output; what people should know goes to standard
//! error, where nothing is lost if nobody reads it; the exit code says how it went.

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

/// Writes lines to standard output at once.
pub(crate) fn out(lines: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    stdout.flush()
}

/// Says something on standard error.
pub(crate) fn say(words: &str) {
    // In one write, so that lines of several processes stay whole. There is nobody to tell that
    // it cannot be told.
    drop(io::stderr().write_all(format!("fanfare: {words}\n").as_bytes()));
}

/// Words on how far something is: on a terminal one line that is written over.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    is_begun: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), is_begun: false }
    }

    /// Shows these words; where lines stay, only if they are due.
    pub(crate) fn show(&mut self, words: &str, is_due: bool) {
        if self.is_terminal {
            self.is_begun = true;
            let line = format!("\rfanfare: {words}{CLEAR_TO_END}");
            drop(io::stderr().write_all(line.as_bytes()));
        } else if is_due {
            say(words);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_begun {
            drop(io::stderr().write_all(format!("\r{CLEAR_TO_END}").as_bytes()));
        }
    }
}

/// Says what went wrong, and why, and why that.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    for line in chain(error).lines() {
        say(line);
    }
}

/// An error and its causes; a cause that its error already tells is not told again.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// The exit code of a publish whose channel somebody asked to be cancelled.
pub(crate) const EX_CANCELLED: u8 = 2;
/// `EX_USAGE` of sysexits.h: the command was used incorrectly.
pub(crate) const EX_USAGE: u8 = 64;
/// Makes a terminal forget the rest of the line.
const CLEAR_TO_END: &str = "\u{1b}[K";

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Self>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let root = Layer("connection refused", None);
        let middle = Layer("connect: connection refused", Some(Box::new(root)));
        let top = Layer("no hub", Some(Box::new(middle)));
        assert_eq!(chain(&top), "no hub: connect: connection refused");
    }
}
