//! Redis: its version, what it does when its memory is full, whether it survives a restart, its clock.

use super::{report::Report, subject::Subject};
use beckon_ops::{clock::Clock, config::Secret};
use beckon_store::redis::{ConnectError, Info, RedisOptions, survey};
use std::time::Duration;

/// The oldest version whose commands suffice.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Steps are refused for a moment after a clock was found to differ. A larger difference shows that time is not
/// synchronized.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);

/// Examines the Redis at `url`, with the checks of a node's start.
pub(super) async fn examine(url: &Secret, subject: &Subject, report: &mut Report) {
    const NAME: &str = "store";
    let access = match subject.common.redis() {
        Ok(access) => access,
        Err(reason) => return report.fault(NAME, reason),
    };
    let options = RedisOptions {
        access,
        step_timeout: subject.common.store_timeout,
        uaid_idle: subject.common.uaid_idle,
        newcomers: subject.common.newcomers(),
        ..RedisOptions::default()
    };
    let surveyed = match survey(url.expose(), &options).await {
        Ok(surveyed) => surveyed,
        // Their own texts begin with the name.
        Err(ConnectError::Configuration(reason) | ConnectError::Password(reason)) => {
            return report.fault(NAME, reason);
        }
        Err(ConnectError::Unreachable { address, reason }) => {
            return report.fault(NAME, format!("not usable: Redis at {address}: {reason}"));
        }
    };
    report.fine(NAME, format!("connected; the user has all rights; primaries: {}", surveyed.len()));
    let now = Duration::from_millis(Clock::start().unix_ms());
    for primary in surveyed {
        let name = format!("redis {}", primary.address);
        match primary.info {
            Ok(info) => examine_primary(&name, &info, now, report),
            Err(reason) => {
                report.fault(&name, format!("{reason}. Nodes start without it; its clients are not served"))
            }
        }
    }
}

fn examine_primary(name: &str, info: &Info, now: Duration, report: &mut Report) {
    let field = |key| info.field(key);
    let Some(version) = field("redis_version") else {
        return report
            .skipped(name, "the user may not send INFO: allow it with +info to have the rest examined");
    };
    let shown =
        field("valkey_version").map_or_else(|| version.to_owned(), |valkey| format!("Valkey {valkey}"));
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let number = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if number < VERSION_MIN {
        report.fault(name, format!("version {shown} is too old; 6.2 is the oldest that works"));
    } else {
        report.fine(name, format!("version {shown}"));
    }
    let (limit, policy) = (field("maxmemory").unwrap_or("0"), field("maxmemory_policy").unwrap_or_default());
    if limit == "0" {
        report.advice(
            name,
            "maxmemory is not set: when the machine's memory is full, the system kills Redis. Set maxmemory",
        );
    } else if policy == "noeviction" {
        report.fine(name, format!("maxmemory {limit}, used {}", field("used_memory").unwrap_or("?")));
    } else {
        let advice = format!(
            "maxmemory-policy is {policy}: with its memory full, Redis forgets clients and what is pending for them. Set \
             maxmemory-policy noeviction"
        );
        report.fault(name, advice);
    }
    let is_appending = field("aof_enabled") == Some("1");
    let replicas = field("connected_slaves").unwrap_or("0");
    let advice = "appendonly is off: after a restart Redis has what its last snapshot had, and what was accepted since is \
                  lost. Set appendonly yes";
    report.weigh(is_appending, name, "appendonly is on", advice);
    let advice = "no replica is connected: if this server is lost, so is what it holds";
    report.weigh(replicas != "0", name, format!("replicas: {replicas}"), advice);
    let apart = info.time.abs_diff(now);
    let advice =
        format!("its clock and this machine's differ by {:.1} s: set up NTP on both", apart.as_secs_f64());
    report.weigh(apart <= CLOCKS_APART_MAX, name, "its clock agrees with this machine's", advice);
}
