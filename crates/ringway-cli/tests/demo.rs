//! `ringway demo` does what it says, and says so when it cannot.

mod common;

use common::{Outcome, Scratch, ringway, run};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

/// Counts in the plainest way, sharing no code with the program.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
struct Expected {
    files: u64,
    bytes: u64,
    lines: u64,
    words: u64,
    crcs: u64,
}

impl Expected {
    fn add(&mut self, contents: &[u8]) {
        self.files += 1;
        self.bytes += contents.len() as u64;
        let (mut in_word, mut crc) = (false, u32::MAX);
        for byte in contents {
            self.lines += u64::from(*byte == b'\n');
            let space = matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
            self.words += u64::from(!space && !in_word);
            in_word = !space;
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            }
        }
        self.crcs += u64::from(!crc);
    }

    /// What each way of counting says: alone, through pipes, through queues.
    fn of(outcome: &Outcome) -> [Self; 3] {
        let values = |label| <[&str; 3]>::try_from(outcome.values(label)).expect(label);
        let numbers = |label| values(label).map(|value| value.parse::<u64>().unwrap());
        let (files, bytes) = (numbers("files "), numbers("bytes "));
        let (lines, words, crcs) = (numbers("lines "), numbers("words "), values("crc sum "));
        [0, 1, 2].map(|way| Self {
            files: files[way],
            bytes: bytes[way],
            lines: lines[way],
            words: words[way],
            crcs: u64::from_str_radix(crcs[way], 16).unwrap(),
        })
    }
}

/// The same numbers in every run.
fn noise(seed: u32) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
}

fn demo(files: &Path, workers: u16) -> Outcome {
    run(ringway().arg("demo").arg("--files").arg(files).arg("--workers").arg(workers.to_string()))
}

fn assert_ok(outcome: &Outcome) {
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().last(), Some("demo: ok"), "{outcome:?}");
    let seed = "你好，我是fun2\n".repeat(5) + "end of file: nobody holds the other end\nmain end\n";
    assert!(outcome.stdout.contains(&seed), "{outcome:?}");
    for line in ["kg_1: the queue is full", "kg_2: the queue is full", "xx: nothing is left"] {
        assert!(outcome.stdout.contains(line), "{line}: {outcome:?}");
    }
}

