//! The terminal: taken over while the view is shown, and given back however it ends.

use std::{
    io::{self, Write},
    panic,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen,
        LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
    },
};
use tokio::sync::mpsc;

use super::line::{Line, Tone};
use crate::limits::TOP_KEYS_MAX;

/// The terminal of this process; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Screen;

/// What a person asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    /// Another sort.
    Sort,
    /// A pause, or its end.
    Pause,
    /// An end.
    Quit,
    /// The terminal has another size.
    Resized,
    /// The channels so many lines further down or up.
    Scroll(isize),
}

impl Screen {
    /// Takes the terminal. A panic gives it back before it tells what happened.
    pub(super) fn take() -> io::Result<Self> {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            told(info);
        }));
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        let screen = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) = size().unwrap_or((80, 24));
        (columns.into(), rows.into())
    }

    /// Shows these lines from the top.
    pub(super) fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        // In one write, so that nothing is seen half.
        let mut bytes = Vec::new();
        for (row, line) in (0..).zip(lines) {
            queue!(bytes, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            for (tone, text) in &line.spans {
                dress(&mut bytes, *tone)?;
                queue!(bytes, Print(text), SetAttribute(Attribute::Reset), ResetColor)?;
            }
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once: a second time would put the cursor over what a panic has told.
/// There is nobody to tell that it cannot be given.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    drop(execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen));
    drop(disable_raw_mode());
}

fn dress(bytes: &mut Vec<u8>, tone: Tone) -> io::Result<()> {
    match tone {
        Tone::Plain => Ok(()),
        Tone::Strong => queue!(bytes, SetAttribute(Attribute::Bold)),
        Tone::Faint => queue!(bytes, SetAttribute(Attribute::Dim)),
        Tone::Head => queue!(bytes, SetForegroundColor(Color::Cyan)),
        Tone::Good => queue!(bytes, SetForegroundColor(Color::Green)),
        Tone::Warning => queue!(bytes, SetForegroundColor(Color::Yellow)),
        Tone::Bad => {
            queue!(bytes, SetForegroundColor(Color::Red), SetAttribute(Attribute::Bold))
        }
    }
}

/// What is typed from now on. Reading a terminal blocks, so a thread does it; it ends with the
/// process.
pub(super) fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(TOP_KEYS_MAX);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            let Some(key) = Key::of(&event) else { continue };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Key {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Resize(..) => Some(Self::Resized),
            Event::Key(key) if key.kind != KeyEventKind::Release => Self::of_key(*key),
            _ => None,
        }
    }

    fn of_key(key: KeyEvent) -> Option<Self> {
        match (key.code, key.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL)
            | (KeyCode::Char('q') | KeyCode::Esc, _) => Some(Self::Quit),
            (KeyCode::Char('s'), _) => Some(Self::Sort),
            (KeyCode::Char(' '), _) => Some(Self::Pause),
            (KeyCode::Down | KeyCode::Char('j'), _) => Some(Self::Scroll(1)),
            (KeyCode::Up | KeyCode::Char('k'), _) => Some(Self::Scroll(-1)),
            (KeyCode::PageDown, _) => Some(Self::Scroll(10)),
            (KeyCode::PageUp, _) => Some(Self::Scroll(-10)),
            (KeyCode::Home, _) => Some(Self::Scroll(isize::MIN)),
            _ => None,
        }
    }
}

/// Whether the terminal is ours at the moment.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_last_line_says() {
        let of = |code, modifiers| Key::of(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| of(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(plain(KeyCode::Char('s')), Some(Key::Sort));
        assert_eq!(plain(KeyCode::Char(' ')), Some(Key::Pause));
        assert_eq!(plain(KeyCode::Down), Some(Key::Scroll(1)));
        assert_eq!(Key::of(&Event::Resize(1, 1)), Some(Key::Resized));
    }
}
