//! A pseudo-terminal, and the screen that its text makes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{FromRawFd, OwnedFd};

/// Both ends of a pseudo-terminal.
pub(crate) struct Terminal {
    reader: File,
    writer: OwnedFd,
}

impl Terminal {
    /// One of 50 rows.
    pub(crate) fn open(columns: u16) -> Self {
        let size = libc::winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut reader, mut writer) = (-1, -1);
        // SAFETY: places for two descriptors and a size; the name and the settings are optional.
        let result = unsafe {
            libc::openpty(
                &raw mut reader,
                &raw mut writer,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(result, 0, "openpty: {}", std::io::Error::last_os_error());
        // SAFETY: both descriptors are open and belong to nobody else.
        unsafe { Terminal { reader: File::from_raw_fd(reader), writer: OwnedFd::from_raw_fd(writer) } }
    }

    /// The end that a program writes to.
    pub(crate) fn end(&self) -> OwnedFd {
        self.writer.try_clone().unwrap()
    }

    /// All that programs have written, once they have ended.
    pub(crate) fn read_all(self) -> String {
        let Terminal { mut reader, writer } = self;
        drop(writer);
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match reader.read(&mut part) {
                Ok(0) => break,
                Ok(count) => bytes.extend(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody has the other end open.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// A piece of what a terminal receives.
enum Piece {
    Character(char),
    /// A control sequence: its number, or 0, and its letter.
    Control(usize, char),
}

fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), text.chars());
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            pieces.push(Piece::Character(c));
            continue;
        }
        assert_eq!(rest.next(), Some('['), "a control sequence in {text:?}");
        let mut number = String::new();
        let letter = loop {
            match rest.next().unwrap() {
                c if c.is_ascii_alphabetic() => break c,
                c => number.push(c),
            }
        };
        pieces.push(Piece::Control(number.parse().unwrap_or(0), letter));
    }
    pieces
}

/// The texts between line ends, returns and control sequences.
pub(crate) fn texts(text: &str) -> Vec<String> {
    let plain: String = pieces(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Character('\r') | Piece::Control(..) => '\n',
            Piece::Character(c) => c,
        })
        .collect();
    plain.lines().map(|line| line.trim_end().to_string()).filter(|line| !line.is_empty()).collect()
}

/// A terminal's screen.
pub(crate) struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    /// The screen that shows a text.
    pub(crate) fn after(text: &str, columns: u16) -> Self {
        let columns = columns.into();
        let mut screen = Screen { columns, rows: vec![Vec::new()], row: 0, column: 0 };
        for piece in pieces(text) {
            match piece {
                Piece::Character('\r') => screen.column = 0,
                Piece::Character('\n') => screen.down(),
                Piece::Character(c) => screen.put(c),
                Piece::Control(rows, 'A') => screen.row -= rows.max(1),
                Piece::Control(rows, 'B') => (0..rows.max(1)).for_each(|_| screen.down()),
                Piece::Control(2, 'K') => screen.rows[screen.row].clear(),
                Piece::Control(0, 'K') => screen.rows[screen.row].truncate(screen.column),
                Piece::Control(0, 'J') => {
                    screen.rows[screen.row].truncate(screen.column);
                    screen.rows.truncate(screen.row + 1);
                }
                // Colours.
                Piece::Control(_, 'm') => {}
                Piece::Control(number, letter) => panic!("control sequence {number}{letter}"),
            }
        }
        screen
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn put(&mut self, c: char) {
        if self.column == self.columns {
            self.column = 0;
            self.down();
        }
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column + 1), ' ');
        row[self.column] = c;
        self.column += 1;
    }

    /// The lines with text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_string());
        lines.filter(|line| !line.is_empty()).collect()
    }
}
