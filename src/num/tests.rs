//! What is a number and how it looks: as Redis 7.0.15 answers, but for sizes that it lets wrap or have no digits.

use proptest::prelude::*;

use super::*;

fn long(text: &str) -> LongDouble {
    LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is a number"))
}

/// `INCRBYFLOAT` of what holds `left` by `right`.
fn sum(left: &str, right: &str) -> String {
    long(left).checked_add(long(right)).expect("a finite sum").to_string()
}

#[test]
fn an_integer_has_one_spelling() {
    for number in [0, 1, -1, 10, i64::MAX, i64::MIN] {
        assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
    }
    for text in [
        "",
        "-",
        "+1",
        "-0",
        "01",
        "-01",
        "00",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "a",
        "1a",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "-99999999999999999999",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn bytes_are_two_digits_each() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(hex(&[0x00, 0x9a, 0xff]), "009aff");
    assert_eq!((unhex(&hex(&bytes)), unhex(&hex(&bytes).to_uppercase())), (Some(bytes.clone()), Some(bytes)));
    for odd in ["0", "+f", "0g", " 0", "0x", "é"] {
        assert_eq!(unhex(odd), None, "{odd}");
    }
}

#[test]
fn a_stream_id_is_read_more_generously() {
    for (text, number) in [("5", 5), ("007", 7), ("+5", 5), (" 5", 5), ("18446744073709551615", u64::MAX)] {
        assert_eq!(parse_u64(text.as_bytes()), Some(number), "{text:?}");
    }
    for text in ["", "5 ", "-5", "-0", "18446744073709551616", "0x5", "+", " ", "++1", "+ 1"] {
        assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_size_may_have_a_unit() {
    for (text, bytes) in [
        ("0", 0),
        ("007", 7),
        ("1b", 1),
        ("1k", 1000),
        ("1Kb", 1024),
        ("2m", 2_000_000),
        ("128mb", 128 << 20),
        ("1G", 1_000_000_000),
        ("1gb", 1 << 30),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text:?}");
    }
    for text in ["", "b", "mb", "1 mb", "+1", "-1", "1.5mb", "1tb", "50%", "18446744073709551616", "99999999999gb"] {
        assert_eq!(parse_memory(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_double_is_read_as_c_reads_it() {
    for (text, number) in [
        ("+1", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e+5", 1e5),
        ("00012", 12.0),
        ("0.00001e5", 1.0),
        ("inf", f64::INFINITY),
        ("+Infinity", f64::INFINITY),
        ("-INF", f64::NEG_INFINITY),
        ("0x10", 16.0),
        ("-0X1.8p3", -12.0),
        ("0x.8", 0.5),
        ("0x1e5", 485.0),
        ("0x1.fffffffffffff8p0", 2.0),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000080000001p0", 1.000_000_000_000_000_2),
        ("0x0.0000000000000000000000000000000000001p200", 4_503_599_627_370_496.0),
        ("0x1p-1074", 5e-324),
        ("0x1.8p-1075", 5e-324),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("4.9e-324", 5e-324),
        ("0e999999999999999999999", 0.0),
        ("0x0p99999999999999999999", 0.0),
    ] {
        assert_eq!(parse_f64(text.as_bytes()), Some(number), "{text:?}");
    }
    assert!(parse_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
}

#[test]
fn what_is_no_double_is_refused() {
    for text in [
        "",
        "+",
        "-",
        ".",
        "e5",
        "1e",
        "1e+",
        " 1",
        "1 ",
        "nan",
        "-NaN",
        "nan(1)",
        "infinit",
        "0x",
        "0x.",
        "0x1p",
        "1_0",
        "1d5",
        "1f",
        "1\x002",
        "1e400",
        "1e-400",
        "2e-324",
        "0x1p1024",
        "0x1.fffffffffffff8p1023",
        "0x1p-1075",
        "1e99999999999999999999",
        "0x1p99999999999999999999",
        "--1",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_double_is_written_as_c_writes_it() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (3.1, "3.1000000000000001"),
        (0.0001, "0.0001"),
        (0.000_122_070_312_5, "0.0001220703125"),
        (1e-5, "1.0000000000000001e-05"),
        (1e16, "10000000000000000"),
        (1e17, "1e+17"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (1e22, "1e+22"),
        (1e100, "1e+100"),
        (5e-324, "4.9406564584124654e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(format_f64(number), text);
    }
}

#[test]
fn sums_have_the_digits_of_eighty_bits() {
    let mut total = "0".to_owned();
    for _ in 0..10 {
        total = sum(&total, "0.1");
    }
    assert_eq!(total, "1");
    assert_eq!(sum("0.1", "0.2"), "0.3");
    assert_eq!(sum("3.0", "1.1"), "4.1");
    assert_eq!(sum("1e-5", "0"), "0.00001");
    assert_eq!(sum("0", "0x1.fffffffffffff8p0"), "1.99999999999999989");
    assert_eq!(sum("0", "0x1.000000000000080000001p0"), "1.00000000000000011");
    assert_eq!(sum("1e22", "0"), "10000000000000000000000");
    assert_eq!(sum("1", "-1"), "0");
    assert_eq!(sum("-1", "1"), "0");
    assert_eq!(sum("-0", "-0"), "0");
    assert_eq!(sum("-1e-30", "0"), "0");
    assert_eq!(sum("0.99999999999999999999", "0"), "1");
    assert_eq!(sum("1e30", "-1"), sum("1e30", "0"));
}

#[test]
fn long_doubles_end_somewhere() {
    for text in ["1e5000", "-1e4933", "1e-5000", "1e99999999999999999999", "0x1p16384", "0x1p-16446", "nan", "1 ", ""] {
        assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(LongDouble::parse(&[b'1'; TEXT_TOO_LONG]), None);
    assert!(LongDouble::parse(&[b'1'; 4900]).is_some());
    assert!(long("inf").is_infinite() && long("-Infinity").is_infinite());
    assert_eq!(long("-inf").to_string(), "-inf");
    assert_eq!(long("inf").checked_add(long("1")), None);
    let largest = long("0x1.fffffffffffffffep16383");
    assert_eq!(largest.checked_add(largest), None);
    assert_eq!(largest.checked_add(long("1")), Some(largest));
    assert_eq!(largest.to_string().len(), 4933);
    assert_eq!(long("0x1p-16445").to_string(), "0");
    let smallest = long("0x1p-16445");
    assert_eq!(smallest.checked_add(smallest), Some(long("0x1p-16444")));
    assert_eq!(long("3.6e-4951"), smallest);
}

const TEXT_TOO_LONG: usize = 5 * 1024;

#[test]
fn a_double_becomes_a_long_double_without_loss() {
    assert_eq!(LongDouble::from(0.1).to_string(), "0.10000000000000001");
    assert_eq!(LongDouble::from(-13.361_389_338_970_184).to_string(), "-13.36138933897018433");
    assert_eq!(LongDouble::from(5e-324), long("0x1p-1074"));
    assert_eq!(LongDouble::from(f64::MAX), long("0x1.fffffffffffffp1023"));
    assert_eq!(LongDouble::from(f64::NEG_INFINITY), long("-inf"));
    assert_eq!(LongDouble::from(0.0).to_string(), "0");
}

proptest! {
    #[test]
    fn a_double_reads_back_as_itself(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(!number.is_nan());
        prop_assert_eq!(parse_f64(format_f64(number).as_bytes()).map(f64::to_bits), Some(bits));
    }

    #[test]
    fn every_integer_reads_back_as_itself(number: i64) {
        prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        prop_assert_eq!(long(&number.to_string()).to_string(), number.to_string());
    }

    #[test]
    fn sums_of_integers_are_exact(left: i32, right: i32) {
        let expected = (i64::from(left) + i64::from(right)).to_string();
        prop_assert_eq!(sum(&left.to_string(), &right.to_string()), expected);
    }

    #[test]
    fn no_text_is_too_strange(text in prop::collection::vec(any::<u8>(), 0..40), number in "[-+]?[0-9a-fxp.]{0,30}(e[-+]?[0-9]{1,4})?") {
        for text in [&text[..], number.as_bytes()] {
            let _ = (parse_i64(text), parse_u64(text), parse_memory(text));
            // What fits into a double fits into a long double, and there it is not rounded further away.
            if let Some(double) = parse_f64(text) {
                let long = LongDouble::parse(text).expect("a long double too");
                prop_assert_eq!(long.is_infinite(), double.is_infinite());
            }
        }
    }
}
