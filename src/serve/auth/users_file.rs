//! The file of users while the server runs: read again when it changes, so that a user comes and goes without a restart.
//!
//! A file that cannot be read or understood changes nothing: the users stay as they were, and the log says so as an error.
//! Users who are gone are refused from their next request on; a result set that is being read is read to its end.

use super::login::Logins;
use super::users::Users;
use crate::config::private;
use crate::error::{Error, Result};
use crate::serve::limits::USERS_LOOK;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::time::sleep;

/// What tells two contents of a file apart: a new file has another inode, a file that is written another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file of users that was read.
#[derive(Debug)]
pub(crate) struct UsersFile {
    path: PathBuf,
    /// As it was before it was read; `None` = it is no file that stays, such as a pipe.
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

    /// Looks after the file for as long as there are logins.
    pub(crate) async fn watch(self, logins: Weak<Logins>) {
        let Some(mut known) = self.stamp.map(Some) else { return };
        let mut before = known;
        loop {
            sleep(USERS_LOOK).await;
            let Some(logins) = logins.upgrade() else { return };
            let path = self.path.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || stamp(&path)).await else { continue };
            // It may still be written.
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
                tracing::info!(%file, users = users.count(), "the file of users has changed and is in force");
                logins.replace(users);
            }
            Ok(Err(error)) => {
                let detail = error.detail().unwrap_or_default();
                tracing::error!(%file, %error, detail, "the file of users has changed and cannot be used: the users stay as they were");
            }
            Err(error) => {
                tracing::error!(%file, %error, "the file of users could not be read: the users stay as they were")
            }
        }
    }
}

/// Puts a line into a file of users, which is made if it is not there; a password takes the place of the user's former one.
/// Readers see the file as it was before or as it is then.
pub fn put(path: &Path, line: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(format!("cannot write {}", path.display())).with_detail(e.to_string());
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e)),
    };
    // A link stays one: what it leads to is replaced.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Only this user can read it.
    let mut new = tempfile::Builder::new().prefix(".users-").tempfile_in(directory).map_err(failed)?;
    new.write_all(with_line(&before, line).as_bytes()).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    new.persist(&path).map_err(|e| failed(e.error))?;
    Ok(())
}

fn with_line(before: &str, line: &str) -> String {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_password = |words: &[String]| words.get(2).is_some_and(|secret| secret.starts_with("pbkdf2-"));
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

/// Warns if what standard output goes to can be read by others.
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
