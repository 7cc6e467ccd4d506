//! The program `beckon`: the whole server in one process, and the commands to try it with.

mod admin;
mod admin_token;
mod backup;
mod broadcast;
mod client;
mod commands;
mod completions;
mod config;
mod conformance;
mod control;
mod doctor;
mod drain;
mod genkey;
mod hand_over;
mod holdings;
mod introduction;
mod itself;
mod key_files;
mod listen;
mod manual;
mod probe;
mod reload;
mod secret_file;
mod send;
mod serve;
mod settings;
mod top;
mod transfer;
mod vapid;

use commands::ABOUT;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments = beckon_ops::config::program_arguments();
    let result = ABOUT.run_command(&mut arguments).unwrap_or_else(|| serve::start(arguments));
    beckon_ops::exit::report(ABOUT.name, result)
}
