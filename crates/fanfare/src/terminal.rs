//! All that is printed. Results go to standard output; what people should know goes to standard
//! error, where nothing is lost if nobody reads it.

use std::{
    error::Error,
    io::{self, Write},
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

/// Says what went wrong, and why, and why that.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    for line in chain(error).lines() {
        say(line);
    }
}

/// An error and its causes; a cause that its error already tells is not told again.
fn chain(error: &(dyn Error + 'static)) -> String {
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
