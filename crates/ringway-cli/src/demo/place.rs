//! Which files the demo works on.

use crate::failure::Failure;
use std::env::var_os;
use std::path::{Path, PathBuf};

/// The place asked for, or the first of the usual ones that exists.
pub(crate) fn find(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(asked) = asked else { return default() };
    let refuse =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("--files {}: {why}", asked.display()));
    let found = asked.metadata().map_err(|e| refuse(&e))?;
    if !found.is_dir() && !found.is_file() {
        return Err(refuse(&"neither a directory nor a regular file"));
    }
    Ok(asked.into())
}

fn default() -> Result<PathBuf, Failure> {
    let cargo = var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(PathBuf::from(var_os("HOME")?).join(".cargo")));
    let crates = cargo.map(|cargo| cargo.join("registry/src"));
    // Where cargo built this program; elsewhere it names nothing.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    crates.into_iter().chain(own).find(|place| place.is_dir()).ok_or_else(|| {
        Failure::Usage(
            "found no crate sources of cargo's to work on; name a directory with --files DIR"
                .into(),
        )
    })
}
