//! Which functions this process may start children with, and how the child gets to
//! them.

use super::entry::Entry;
use super::error::SpawnError;
use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// `None` until the first `init`.
static REGISTRY: Mutex<Option<BTreeMap<&'static str, Known>>> = Mutex::new(None);

struct Known {
    function: TypeId,
    route: Route,
}

/// How a child gets to the call of `init` that knows its function.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// `main` begins with it.
    Main,
    /// The test of this path begins with it.
    Test(String),
}

/// Several tests of one process may name the same function: the way through any of them
/// leads there, so the first stays.
pub(super) fn register(entries: &[Entry], route: &Route) {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = registry.get_or_insert_default();
    for entry in entries {
        let Entry { name, function, .. } = entry;
        let new = || Known { function: *function, route: route.clone() };
        let same = known.entry(name).or_insert_with(new).function == *function;
        assert!(same, "two entries are called {name}: a child could not tell them apart");
    }
}

/// Whether [`register`] was ever called.
pub(super) fn is_initialised() -> bool {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// The way to `F`.
pub(super) fn find<F: 'static>() -> Result<Route, SpawnError> {
    let name = type_name::<F>();
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = registry.as_ref().ok_or(SpawnError::NotInitialised { name })?;
    match known.get(name) {
        Some(known) if known.function == TypeId::of::<F>() => Ok(known.route.clone()),
        _ => Err(SpawnError::NotRegistered { name, registered: known.keys().copied().collect() }),
    }
}
