//! What repair needs to know about the dead.

/// Tells whether a participant is dead, and keeps repairers of one from each other.
///
/// The rings ask through this trait, so that they run without processes and locks in
/// unit tests, under fuzzing and in models.
pub trait Liveness {
    /// Whether no thread of the participant can store into the segment any more.
    ///
    /// A wrong `true` corrupts messages: a claim taken from the living is stored to by
    /// two. A wrong `false` only delays repair. Silence, a missing pid or a kernel
    /// mark at thread exit are no proof; a free lock of the dead is.
    fn proven_dead(&self, participant: u32) -> bool;

    /// Runs `body` while nobody else repairs or joins as `participant`; `false`,
    /// without having run it, if somebody does. The exclusion ends with the death of
    /// whoever holds it.
    fn alone(&self, participant: u32, body: &mut dyn FnMut()) -> bool;
}
