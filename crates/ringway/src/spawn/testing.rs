//! Children of tests: there `main` belongs to the test harness.

use super::entry::Entry;
use super::registry::Route;
use super::start::start;
use std::any::type_name;

/// What [`init`](crate::init) is to `main`, this is to a `#[test]` function that spawns:
/// its first line. Every test that spawns needs it, also when another one names the same
/// functions.
///
/// The child is the test binary again, told to run this test only; there this line runs
/// the function and exits. It works with `cargo test` and `cargo nextest`, with any
/// number of test threads, in unit and integration tests.
///
/// The harness announces itself in the child too (`running 1 test`). That goes nowhere
/// for an inherited standard output; if you set [`Spawn::stdout`](crate::Spawn::stdout),
/// it precedes what the function prints.
///
/// ```no_run
/// fn double(n: u64) -> std::process::ExitCode {
///     std::process::ExitCode::from((n * 2) as u8)
/// }
///
/// #[test]
/// fn it_doubles() {
///     ringway::init_test!(double);
///     let status = ringway::spawn(double, 21).unwrap().join().unwrap();
///     assert_eq!(status.code(), Some(42));
/// }
/// ```
#[macro_export]
macro_rules! init_test {
    ($($function:expr),* $(,)?) => {{
        fn here() {}
        $crate::spawn::init_test_at(here, $crate::entries![$($function),*]);
    }};
}

/// For [`init_test!`](crate::init_test): `here` is a function declared in the test.
#[doc(hidden)]
pub fn init_test_at<F: Fn()>(_here: F, entries: impl IntoIterator<Item = Entry>) {
    let route = Route::Test(test_path(type_name::<F>()).to_string());
    start(entries.into_iter().collect(), &route);
}

/// `crate::module::test::here` → `module::test`, as the harness calls it. Closures in
/// between (async tests, test macros) are no part of the test's name.
fn test_path(here: &str) -> &str {
    let path = here.split_once("::").map_or(here, |(_crate, path)| path);
    let mut path = path.rsplit_once("::").map_or(path, |(path, _here)| path);
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    path
}

/// What makes the test binary run the test at `path`, and as little else as it can.
pub(super) fn arguments(path: &str) -> [&str; 6] {
    [path, "--exact", "--include-ignored", "--nocapture", "--quiet", "--test-threads=1"]
}

#[cfg(test)]
mod tests {
    use super::test_path;

    #[test]
    fn paths_are_those_of_the_harness() {
        assert_eq!(test_path("it::works::here"), "works");
        assert_eq!(test_path("lib::module::tests::works::here"), "module::tests::works");
        assert_eq!(test_path("it::works::{{closure}}::{{closure}}::here"), "works");
    }

    fn unit(_: ()) {}

    #[test]
    fn in_a_unit_test() {
        crate::init_test!(unit);
        assert!(crate::spawn(unit, ()).unwrap().join().unwrap().success());
    }
}
