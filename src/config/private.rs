//! Files and directories that only this user can read: records, statements, hashes of passwords.
//!
//! Files are created with mode 0600, directories with 0700, whatever the umask is. Existing ones keep their mode; if others can
//! read them, a warning is logged.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// Others may read it, or the group may write it. A group may read it: backups and secret stores use one.
const TOO_WIDE: u32 = 0o027;

/// Creates a directory and its missing parents.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a uniquely named directory in the system's temporary directory, which all users share.
pub fn temporary_dir() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("tidegate-").permissions(Permissions::from_mode(0o700)).tempdir()
}

/// Options that create private files.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Writes a file.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    options().write(true).create(true).truncate(true).open(path)?.write_all(bytes)
}

/// Warns if others can read what is there.
pub fn warn_if_open(path: &Path, what: &str) {
    if let Some(mode) = open_mode(path) {
        let (fitting, path) = (if path.is_dir() { "700" } else { "600" }, path.display());
        tracing::warn!("others on this machine can read {what} {path} (mode {mode:o}): chmod {fitting} {path}");
    }
}

/// Its mode, if others can read it, or write what is read here.
fn open_mode(path: &Path) -> Option<u32> {
    let found = std::fs::metadata(path).ok().filter(|m| m.is_dir() || m.is_file())?;
    Some(found.permissions().mode() & 0o777).filter(|mode| mode & TOO_WIDE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_private_and_what_is_wider_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (deep, file) = (directory.path().join("a/b"), directory.path().join("a/b/f"));
        create_dir_all(&deep).expect("directories");
        create_dir_all(&deep).expect("directories that are there");
        write(&file, b"x").expect("a file");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&directory.path().join("a")), mode(&deep), mode(&file)), (0o700, 0o700, 0o600));
        for (wide, noticed) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true), (0o604, true)] {
            std::fs::set_permissions(&file, Permissions::from_mode(wide)).expect("a mode");
            assert_eq!(open_mode(&file).is_some(), noticed, "{wide:o}");
        }
        assert_eq!(open_mode(&directory.path().join("nothing")), None);
    }
}
