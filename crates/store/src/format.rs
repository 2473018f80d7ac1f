//! `format`: strings of a known kind.

/// Kinds of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `a@b.c`.
    Email,
    /// An absolute URL.
    Url,
    /// A date, or a date and a time.
    IsoDate,
}

impl Format {
    pub(crate) const ALL: [Self; 3] = [Self::Email, Self::Url, Self::IsoDate];

    /// The name in a definition.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Url => "url",
            Self::IsoDate => "iso-date",
        }
    }

    /// Whether a string is of this kind.
    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Email => is_email(text),
            Self::Url => url::Url::parse(text).is_ok(),
            Self::IsoDate => is_iso_date(text),
        }
    }
}

/// Something, `@`, something, `.`, something; neither white space nor a second `@` anywhere.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    // A point that is neither first nor last has something on both sides.
    let inner = domain.char_indices().skip(1).any(|(at, c)| c == '.' && at + 1 < domain.len());
    !local.is_empty() && inner && !domain.contains('@') && !text.contains(is_space)
}

/// White space as JavaScript has it.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}'
}

/// `YYYY-MM-DD`, or that with `Thh:mm:ss`, optional `.digits` and optional `Z` or `±hh:mm`. The day must be in the
/// calendar. No time zone means UTC, so it does not matter here. Leap seconds are refused, as no clock of JavaScript's
/// or Unix can tell them from the next second.
fn is_iso_date(text: &str) -> bool {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    is_date(date) && time.is_none_or(is_time)
}

fn is_date(text: &str) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return false };
    let (Some(high), Some(low)) = (two_digits(y1, y2), two_digits(y3, y4)) else { return false };
    let (Some(month), Some(day)) = (two_digits(m1, m2), two_digits(d1, d2)) else { return false };
    let year = u32::from(high) * 100 + u32::from(low);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((&[h1, h2, b':', m1, m2, b':', s1, s2], mut rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let fits = two_digits(h1, h2).is_some_and(|hour| hour < 24)
        && two_digits(m1, m2).is_some_and(|minute| minute < 60)
        && two_digits(s1, s2).is_some_and(|second| second < 60);
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = fraction.get(digits..).unwrap_or_default();
    }
    let zone = match *rest {
        [] | [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            two_digits(h1, h2).is_some_and(|hour| hour < 24)
                && two_digits(m1, m2).is_some_and(|minute| minute < 60)
        }
        _ => false,
    };
    fits && zone
}

fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn email() {
        for good in ["a@b.c", "a@b..c", "ü@ü.ü", "a.b+c@d.e.f", "😀@x.y", "a@b.c."] {
            assert!(Format::Email.accepts(good), "{good}");
        }
        for bad in
            ["", "a@b", "a@.b", "a@b.", "a@@b.c", "@b.c", "a b@c.d", "a@b. c", "a@b.c\u{FEFF}", "a@b.c@d"]
        {
            assert!(!Format::Email.accepts(bad), "{bad}");
        }
        assert!(Format::Email.accepts("a\u{85}@b.c"), "no white space in JavaScript");
    }

    #[test]
    fn url() {
        let good = [
            "https://example.com/a?b#c",
            " https://example.com ",
            "mailto:a@b.c",
            "mailto:",
            "a:b",
            "localhost:3000",
            "http:a",
            "http://müller.example",
            "http://[::1]:80/",
            "data:,x",
        ];
        for good in good {
            assert!(Format::Url.accepts(good), "{good}");
        }
        for bad in ["example.com", "//x", "http://", "", "/a", "http://a b/", "http://[::1", "http://x:99999"]
        {
            assert!(!Format::Url.accepts(bad), "{bad}");
        }
    }

    #[test]
    fn iso_date() {
        let good = [
            "2024-06-15",
            "2024-02-29",
            "2000-02-29",
            "0000-02-29",
            "0999-12-31",
            "9999-12-31",
            "2024-06-15T00:30:00+02:00",
            "2024-06-15T23:59:59",
            "2024-06-15T23:59:59.1Z",
            "2024-06-15T23:59:59.123456789012-23:59",
        ];
        for good in good {
            assert!(Format::IsoDate.accepts(good), "{good}");
        }
        let bad = [
            "",
            "2024",
            "2024-06",
            "2023-02-29",
            "1900-02-29",
            "2024-06-31",
            "2024-00-01",
            "2024-13-01",
            "2024-01-00",
            "2024-1-01",
            "12024-01-01",
            "-2024-01-01",
            "2024-06-15t00:00:00",
            "2024-06-15 00:00:00",
            "2024-06-15T00:00",
            "2024-06-15T24:00:00",
            "2024-06-15T00:60:00",
            "2016-12-31T23:59:60Z",
            "2024-06-15T00:00:00.",
            "2024-06-15T00:00:00z",
            "2024-06-15T00:00:00+2:00",
            "2024-06-15T00:00:00+24:00",
            "2024-06-15T00:00:00+02:60",
            "2024-06-15T00:00:00+0200",
            "2024-06-15T00:00:00+02",
            "2024-06-15T",
            "2024-06-15Z",
            "2024-06-15\n",
            "２024-06-15",
        ];
        for bad in bad {
            assert!(!Format::IsoDate.accepts(bad), "{bad}");
        }
    }

    /// Days counted one by one from 0000-01-01 on.
    fn naive_calendar(year: u32, month: u32, day: u32) -> bool {
        let divides = |n: u32| year.is_multiple_of(n);
        let leap = (divides(4) && !divides(100)) || divides(400);
        let days = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        (1..=12).contains(&month) && (1..=days[month as usize - 1]).contains(&day)
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_calendar(year in 0..10_000_u32, month in 0..14_u32, day in 0..33_u32) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(Format::IsoDate.accepts(&text), naive_calendar(year, month, day));
        }

        #[test]
        fn times_are_those_of_the_clock(
            hour in 0..30_u32, minute in 0..70_u32, second in 0..70_u32, zone in "Z|[+-][0-2][0-9]:[0-6][0-9]|",
        ) {
            let text = format!("2024-01-31T{hour:02}:{minute:02}:{second:02}{zone}");
            let zone_fits = zone.len() < 2 || (&zone[1..3] < "24" && &zone[4..6] < "60");
            prop_assert_eq!(
                Format::IsoDate.accepts(&text),
                hour < 24 && minute < 60 && second < 60 && zone_fits
            );
        }

        #[test]
        fn no_string_makes_it_panic(text in "\\PC{0,40}|[0-9T:Z.é+-]{0,30}") {
            for format in Format::ALL {
                format.accepts(&text);
            }
        }
    }
}
