//! `[queue_board]`: the user and the password that the page of the agent's queues asks for.

use super::keys::QUEUE_BOARD;
use super::reader::{Faults, Section};
use crate::usage::usage;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// The variable that holds the password, where no file does.
pub const PASSWORD: &str = "QUEUE_BOARD_BASIC_AUTH_PASSWORD";
/// Longest password, in bytes.
const MAX_PASSWORD_BYTES: u64 = 1024;
/// Longest user, in bytes.
const MAX_USER_BYTES: usize = 128;

/// Whom the board lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueBoardSettings {
    /// The user.
    pub user: String,
    /// The file with the password; without one the environment has it.
    pub password_file: Option<PathBuf>,
}

impl QueueBoardSettings {
    /// The password, out of its file or of what the environment holds.
    ///
    /// # Errors
    /// When there is none, or two.
    pub fn password(&self, variable: Option<String>) -> anyhow::Result<String> {
        let password = match (&self.password_file, variable.filter(|text| !text.is_empty())) {
            (Some(_), Some(_)) => {
                return Err(usage(format!(
                    "`queue_board.basic_auth_password_file` and {PASSWORD} say the same; keep one of them"
                )));
            }
            (None, Some(text)) => text,
            (None, None) => String::new(),
            (Some(path), None) => {
                let mut text = String::new();
                let read =
                    File::open(path).and_then(|file| file.take(MAX_PASSWORD_BYTES + 1).read_to_string(&mut text));
                read.map_err(|error| usage(format!("the queue board's password {}: {error}", path.display())))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        let fits =
            !password.is_empty() && u64::try_from(password.len()).is_ok_and(|length| length <= MAX_PASSWORD_BYTES);
        let rule = || {
            usage(format!(
                "the queue board asks for a password, and there is none of 1 to {MAX_PASSWORD_BYTES} bytes; name its file with \
                 `queue_board.basic_auth_password_file`, or set {PASSWORD}"
            ))
        };
        fits.then_some(password).ok_or_else(rule)
    }
}

/// Reads the section; nothing where the board is to ask for nothing.
pub fn read(root: &Section<'_>, faults: &mut Faults) -> Option<QueueBoardSettings> {
    let section = root.table("queue_board", &QUEUE_BOARD, faults)?;
    let enabled = section.take::<bool>("basic_auth_enabled", faults).is_some_and(|found| found.value);
    let user = section.take::<String>("basic_auth_user", faults);
    let password_file = section.take::<String>("basic_auth_password_file", faults).map(|found| found.value.into());
    if let Some(user) = &user {
        let text = &user.value;
        // What stands before the first colon is the user (RFC 7617).
        let fits = (1..=MAX_USER_BYTES).contains(&text.len()) && !text.contains(|c: char| c == ':' || c.is_control());
        if !fits {
            let message = format!("{text:?} is no user; use 1 to {MAX_USER_BYTES} bytes without a colon");
            faults.add(user.at, section.key("basic_auth_user"), message);
        }
    } else if enabled {
        let message = "is missing; name whom the board lets in, or leave out `basic_auth_enabled`";
        faults.add(section.at, section.key("basic_auth_user"), message);
    }
    user.filter(|_| enabled).map(|user| QueueBoardSettings { user: user.value, password_file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;

    fn read(text: &str) -> Result<Option<QueueBoardSettings>, String> {
        let text = format!("[queue_board]\n{text}\n");
        parse("x", &text).map(|settings| settings.queue_board).map_err(|errors| errors.to_string())
    }

    #[test]
    fn it_asks_for_what_is_set() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("basic_auth_user = \"ann\""), Ok(None), "not before it is switched on");
        let set = read("basic_auth_enabled = true\nbasic_auth_user = \"ann\"").unwrap().unwrap();
        assert_eq!((set.user.as_str(), &set.password_file), ("ann", &None));
        for wrong in ["basic_auth_enabled = true", "basic_auth_user = \"a:b\"", "basic_auth_user = \"\""] {
            let errors = read(wrong).unwrap_err();
            assert!(errors.contains("queue_board.basic_auth_user: "), "{errors}");
        }
        assert!(read("user = \"ann\"").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn the_password_is_in_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from a file\n").unwrap();
        let by_variable = QueueBoardSettings { user: "ann".to_owned(), password_file: None };
        let by_file = QueueBoardSettings { password_file: Some(file.clone()), ..by_variable.clone() };
        let told = |settings: &QueueBoardSettings, variable: Option<&str>| {
            settings.password(variable.map(str::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(told(&by_file, None).as_deref(), Ok("from a file"));
        assert_eq!(told(&by_variable, Some("x")).as_deref(), Ok("x"));
        assert!(told(&by_file, Some("x")).unwrap_err().contains("keep one"));
        assert!(told(&by_variable, None).unwrap_err().contains(PASSWORD));
        std::fs::write(&file, "\n").unwrap();
        assert!(told(&by_file, None).unwrap_err().contains("there is none"));
        std::fs::remove_file(&file).unwrap();
        assert!(told(&by_file, None).unwrap_err().contains("No such file"));
    }
}
