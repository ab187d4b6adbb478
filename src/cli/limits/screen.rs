//! A page that is drawn again in its place. Plain ANSI; where there is no terminal, one page after the other.

use std::{
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
};

/// Columns and lines where nobody tells them.
const USUAL: (usize, usize) = (80, 24);
/// No terminal, no bound: a pager or a file takes what it gets.
const WIDE: usize = 120;

/// See the module's documentation. Gives the terminal back when dropped.
#[derive(Debug)]
pub(super) struct Screen {
    in_place: bool,
    last: String,
}

// === impl Screen ===

impl Screen {
    /// `draws`: in place, if there is a terminal.
    pub(super) fn open(draws: bool) -> Self {
        let screen = Self {
            in_place: draws && io::stdout().is_terminal(),
            last: String::new(),
        };
        if screen.in_place {
            // The other screen, so that what stood there comes back; no cursor.
            let _ = write!(io::stdout().lock(), "\x1b[?1049h\x1b[?25l");
        }
        screen
    }

    /// # Errors
    /// Nobody reads any more.
    pub(super) fn show(&mut self, page: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.in_place {
            writeln!(out, "{}", page.trim_end())?;
            return out.flush();
        }
        out.write_all(frame(page, size().1).as_bytes())?;
        self.last = page.to_owned();
        out.flush()
    }

    /// Says what is wrong, above the page that was seen last.
    pub(super) fn show_trouble(&self, why: &str) -> io::Result<()> {
        let page = format!("weir: {why}. Seen last:\n\n{}", self.last);
        let mut out = io::stdout().lock();
        out.write_all(frame(&page, size().1).as_bytes())?;
        out.flush()
    }

    /// Whether one page is drawn over the other.
    pub(super) fn is_in_place(&self) -> bool {
        self.in_place
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.in_place {
            let mut out = io::stdout().lock();
            // What was seen last stays.
            let _ = writeln!(out, "\x1b[?25h\x1b[?1049l{}", self.last.trim_end());
        }
    }
}

/// The bytes that draw a page over the one before it, line by line: clearing all of it first would flicker.
fn frame(page: &str, lines: usize) -> String {
    let all: Vec<_> = page.trim_end().lines().collect();
    let fits = lines.saturating_sub(1).max(1);
    let mut text = String::from("\x1b[H");
    let shown = if all.len() > fits {
        fits - 1
    } else {
        all.len()
    };
    for line in &all[..shown] {
        text.push_str(line);
        text.push_str("\x1b[K\r\n");
    }
    if shown < all.len() {
        text.push_str(&format!(
            "({} more lines: a taller window shows them)\x1b[K\r\n",
            all.len() - shown
        ));
    }
    text.push_str("\x1b[J");
    text
}

/// Columns and lines of the terminal.
pub(super) fn size() -> (usize, usize) {
    let variable = |name| std::env::var(name).ok()?.parse().ok().filter(|n| *n > 0);
    let told = (variable("COLUMNS"), variable("LINES"));
    if let (Some(columns), Some(lines)) = told {
        return (columns, lines);
    }
    if !io::stdout().is_terminal() {
        return (told.0.unwrap_or(WIDE), USUAL.1);
    }
    let (columns, lines) = asked().unwrap_or(USUAL);
    (told.0.unwrap_or(columns), told.1.unwrap_or(lines))
}

/// By asking `stty`, which is where there are terminals: the question needs a system call that std does not have.
fn asked() -> Option<(usize, usize)> {
    let terminal = std::fs::File::open("/dev/tty").ok()?;
    let output = Command::new("stty")
        .arg("size")
        .stdin(terminal)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (lines, columns) = text.trim().split_once(' ')?;
    let (lines, columns) = (lines.parse().ok()?, columns.parse().ok()?);
    (lines > 0 && columns > 0).then_some((columns, lines))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_page_that_is_too_tall_says_how_much_is_missing() {
        let page = "a\nb\nc\nd\n";
        assert_eq!(
            frame(page, 5),
            "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\nd\x1b[K\r\n\x1b[J"
        );
        let cut = frame(page, 4);
        assert!(cut.contains("b\x1b[K\r\n(2 more lines"), "{cut:?}");
        assert_eq!(cut.matches("\r\n").count(), 3, "the last line stays free");
    }
}
