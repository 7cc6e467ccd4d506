//! What programs that count their own branches are run with, so that the published ones can be laid out by those counts.

use super::figures::{SENDERS, clients, put_sends};
use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::dialect::Dialect;
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

const CLIENTS: u32 = 3_000;

/// Seconds of each load.
const SECONDS: u32 = 8;

/// Notifications per second: as fast as the senders get their answers, and a quiet server.
const RATES: [u32; 2] = [0, 500];

/// Uses every program in both dialects, busy and quiet, and lets each end by itself: that is when it writes its counts.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    for (shape, plan) in [("cluster", Plan::cluster(1, 1)), ("standalone", Plan::standalone())] {
        let cluster = Cluster::start(&programs, plan);
        for dialect in [Dialect::SimplePush, Dialect::WebPush] {
            for rate in RATES {
                let column = format!("{shape}, {}, {rate}/s", dialect.name());
                tell(&format!("train: {column}, {clients} clients"));
                let load = Load::on(&cluster, dialect)
                    .with("clients", clients)
                    .with("senders", SENDERS)
                    .with("rate", rate)
                    .with("send-for", settings.time(SECONDS));
                let report = load.run(&cluster)?;
                put_sends(findings, &column, &report);
                findings.runs.push(Run::new(column, report));
            }
        }
        cluster.stop()?;
    }
    Ok(())
}
