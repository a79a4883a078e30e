//! `traceparent` of the W3C's Trace Context: which trace a request is part of, and whether that is recorded.

/// A sound header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'h> {
    /// The trace's number, 32 hexadecimal digits.
    pub trace: &'h str,
    span: &'h str,
    /// Of which the lowest bit says that the trace is recorded.
    pub flags: u8,
}

impl<'h> TraceParent<'h> {
    /// Reads the header's value; `None` if it is to be taken for none.
    pub fn read(value: &'h [u8]) -> Option<TraceParent<'h>> {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let mut parts = std::str::from_utf8(value).ok()?.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sound = [(version, 2), (trace, 32), (span, 16), (flags, 2)];
        let is_sound = sound.iter().all(|(part, len)| part.len() == *len && hex(part));
        // Later versions may have more parts.
        let is_whole = version != "ff" && (version != "00" || parts.next().is_none());
        let is_set = |part: &str| part.bytes().any(|digit| digit != b'0');
        (is_sound && is_whole && is_set(trace) && is_set(span)).then_some(())?;
        Some(TraceParent { trace, span, flags: u8::from_str_radix(flags, 16).ok()? })
    }

    /// Whether whoever began the trace records it.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The trace as a number.
    pub fn trace_number(&self) -> u128 {
        // It was read as hexadecimal digits.
        u128::from_str_radix(self.trace, 16).unwrap_or_default()
    }

    /// The span that the request is a part of, as a number.
    pub fn span_number(&self) -> u64 {
        u64::from_str_radix(self.span, 16).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_from_a_sound_header_alone() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let of =
            |value: &str| TraceParent::read(value.as_bytes()).map(|parent| (parent.trace.to_owned(), parent.flags));
        assert_eq!(of(&format!("00-{id}-b7ad6b7169203331-01")), Some((id.to_owned(), 1)));
        assert_eq!(of(&format!("cc-{id}-b7ad6b7169203331-00-more")), Some((id.to_owned(), 0)));
        for odd in [
            format!("00-{id}-b7ad6b7169203331-01-more"),
            format!("ff-{id}-b7ad6b7169203331-01"),
            format!("00-{id}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
            format!("00-{id}-b7ad6b7169203331"),
            format!("00-{id}x-b7ad6b716920333-01"),
            String::new(),
        ] {
            assert_eq!(of(&odd), None, "{odd}");
        }
    }
}
