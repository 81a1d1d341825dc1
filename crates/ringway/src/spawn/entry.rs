//! A function that a child can run, under a name that both processes know.

use crate::letter;
use ringway_codec::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{TypeId, type_name};
use std::process::{ExitCode, Termination};

/// The call, with its arguments in it.
pub(super) type Call = Box<dyn FnOnce() -> ExitCode>;
type Decode = dyn Fn(&[u8]) -> Result<Call, DecodeError>;

/// A function that child processes of this program may be started with; made by
/// [`entries!`](crate::entries).
pub struct Entry {
    pub(super) name: &'static str,
    pub(super) function: TypeId,
    decode: Box<Decode>,
}

impl Entry {
    /// An entry for `function`.
    ///
    /// Only a function that captures nothing can be found again in another process, so
    /// anything else does not compile. Prefer named functions: two closures in one
    /// function body have the same name, which [`init`](crate::init) refuses.
    ///
    /// ```compile_fail
    /// let factor = 3_u32;
    /// let entry = ringway::Entry::new(move |n: u32| println!("{}", n * factor));
    /// ```
    pub fn new<F, A, R>(function: F) -> Self
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Termination,
    {
        const { assert_function::<F>() };
        let decode = move |bytes: &[u8]| -> Result<Call, DecodeError> {
            let arguments = letter::decode::<A>(bytes)?;
            Ok(Box::new(move || function(arguments).report()))
        };
        Self { name: type_name::<F>(), function: TypeId::of::<F>(), decode: Box::new(decode) }
    }

    /// Takes the arguments out of the parcel at hand.
    pub(super) fn decode(&self, arguments: &[u8]) -> Result<Call, DecodeError> {
        (self.decode)(arguments)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Entry").field(&self.name).finish()
    }
}

/// Refuses function pointers and closures that capture.
pub(super) const fn assert_function<F>() {
    assert!(
        size_of::<F>() == 0,
        "a child process can run a function by its name: no function pointer, no closure that captures"
    );
}

/// The functions that child processes may be started with, for [`init`](crate::init).
///
/// ```
/// fn count(limit: u32) {
///     for n in 0..limit {
///         println!("{n}");
///     }
/// }
/// fn greet((greeting, name): (String, String)) {
///     println!("{greeting}, {name}");
/// }
/// ringway::init(ringway::entries![count, greet]);
/// ```
#[macro_export]
macro_rules! entries {
    ($($function:expr),* $(,)?) => {
        [$($crate::spawn::Entry::new($function)),*]
    };
}
