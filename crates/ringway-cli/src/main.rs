//! The `ringway` command.

mod bench;
mod demo;
mod failure;
mod named;
mod output;
mod signals;
mod storm;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// Inter-process queues and pipes over shared-memory ring buffers
#[derive(Debug, Parser)]
#[command(name = "ringway", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Options),
    Demo(demo::Options),
    Ls(named::List),
    Rm(named::Remove),
    Storm(storm::Options),
}

fn main() -> ExitCode {
    let entries = [bench::entries(), demo::entries(), storm::entries()];
    ringway::init(entries.into_iter().flatten());

    let result = match Cli::parse().command {
        Command::Bench(options) => bench::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Ls(options) => named::list(&options),
        Command::Rm(options) => named::remove(&options),
        Command::Storm(options) => storm::run(&options),
    };
    result.map_or_else(Failure::end, |()| ExitCode::SUCCESS)
}