#[test]
fn counts_of_all_kinds_of_files_are_right() {
    let scratch = Scratch::new("kinds");
    let root = scratch.path();
    let mut expected = Expected::default();
    let mut write = |name: &OsStr, contents: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        expected.add(contents);
    };
    let name = OsStr::new;
    write(name("empty"), b"");
    write(name("deep/down/empty too"), b"");
    write(name("poem.txt"), b"  one two\n\nthree\x0bfour\x0c\r\n\tno newline at the end");
    write(name("blank"), b" \n\t \n\n");
    write(OsStr::from_bytes(b"deep/not utf-8 \xff\n"), b"\xff\xfe \x00 \x80\xa0\n");
    write(name("one word"), &[b'x'; 1_000_000]);
    // As long as a name can be.
    write(name(&"n".repeat(255)), b"a long name\n");
    // Longer than a ring, and not a multiple of anything.
    write(name("long noise"), &noise(7).take(2_500_011).collect::<Vec<_>>());
    for size in (0..150_u32).map(|n| n * n) {
        let contents: Vec<u8> = noise(size).take(size as usize).collect();
        write(name(&format!("many/{}/{size}", size % 7)), &contents);
    }
    // None of these is a regular file, and none may be waited for.
    symlink(root.join("poem.txt"), root.join("link")).unwrap();
    symlink(root, root.join("deep/loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();

    for workers in [1, 3] {
        let outcome = demo(root, workers);
        assert_ok(&outcome);
        assert_eq!(Expected::of(&outcome), [expected; 3]);
        assert_eq!(outcome.values("left out "), ["0"; 3], "{outcome:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_left_out() {
    let scratch = Scratch::new("unreadable");
    let secret = scratch.path().join("secret");
    fs::write(scratch.path().join("open"), "a b c\n").unwrap();
    fs::write(&secret, "hidden").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    // Permissions do not stop the superuser.
    let readable = u64::from(File::open(&secret).is_ok());

    let outcome = demo(scratch.path(), 2);
    assert_ok(&outcome);
    assert_eq!(outcome.number("files"), 1 + readable);
    assert_eq!(outcome.number("left out"), 1 - readable);
    assert_eq!(outcome.stderr.contains("secret"), readable == 0, "{outcome:?}");

    // This says that it is empty, and is not.
    let outcome = demo("/proc/self/limits".as_ref(), 2);
    assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("left out: \"/proc/self/limits\""), "{outcome:?}");
    assert!(!outcome.stdout.contains("demo: ok"), "{outcome:?}");
}

#[test]
fn a_single_file_will_do() {
    let scratch = Scratch::new("single");
    let file = scratch.path().join("file");
    fs::write(&file, "three little words\n").unwrap();
    let outcome = demo(&file, 2);
    assert_ok(&outcome);
    assert_eq!((outcome.number("files"), outcome.number("words")), (1, 3));
}

#[test]
fn without_options_it_finds_something_to_do() {
    let scratch = Scratch::new("default");
    let sources = scratch.path().join("registry/src/a-crate");
    fs::create_dir_all(&sources).unwrap();
    fs::write(sources.join("lib.rs"), "//! Nothing.\n").unwrap();
    let outcome = run(ringway().arg("demo").env("CARGO_HOME", scratch.path()));
    assert_ok(&outcome);
    assert_eq!((outcome.number("files"), outcome.number("lines")), (1, 1));

    // No crates there: its own sources.
    fs::remove_dir_all(scratch.path().join("registry")).unwrap();
    let outcome = run(ringway().arg("demo").env("CARGO_HOME", scratch.path()));
    assert_ok(&outcome);
    assert!(outcome.number("files") > 20, "{outcome:?}");
}

#[test]
fn bad_arguments_are_refused_with_a_reason() {
    let scratch = Scratch::new("bad");
    let missing = scratch.path().join("missing");
    let refused = |outcome: Outcome, why: &str| {
        assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
        assert!(!outcome.stdout.contains("demo: ok"), "{outcome:?}");
    };
    refused(demo(&missing, 2), "No such file or directory");
    refused(demo(&missing, 2), missing.to_str().unwrap());
    refused(demo("/dev/null".as_ref(), 2), "neither a directory nor a regular file");
    refused(demo(scratch.path(), 2), "no regular file");
    refused(demo(scratch.path(), 0), "--workers");
    refused(demo(scratch.path(), 257), "--workers");
    refused(run(ringway().args(["demo", "--no-such-option"])), "--no-such-option");
    refused(run(ringway().arg("no-such-command")), "no-such-command");
}

#[test]
fn help_and_version() {
    let help = run(ringway().args(["demo", "--help"]));
    assert!(help.status.success());
    for word in ["--files", "--workers", "DIR", "demo: ok", "Ctrl-C", "Exit status"] {
        assert!(help.stdout.contains(word), "{word} is not in {}", help.stdout);
    }
    let help = run(ringway().arg("--help"));
    assert!(help.status.success() && help.stdout.contains("demo"), "{help:?}");
    let version = run(ringway().arg("--version"));
    assert_eq!(version.stdout, format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_stops_early_ends_it_quietly() {
    let scratch = Scratch::new("early");
    fs::write(scratch.path().join("file"), "word").unwrap();
    for lines in 0..3 {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = ringway();
        command.args(["demo", "--files"]).arg(scratch.path()).stdout(writer).stderr(Stdio::piped());
        let (mut reader, child) = (BufReader::new(reader), command.spawn().unwrap());
        // Its own copy of the writing end.
        drop(command);
        for _ in 0..lines {
            reader.read_line(&mut String::new()).unwrap();
        }
        drop(reader);
        let output = child.wait_with_output().unwrap();
        // It may have written everything before we stopped.
        assert!(output.status.success() || output.status.signal() == Some(13), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "after {lines} lines");
    }
}
