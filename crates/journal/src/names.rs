//! What the files of a data directory are called.

/// Format of the data that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 2;
/// The oldest format that this version reads. (Format 1 was a fjall database of development versions.)
pub(crate) const OLDEST_FORMAT: u32 = 2;

/// The file that says what the directory is.
pub(crate) const FORMAT_FILE: &str = "FORMAT";
/// The file that is locked by who uses the directory.
pub(crate) const LOCK_FILE: &str = "lock";
/// The file that says which position is known to be on disk.
pub(crate) const SYNCED_FILE: &str = "synced";
/// What the name of an image in the making ends with.
pub(crate) const UNFINISHED: &str = ".new";

const LOG: &str = "log-";
const IMAGE: &str = "image-";
/// Digits of a position in a name.
const DIGITS: usize = 20;

/// What [`FORMAT_FILE`] holds.
pub(crate) fn format_line() -> String {
    format!("dunlin data, format {FORMAT}\n")
}

/// The format that a [`FORMAT_FILE`] names.
pub(crate) fn format_of(line: &str) -> Option<u32> {
    line.strip_prefix("dunlin data, format ")?.strip_suffix('\n')?.parse().ok()
}

/// The log file whose first commit is this one.
pub(crate) fn log(first: u64) -> String {
    format!("{LOG}{first:0DIGITS$}")
}

/// The image of the state at this position.
pub(crate) fn image(position: u64) -> String {
    format!("{IMAGE}{position:0DIGITS$}")
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Log(u64),
    Image(u64),
}

/// What a name stands for; `None` if it is another kind of file.
pub(crate) fn read(name: &str) -> Option<Named> {
    let position = |digits: &str| {
        let exact = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        exact.then(|| digits.parse().ok()).flatten()
    };
    match (name.strip_prefix(LOG), name.strip_prefix(IMAGE)) {
        (Some(digits), _) => position(digits).map(Named::Log),
        (_, Some(digits)) => position(digits).map(Named::Image),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for() {
        assert_eq!(log(7), "log-00000000000000000007");
        assert_eq!(read(&log(u64::MAX)), Some(Named::Log(u64::MAX)));
        assert_eq!(read(&image(0)), Some(Named::Image(0)));
        for other in ["log-7", "image-0000000000000000007.new", "log-+0000000000000000007", "lock", ""] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(format_of(&format_line()), Some(FORMAT));
        assert_eq!(format_of("dunlin data, format x\n"), None);
    }
}
