//! Printing.

use std::io::{self, Write};

/// Prints to the standard output; unlike `print!`, without a panic if nobody reads it.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
