//! Messages that tell on whoever tears them, mixes them up or delivers them twice.

/// Bytes of the longest.
pub(super) const LONGEST: usize = 20_000;
/// Of the longest, where all are to fit slots.
pub(super) const LONGEST_SHORT: usize = 96;
/// Putter and number.
const HEAD: usize = 16;
/// Head, and at least one word that depends on both.
const SHORTEST: usize = HEAD + 8;

/// Scatters the bits of a number, so that neighbours have nothing in common.
fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7FB5_D329_728E_A185);
    (n ^ n >> 27).wrapping_mul(0x81DA_DEF4_BC2D_D44D)
}

/// The length of a message: the same for the same message. All short lengths in turn; of
/// long ones, most short, for speed.
fn len_of(number: u64, longest: usize) -> usize {
    let spread = match number % 16 {
        _ if longest <= LONGEST_SHORT => longest,
        0 => longest,
        1..4 => 5000,
        _ => 700,
    };
    let more = scatter(number) % (spread.min(longest) - SHORTEST + 1) as u64;
    SHORTEST + usize::try_from(more).unwrap_or(0)
}

/// Writes message `number` of putter `putter` to `buffer`; gives its length, `longest` at
/// most.
pub(super) fn write(putter: u64, number: u64, longest: usize, buffer: &mut [u8; LONGEST]) -> usize {
    let len = len_of(number, longest);
    fill(putter, number, &mut buffer[..len]);
    len
}

fn fill(putter: u64, number: u64, bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(&putter.to_le_bytes());
    bytes[8..HEAD].copy_from_slice(&number.to_le_bytes());
    let mut word = scatter(scatter(putter) ^ number);
    for chunk in bytes[HEAD..].chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = scatter(word);
    }
}

/// Putter and number of a message; `None` if a byte of it is not as written.
pub(super) fn read(bytes: &[u8], longest: usize) -> Option<(u64, u64)> {
    let word =
        |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (putter, number) = (word(0)?, word(8)?);
    let len = len_of(number, longest);
    if bytes.len() != len {
        return None;
    }
    let mut expected = vec![0; len];
    fill(putter, number, &mut expected);
    (expected == bytes).then_some((putter, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_written_and_no_other_way() {
        for longest in [LONGEST_SHORT, LONGEST] {
            for number in 1..200 {
                let mut buffer = [0; LONGEST];
                let len = write(1, number, longest, &mut buffer);
                assert!(len <= longest);
                assert_eq!(read(&buffer[..len], longest), Some((1, number)));
                for at in (0..len).step_by(1 + len / 200) {
                    let mut torn = buffer;
                    torn[at] ^= 0x10;
                    assert_eq!(read(&torn[..len], longest), None, "byte {at} of {number}");
                }
                assert_eq!(read(&buffer[..len - 1], longest), None);
            }
        }
    }
}
