//! Messages that tell on whoever tears them, mixes them up or delivers them twice.

/// Bytes of the longest.
pub(super) const LONGEST: usize = 96;
/// Putter and number.
const HEAD: usize = 16;
/// Head, and at least one word that depends on both.
const SHORTEST: usize = HEAD + 8;

/// Scatters the bits of a number, so that neighbours have nothing in common.
fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7FB5_D329_728E_A185);
    (n ^ n >> 27).wrapping_mul(0x81DA_DEF4_BC2D_D44D)
}

/// The length of a message: the same for the same message, and all lengths in turn.
fn len_of(number: u64) -> usize {
    let more = number.wrapping_mul(7) % (LONGEST - SHORTEST + 1) as u64;
    SHORTEST + usize::try_from(more).unwrap_or(0)
}

/// Writes message `number` of putter `putter` to `buffer`; gives its length.
pub(super) fn write(putter: u64, number: u64, buffer: &mut [u8; LONGEST]) -> usize {
    buffer[..8].copy_from_slice(&putter.to_le_bytes());
    buffer[8..HEAD].copy_from_slice(&number.to_le_bytes());
    let mut word = scatter(scatter(putter) ^ number);
    for chunk in buffer[HEAD..].chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = scatter(word);
    }
    len_of(number)
}

/// Putter and number of a message; `None` if a byte of it is not as written.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, u64)> {
    let word =
        |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (putter, number) = (word(0)?, word(8)?);
    let mut expected = [0; LONGEST];
    let len = write(putter, number, &mut expected);
    (expected.get(..len) == Some(bytes)).then_some((putter, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_written_and_no_other_way() {
        for number in 1..200 {
            let mut buffer = [0; LONGEST];
            let len = write(1, number, &mut buffer);
            assert_eq!(read(&buffer[..len]), Some((1, number)));
            for at in 0..len {
                let mut torn = buffer;
                torn[at] ^= 0x10;
                assert_eq!(read(&torn[..len]), None, "byte {at} of {number}");
            }
            assert_eq!(read(&buffer[..len - 1]), None);
        }
    }
}
