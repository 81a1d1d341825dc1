# Shortcuts. Nothing here is needed: README's two commands are plain cargo.

# What every change must pass.
ci:
    .ci/run

# The README's two commands.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

test:
    cargo test --workspace

# Every benchmark against its rivals; `just bench pipe_oneway` for one group.
bench *ARGS:
    cargo bench -p ringway-benches {{ARGS}}

# The same workloads for every peer; `just compare "round trip"` for one table. Minutes to build.
compare *ARGS:
    cargo run --release --manifest-path benches/compare/Cargo.toml -- {{ARGS}}

# All figures and plots of docs/benchmarks.md, in one command. Twenty minutes, on a quiet machine.
figures:
    mkdir -p target
    RINGWAY_PLOTS=docs/plots cargo bench -p ringway-benches | tee target/figures.txt
    RINGWAY_PLOTS=docs/plots just compare | tee -a target/figures.txt

# Loom explores every interleaving of the small models.
loom:
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p ringway-core --test 'loom_*'

# Shows that each gate can fail.
gates-red:
    .ci/gates-red

# Every ordering has a label, both ends, a row in docs/ordering.md and tests.
edges:
    .ci/edges

# Weakens every ordering in turn and shows which model fails; `just weaken mpmc-claim`.
weaken *ARGS:
    .ci/weaken {{ARGS}}

# The Promela models of docs/models and their mutants; needs spin.
models:
    docs/models/check

# A blocked receiver makes no system call for ten seconds, and other slow tests.
slow:
    cargo test --workspace -- --ignored

# SIGKILL at every instruction of every operation; `just kill put` for one. Hours.
# With `--guardian` in a second mode.
kill *ARGS:
    cargo test --release -p ringway --test kill_every_instruction -- --full --nocapture {{ARGS}}

# Kills at random under load, with every message accounted for.
storm *ARGS:
    cargo run --release -- storm {{ARGS}}

# Breaks the protocol on purpose and shows that the tests notice.
mutants *ARGS:
    .ci/mutants {{ARGS}}

# Throws what an input makes up at everything that reads shared memory: `just fuzz queue`
# or `just fuzz queue 600`. The targets are in fuzz/targets.
fuzz TARGET SECONDS="60":
    .ci/fuzz {{SECONDS}} {{TARGET}}

# AddressSanitizer over the tests that use heap storage, and Miri where it is installed.
asan:
    .ci/asan
