//! What threads cost that a node has and does not need: whether anything grows with them, on as many cores as there are.

use super::figures::{SENDERS, clients, put_sends, put_units, unit};
use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
    unit::Arrivals,
};
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

const CLIENTS: u32 = 6_000;

/// Worker threads of each node. With more than there are cores, each has less to do and is woken more often.
const THREADS: [u32; 5] = [1, 2, 4, 8, 16];

/// Notifications per second of the open loop.
const RATE: u32 = 2_000;

/// Measures one number of threads after the other.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    for threads in THREADS {
        let column = format!("{threads} threads");
        tell(&format!("cores: {column}, {clients} clients"));
        let cluster =
            Cluster::start(&programs, Plan::cluster(1, 1).all("BECKON_THREADS", &threads.to_string()));
        let empty = ["connection-node", "endpoint-node"].map(|name| (name, cluster.usage(name).rss));
        for (name, rss) in empty {
            let mebibytes = rss as f64 / f64::from(1 << 20);
            findings.put(&column, &format!("memory of {name} without clients"), "MiB", None, Some(mebibytes));
        }
        findings.put(
            &column,
            "connections to Redis",
            "",
            Some(10.0),
            Some(cluster.redis_connections() as f64),
        );
        let load = || Load::on(&cluster, settings.dialect).with("clients", clients).with("senders", SENDERS);
        let closed = load().with("send-for", settings.time(8)).run(&cluster)?;
        let closed_unit = unit(settings, Arrivals::Closed, cluster.folder())?;
        put_units(findings, &column, "closed loop", None, &closed, &closed_unit);
        put_sends(findings, &column, &closed);
        findings.runs.push(Run::new(format!("{column}, closed loop"), closed));
        let open = load().with("rate", RATE).with("send-for", settings.time(8)).run(&cluster)?;
        let open_unit = unit(settings, Arrivals::PerSecond(RATE), cluster.folder())?;
        put_units(findings, &column, &format!("{RATE}/s"), None, &open, &open_unit);
        findings.runs.push(Run::new(format!("{column}, {RATE}/s"), open));
    }
    Ok(())
}
