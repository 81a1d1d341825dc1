//! Queues and pipes with a name, seen from outside.
//!
//! A queue that was made under a [name](crate::queue::Builder::name) stays until it is
//! removed, a pipe until its other end is opened. If their makers are killed before that,
//! the names are left. [`Sight`] finds them, [`Name::remove`] takes one away; those who
//! have the object open keep it. `ringway ls` and `ringway rm` do this from a shell.
//!
//! ```
//! use ringway::named::{Name, Sight};
//! use ringway::queue::Builder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name = format!("example-{}", std::process::id());
//! let queue = Builder::new().name(&name).bounded::<u32, ringway::queue::Pod>(10)?;
//! assert!(Sight::of(Name::new(&name)?)?.contents?.held);
//! drop(queue);
//! assert!(!Sight::of(Name::new(&name)?)?.contents?.held);
//! Name::new(&name)?.remove()?;
//! assert!(!Sight::all()?.iter().any(|sight| sight.name.as_str() == name));
//! # Ok(())
//! # }
//! ```

pub use ringway_core::segment::{Contents, Kind, Name, Sight};
