//! Forms, queries and paths: what percent signs in them stand for.

/// The names and values of a form or of a query, as they are written.
pub(super) fn pairs(form: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    form.split(|byte| *byte == b'&').map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    })
}

/// A field of a form or of a query.
pub(super) fn form_field(form: &[u8], name: &str) -> Option<String> {
    let (_, value) = pairs(form).find(|(own, _)| *own == name.as_bytes())?;
    String::from_utf8(unescaped(value, true)).ok()
}

/// What a text stands for. In forms and queries a plus is a blank, in paths it is not. A percent sign that no two digits
/// follow stands for itself.
pub(super) fn unescaped(text: &[u8], is_form: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if is_form => plain.push(b' '),
            _ => plain.push(byte),
        }
        at += 1;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_stand_for_bytes_and_a_plus_for_a_blank_in_forms_alone() {
        assert_eq!(unescaped(b"a+b%20c%2f%2F%", true), b"a b c//%");
        assert_eq!(unescaped(b"a+b%ff%4", false), b"a+b\xff%4");
        assert_eq!(
            pairs(b"EX=5&NX&a=b=c").collect::<Vec<_>>(),
            [(&b"EX"[..], &b"5"[..]), (b"NX", b""), (b"a", b"b=c"),]
        );
    }
}
