//! Instants as sessions and cookies write them, and as sessions are read.

/// An instant: milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub u64);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Moment {
    /// As JavaScript's `toISOString` writes it: `2026-12-23T19:57:48.758Z`.
    pub fn iso(self) -> String {
        let (year, month, day) = civil_from_days(self.days());
        let [hour, minute, second] = self.clock();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.0 % 1000)
    }

    /// As cookies have it: `Wed, 23 Dec 2026 19:57:48 GMT`.
    pub fn http(self) -> String {
        let (year, month, day) = civil_from_days(self.days());
        let [hour, minute, second] = self.clock();
        let (weekday, month) = (DAYS[(self.days() % 7) as usize], MONTHS[month as usize - 1]);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    fn days(self) -> u64 {
        self.0 / 86_400_000
    }

    fn clock(self) -> [u64; 3] {
        let seconds = self.0 / 1000 % 86_400;
        [seconds / 3600, seconds / 60 % 60, seconds % 60]
    }
}

/// The Unix time in milliseconds of an ISO 8601 instant as JavaScript writes and databases store them:
/// `2026-12-23T19:57:48.758Z`, fractions of any length or none, `Z` or an offset.
pub(super) fn unix_millis(text: &str) -> Option<u64> {
    let text = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let mark = |at: usize, marks: &[u8]| text.get(at).filter(|byte| marks.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    (mark(4, b"-").is_some() && mark(7, b"-").is_some() && mark(10, b"Tt ").is_some()).then_some(())?;
    (mark(13, b":").is_some() && mark(16, b":").is_some()).then_some(())?;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    fits.then_some(())?;
    let mut at = 19;
    let mut millis = 0;
    if mark(at, b".,").is_some() {
        at += 1;
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        for place in 0..3 {
            millis = millis * 10 + if place < digits { i64::from(text[at + place] - b'0') } else { 0 };
        }
        at += digits;
    }
    let offset = match text.get(at)? {
        b'Z' | b'z' if text.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == at + 6 && text[at + 3] == b':' => {
            let minutes = number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    u64::try_from(seconds * 1_000 + millis).ok()
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse: year, month and day.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_javascript_writes_them() {
        assert_eq!(unix_millis("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(unix_millis("2026-12-23T19:57:48.758Z"), Some(1_798_055_868_758));
        assert_eq!(unix_millis("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        assert_eq!(unix_millis("2024-03-01T00:00:00.5+01:00"), Some(1_709_247_600_500));
        assert_eq!(unix_millis("2024-02-29T18:30:00.123456-05:30"), Some(1_709_251_200_123));
        for text in
            ["", "tomorrow", "2026-12-23", "2026-13-01T00:00:00Z", "2026-12-23T19:57:48.758", "2026-12-23T19:57Z"]
        {
            assert_eq!(unix_millis(text), None, "{text}");
        }
        assert_eq!(unix_millis("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn instants_are_written_as_javascript_and_cookies_have_them() {
        let moment = Moment(1_798_055_868_758);
        assert_eq!(
            (moment.iso().as_str(), moment.http().as_str()),
            ("2026-12-23T19:57:48.758Z", "Wed, 23 Dec 2026 19:57:48 GMT")
        );
        assert_eq!(Moment(0).http(), "Thu, 01 Jan 1970 00:00:00 GMT");
        // Every day of two centuries, leap days and the year without one among them.
        for day in 0..73_050 {
            let moment = Moment(day * 86_400_000 + 86_399_007);
            assert_eq!(unix_millis(&moment.iso()), Some(moment.0), "{}", moment.iso());
        }
        assert!(Moment(u64::MAX).iso().ends_with('Z'));
    }
}
