//! A network that only the programs of one run see: a bridge with an address for each of them, and a name server.

use crate::run;
use anyhow::{Context as _, Result};
use std::{collections::BTreeMap, process::Command};

/// The namespace with the bridge, where clients are.
pub(crate) const HUB: &str = "hub";

/// The address of the bridge and of the name server.
pub(crate) const HUB_ADDRESS: &str = "10.89.0.1";

/// Makes a namespace in which programs reach only each other, at 127.0.0.1.
pub(crate) fn alone(name: &str) -> Result<()> {
    ip(&format!("netns add {name}"))?;
    ip(&format!("-n {name} link set lo up"))
}

/// Makes a namespace for each of these names, all connected. Returns their addresses.
pub(crate) fn connected<'a>(names: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, String>> {
    alone(HUB)?;
    ip(&format!("-n {HUB} link add bridge type bridge"))?;
    ip(&format!("-n {HUB} address add {HUB_ADDRESS}/24 dev bridge"))?;
    ip(&format!("-n {HUB} link set bridge up"))?;
    let mut addresses = BTreeMap::new();
    for (number, name) in (10..).zip(names) {
        let address = format!("10.89.0.{number}");
        alone(name)?;
        ip(&format!("-n {HUB} link add port{number} type veth peer name eth0 netns {name}"))?;
        ip(&format!("-n {HUB} link set port{number} master bridge up"))?;
        ip(&format!("-n {name} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        addresses.insert(name.clone(), address);
    }
    Ok(addresses)
}

/// Changes a setting of the kernel in a namespace, such as `net.ipv4.ip_local_port_range`.
pub(crate) fn set(namespace: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}"));
    command.args(["sh", "-c", "printf '%s\\n' \"$1\" > \"$2\"", "sh", value, &path]);
    run::succeed(&mut command).map(|_| ()).with_context(|| name.to_owned())
}

fn ip(arguments: &str) -> Result<()> {
    run::succeed(Command::new("ip").args(arguments.split(' '))).map(|_| ()).context("the network")
}
