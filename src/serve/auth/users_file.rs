//! The file of users while the server runs: it is reloaded when it changes, so that users are added and removed without a
//! restart.
//!
//! An invalid file changes nothing: the users stay as they were, and an error is logged. Users who were removed are refused
//! from their next request on; a result set that is being read continues to its end.

use super::login::Logins;
use super::users::Users;
use super::verifier;
use crate::config::private;
use crate::error::{Error, Result};
use crate::serve::limits::USERS_LOOK;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::time::sleep;

/// Identifies the content of a file: a new file has another inode, a modified one another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file of users that has been read.
#[derive(Debug)]
pub(crate) struct UsersFile {
    path: PathBuf,
    /// The stamp before it was read; `None` = it is not a regular file.
    stamp: Option<Stamp>,
}

impl UsersFile {
    /// Reads the file for the first time.
    pub(crate) fn open(path: &Path) -> Result<(UsersFile, Users)> {
        let stamp = stamp(path);
        let users = Users::read(path)?;
        private::warn_if_open(path, "the file of users");
        Ok((UsersFile { path: path.to_path_buf(), stamp }, users))
    }

    /// Watches the file for as long as the logins live.
    pub(crate) async fn watch(self, logins: Weak<Logins>) {
        let Some(mut known) = self.stamp.map(Some) else { return };
        let mut before = known;
        loop {
            sleep(USERS_LOOK).await;
            let Some(logins) = logins.upgrade() else { return };
            let path = self.path.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || stamp(&path)).await else { continue };
            // A file that has just changed may still be incomplete.
            let settled = now == before;
            before = now;
            if settled && now != known {
                known = now;
                self.read(logins).await;
            }
        }
    }

    async fn read(&self, logins: Arc<Logins>) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Users::read(&path)).await;
        let file = self.path.display();
        match read {
            Ok(Ok(users)) => {
                tracing::info!(%file, users = users.count(), "reloaded the users file");
                logins.replace(users);
            }
            Ok(Err(error)) => {
                let detail = error.detail().unwrap_or_default();
                tracing::error!(%file, %error, detail, "cannot reload the users file; keeping the previous users");
            }
            Err(error) => {
                tracing::error!(%file, %error, "cannot reload the users file; keeping the previous users")
            }
        }
    }
}

/// Writes a line into a file of users, which is created if it does not exist; a password replaces the user's previous one.
/// The file is replaced as a whole.
pub fn put(path: &Path, line: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(format!("cannot write {}", path.display())).with_detail(e.to_string());
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e)),
    };
    // A symbolic link is kept: its target is replaced.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Mode 0600.
    let mut new = tempfile::Builder::new().prefix(".users-").tempfile_in(directory).map_err(failed)?;
    new.write_all(with_line(&before, line).as_bytes()).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    new.persist(&path).map_err(|e| failed(e.error))?;
    Ok(())
}

fn with_line(before: &str, line: &str) -> String {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_password = |words: &[String]| {
        let forms = ["pbkdf2-", "$pbkdf2-", verifier::PREFIX];
        words.get(2).is_some_and(|secret| forms.iter().any(|form| secret.starts_with(form)))
    };
    let new = words(line);
    let (mut text, mut put) = (String::new(), false);
    for old in before.lines() {
        let parts = words(old);
        let replaced = is_password(&new) && is_password(&parts) && parts[0] == new[0];
        match replaced && !put {
            true if new.len() == 3 => text.push_str(&[&new[..], &parts[3..]].concat().join(" ")),
            true => text.push_str(line),
            false => text.push_str(old),
        }
        put |= replaced;
        text.push('\n');
    }
    if !put {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Warns if standard output is a file that others can read.
pub fn warn_of_output() {
    let output = Path::new("/dev/stdout");
    if std::fs::metadata(output).is_ok_and(|found| found.is_file()) {
        let file = std::fs::canonicalize(output).unwrap_or_else(|_| output.to_path_buf());
        private::warn_if_open(&file, "the file of users");
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_line_is_put_in_the_place_of_the_former_password() {
        let before = "# people\na reader pbkdf2-sha256:1 topics=x\na reader sha256:2\n\nb admin pbkdf2-sha256:3";
        let password = with_line(before, "a writer pbkdf2-sha256:9");
        assert_eq!(
            password,
            "# people\na writer pbkdf2-sha256:9 topics=x\na reader sha256:2\n\nb admin pbkdf2-sha256:3\n"
        );
        let phc = with_line("a reader pbkdf2-sha256:1", "a reader $pbkdf2-sha256$i=9");
        assert_eq!(phc, "a reader $pbkdf2-sha256$i=9\n", "the syntax of an earlier version is replaced");
        assert_eq!(with_line(&phc, "a reader $pbkdf2-sha256$i=8"), "a reader $pbkdf2-sha256$i=8\n");
        assert_eq!(with_line(&phc, "a reader SCRAM-SHA-256$9"), "a reader SCRAM-SHA-256$9\n");
        assert_eq!(with_line("a reader sha256:2", "a reader sha256:3"), "a reader sha256:2\na reader sha256:3\n");
        assert_eq!(with_line("", "a reader certificate"), "a reader certificate\n");
    }

    #[test]
    fn the_file_is_made_private_and_stays_behind_its_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("users"), directory.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        put(&file, "a reader certificate").unwrap();
        put(&link, "b reader certificate").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a reader certificate\nb reader certificate\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
