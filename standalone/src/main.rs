//! The program `beckon`: the whole server in one process, and the commands to try it with.

mod admin;
mod admin_token;
mod backup;
mod broadcast;
mod client;
mod config;
mod control;
mod doctor;
mod drain;
mod genkey;
mod hand_over;
mod key_files;
mod listen;
mod reload;
mod secret_file;
mod send;
mod serve;
mod settings;
mod transfer;
mod vapid;

use beckon_ops::exit::Failure;
use std::{ffi::OsString, process::ExitCode};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    beckon_ops::exit::report("beckon", command(beckon_ops::config::program_arguments()))
}

fn command(mut arguments: Vec<OsString>) -> Result<(), Failure> {
    let name = arguments.first().and_then(|first| first.to_str()).unwrap_or_default().to_owned();
    let is_command = !name.is_empty() && !name.starts_with('-');
    if is_command {
        arguments.remove(0);
    }
    match name.as_str() {
        _ if !is_command => serve::start(arguments),
        "serve" => serve::start(arguments),
        "listen" => user_command(listen::run(lexopt::Parser::from_args(arguments))),
        "send" => user_command(send::run(lexopt::Parser::from_args(arguments))),
        "broadcast" => user_command(broadcast::run(lexopt::Parser::from_args(arguments))),
        "drain" | "undrain" | "shed" => user_command(drain::run(&name, lexopt::Parser::from_args(arguments))),
        "client" => user_command(client::run(lexopt::Parser::from_args(arguments))),
        "hand-over" => user_command(hand_over::run(lexopt::Parser::from_args(arguments))),
        "reload" => user_command(reload::run(lexopt::Parser::from_args(arguments))),
        "vapid" => vapid::run(lexopt::Parser::from_args(arguments)),
        "backup" => backup::back_up(arguments),
        "restore" => backup::restore(arguments),
        "compact" => backup::compact(arguments),
        "export" => user_command(transfer::export(arguments)),
        "import" => user_command(transfer::import(arguments)),
        "config" => settings::run(arguments),
        "doctor" => user_command(doctor::run(arguments)),
        "genkey" => genkey::run(lexopt::Parser::from_args(arguments)),
        "help" => serve::ABOUT.answer(beckon_ops::config::Request::Help),
        _ => Err(Failure::usage(format!(
            "`{name}` is not a command; the commands are serve (the default), listen, send, vapid, broadcast, \
             client, drain, undrain, shed, hand-over, reload, backup, restore, compact, export, import, config, doctor, genkey and help"
        ))),
    }
}

/// Runs a command that talks to a server, on one thread.
fn user_command(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::unavailable)?.block_on(command)
}
