//! Every bound of a pattern, with its unit and its reason.

/// Bytes (UTF-8) of a pattern as it is written.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Bytes of a compiled pattern, and again as much while it matches. The time for one string is at worst in proportion
/// to this and to the string's length.
pub const MAX_PATTERN_SIZE: usize = 512 * 1024;
/// Levels of groups in a pattern. Compiling it recurses.
pub const MAX_PATTERN_DEPTH: u32 = 50;
/// Bytes (UTF-8) of a string that a pattern is looked for in; whoever asks refuses a longer one. The longest string and the
/// slowest pattern there can be take about a second, usual patterns a tenth of a millisecond.
pub const MAX_PATTERN_TEXT_BYTES: usize = 32 * 1024;
