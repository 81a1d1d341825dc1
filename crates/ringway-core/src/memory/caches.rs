//! How much the largest cache of a processor holds, as the system says.

use std::sync::OnceLock;

/// What a processor has whose system says nothing.
const USUAL: u64 = 32 << 20;
/// Nobody asks the system about less.
const LEAST: u64 = 4 << 20;

/// Whether `len` bytes and a copy of them are more than the largest cache. The system is asked
/// once, in the first process of a family that has so long messages.
pub(super) fn overflow(len: u64) -> bool {
    static LARGEST: OnceLock<u64> = OnceLock::new();
    len >= LEAST && len.saturating_mul(2) >= *LARGEST.get_or_init(|| largest().unwrap_or(USUAL))
}

/// Bytes of the largest cache of the first processor.
fn largest() -> Option<u64> {
    let size = |index| {
        let at = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        bytes(&std::fs::read_to_string(at).ok()?)
    };
    (0..6).filter_map(size).max()
}

/// Bytes that a text such as `32768K` says.
fn bytes(size: &str) -> Option<u64> {
    let size = size.trim_end();
    let (digits, shift) = match size.strip_suffix(['K', 'M']) {
        Some(digits) => (digits, if size.ends_with('K') { 10 } else { 20 }),
        None => (size, 0),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches_are_read() {
        assert_eq!(bytes("32768K\n"), Some(32 << 20));
        assert_eq!(bytes("2M\n"), Some(2 << 20));
        assert_eq!(bytes("65536"), Some(65_536));
        for nonsense in ["", "K", "0K\n", "-1K", "one", "18446744073709551615M"] {
            assert_eq!(bytes(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn short_messages_fit_and_the_longest_do_not() {
        assert!(!overflow(0) && !overflow(LEAST - 1));
        assert!(overflow(1 << 40) && overflow(u64::MAX));
    }
}
