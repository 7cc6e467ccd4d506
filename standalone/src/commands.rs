//! The command line of `beckon`: which commands there are, and what runs each.

use crate::{
    backup, broadcast, client, completions, config::Config, conformance, doctor, drain, genkey, hand_over,
    listen, manual, probe, reload, send, settings, top, transfer, vapid,
};
use beckon_ops::{
    command_line::{Group, Subcommand},
    exit::Failure,
    program::{About, Build},
};

/// Which build this is.
pub(crate) const BUILD: Build = beckon_node::build("beckon");

/// How the program describes itself.
pub(crate) const ABOUT: About = About {
    name: "beckon",
    summary: "A push-notification server",
    parts: Config::PARTS,
    defaults: Config::DEFAULTS,
    essential: &[
        "ws_listen",
        "http_listen",
        "admin_listen",
        "endpoint_url",
        "tls_cert",
        "data_dir",
        "store",
        "log",
    ],
    groups: GROUPS,
    build: BUILD,
};

const GROUPS: &[Group] = &[
    Group {
        heading: "Send and receive",
        commands: &[
            Subcommand { command: listen::command, run: |_, matches| block_on(listen::run(matches)) },
            Subcommand { command: send::command, run: |_, matches| block_on(send::run(matches)) },
            Subcommand { command: vapid::command, run: |_, matches| vapid::run(matches) },
        ],
    },
    Group {
        heading: "Operate running nodes",
        commands: &[
            Subcommand { command: client::command, run: |_, matches| block_on(client::run(matches)) },
            Subcommand { command: broadcast::command, run: |_, matches| block_on(broadcast::run(matches)) },
            Subcommand { command: drain::drain_command, run: |_, matches| block_on(drain::drain(matches)) },
            Subcommand {
                command: drain::undrain_command,
                run: |_, matches| block_on(drain::undrain(matches)),
            },
            Subcommand { command: drain::shed_command, run: |_, matches| block_on(drain::shed(matches)) },
            Subcommand { command: top::command, run: |_, matches| block_on(top::run(matches)) },
            Subcommand { command: probe::command, run: |_, matches| block_on(probe::run(matches)) },
            Subcommand { command: reload::command, run: |_, matches| block_on(reload::run(matches)) },
            Subcommand { command: hand_over::command, run: |_, matches| block_on(hand_over::run(matches)) },
        ],
    },
    Group {
        heading: "Look after the store",
        commands: &[
            Subcommand { command: backup::backup_command, run: |_, matches| backup::back_up(matches) },
            Subcommand { command: backup::restore_command, run: |_, matches| backup::restore(matches) },
            Subcommand { command: backup::compact_command, run: |_, matches| backup::compact(matches) },
            Subcommand {
                command: transfer::export_command,
                run: |_, matches| block_on(transfer::export(matches)),
            },
            Subcommand {
                command: transfer::import_command,
                run: |_, matches| block_on(transfer::import(matches)),
            },
        ],
    },
    Group {
        heading: "Set up and examine",
        commands: &[
            Subcommand { command: settings::command, run: |_, matches| settings::run(matches) },
            Subcommand {
                command: conformance::command,
                run: |_, matches| block_on(conformance::run(matches)),
            },
            Subcommand { command: doctor::command, run: |_, matches| block_on(doctor::run(matches)) },
            Subcommand { command: genkey::command, run: |_, matches| genkey::run(matches) },
            Subcommand { command: completions::command, run: completions::run },
            Subcommand { command: manual::command, run: manual::run },
        ],
    },
];

/// Runs a command that talks to a server, on one thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::unavailable)?.block_on(command)
}
