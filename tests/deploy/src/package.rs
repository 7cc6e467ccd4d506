//! The Debian package, in a Debian that has no compiler: lintian and systemd-analyze have nothing to say, it installs,
//! the service starts and carries a notification, it survives an upgrade, and after a purge nothing of it is left.

use crate::{
    container::Container,
    folders::{Folders, inside_of},
    layers::{self, Mounted},
    network,
    run::{PATIENCE, Signal, end_of, signal, succeed, tail_of, until},
    unit::{Service, Unit},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What a newcomer has: a client for HTTP.
const FOR_USERS: &[&str] = &["curl"];

/// What examines the package and its files.
const FOR_CHECKS: &[&str] = &["bash-completion", "fish", "lintian", "man-db", "systemd", "zsh"];

/// The largest exposure that a unit may have, in the tenths in which `systemd-analyze security` takes it: 20 of 100.
const EXPOSURE_MAX: &str = "20";

/// Time for a notification to arrive, from the beginning of the installation.
const FIRST_NOTIFICATION_MAX: Duration = Duration::from_secs(60);

/// The namespace that the service and its clients run in.
const NETWORK: &str = "installed";

const UNIT: &str = "/lib/systemd/system/beckon.service";
const SETTINGS: &str = "/etc/beckon/beckon.toml";
const DATA: &str = "/var/lib/beckon/token-keys";

/// What a package cannot help leaving, and the system's own records.
const NOT_THE_PACKAGES: &[&str] = &[
    "/proc",
    "/dev",
    "/sys",
    "/run",
    "/tmp",
    "/var/cache",
    "/var/log",
    "/var/lib/dpkg",
    "/var/lib/apt",
    // What adduser and deluser keep of the lists before a change.
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
];

/// The file name of the package inside a root.
const INSIDE: &str = "/tmp/beckon.deb";

/// Does all of it.
pub(crate) fn run(folders: &Folders, package: &Path) -> Result<()> {
    fs::create_dir_all(folders.work.join("logs"))?;
    examine(folders, package).context("examined")?;
    use_it(folders, package).context("used")
}

/// Lintian, the units, the manuals and the completions.
fn examine(folders: &Folders, package: &Path) -> Result<()> {
    let root = layers::debian(folders)?.with_packages(folders, FOR_CHECKS)?.mount(folders, "examined")?;
    fs::copy(package, inside_of(root.path(), INSIDE))?;
    inside(&root, "lintian --allow-root --fail-on error,warning /tmp/beckon.deb")
        .map(|text| eprint!("{text}"))?;
    install(&root, INSIDE)?;
    let units = "beckon.service beckon-probe.service connection-node@1.service endpoint-node.service";
    let verified = inside(&root, &format!("systemd-analyze verify {units} 2>&1"))?;
    ensure!(verified.is_empty(), "systemd-analyze verify: {verified}");
    for unit in
        ["beckon.service", "beckon-probe.service", "connection-node@.service", "endpoint-node.service"]
    {
        let path = format!("/lib/systemd/system/{unit}");
        let security =
            format!("systemd-analyze security --no-pager --offline=true --threshold={EXPOSURE_MAX} {path}");
        let text = inside(&root, &security)?;
        eprintln!("deploy: {}", text.lines().last().unwrap_or_default());
    }
    for program in ["beckon", "connection-node", "endpoint-node"] {
        let manual = inside(&root, &format!("MANWIDTH=100 man --warnings {program} 2>&1"))?;
        ensure!(manual.contains("--endpoint-url <URL>"), "man {program}: {manual}");
        ensure!(!manual.contains("warning:"), "man {program}: {manual}");
        let offered = offered_by_bash(&root, program, "--endpoint-u")?;
        ensure!(offered == "--endpoint-url", "bash offers {offered} for {program}");
        inside(&root, &format!("zsh -n /usr/share/zsh/vendor-completions/_{program}"))?;
        let offered =
            inside(&root, &format!("fish --command 'complete --do-complete \"{program} --endpoint-u\"'"))?;
        ensure!(offered.starts_with("--endpoint-url"), "fish offers {offered} for {program}");
    }
    let page = inside(&root, "MANWIDTH=100 man --warnings beckon-client-block 2>&1")?;
    ensure!(page.contains("block") && !page.contains("warning:"), "man beckon-client-block: {page}");
    let offered = offered_by_bash(&root, "beckon", "lis")?;
    ensure!(offered == "listen", "bash offers {offered} for beckon");
    let offered = inside(&root, "fish --command 'complete --do-complete \"beckon send --\"'")?;
    ensure!(offered.contains("--ttl") && !offered.contains("--endpoint-url"), "fish offers {offered}");
    Ok(())
}

/// What bash completes a word to, as its package bash-completion loads it.
fn offered_by_bash(root: &Mounted, program: &str, word: &str) -> Result<String> {
    let script = format!(
        "source /usr/share/bash-completion/bash_completion; __load_completion {program}; COMP_WORDS=({program} {word}); \
         COMP_CWORD=1; $(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {program} {word} {program}; echo \"${{COMPREPLY[*]}}\""
    );
    let mut bash = chroot(root);
    Ok(succeed(bash.args(["bash", "-c", &script]))?.trim().to_owned())
}

/// From the installation to the purge.
#[expect(clippy::disallowed_methods, reason = "a duration for people, and a limit on it")]
fn use_it(folders: &Folders, package: &Path) -> Result<()> {
    let root = layers::debian(folders)?.with_packages(folders, FOR_USERS)?.mount(folders, "installed")?;
    ensure!(inside(&root, "command -v cc rustc cargo || true")?.is_empty(), "there is a compiler");
    network::alone(NETWORK)?;
    let before = files(&root)?;
    fs::copy(package, inside_of(root.path(), INSIDE))?;

    let began = Instant::now();
    let lap = |what: &str| eprintln!("deploy: {what} after {:.1} s", began.elapsed().as_secs_f64());
    install(&root, INSIDE)?;
    lap("installed");
    let unit = Unit::parse(&fs::read_to_string(inside_of(root.path(), UNIT))?).context(UNIT)?;
    let log = folders.work.join("logs/installed.log");
    let mut service = unit.start(&root, NETWORK, unit.watchdog(), log.clone())?;
    lap("ready");
    let user = Container {
        root: root.clone(),
        network: NETWORK.to_owned(),
        user: "www-data".to_owned(),
        workdir: "/".to_owned(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        open_files: None,
        is_confined: false,
    };
    let endpoint = exchange(&user, &folders.work.join("logs/listen.log"))?;
    lap("a notification has arrived");
    ensure!(began.elapsed() < FIRST_NOTIFICATION_MAX, "that is too late");
    ensure!(service.is_alive(unit.watchdog())?, "no sign of life");
    service.stop()?;

    // Shorter than the unit's, because the test waits for it.
    let watchdog = Duration::from_secs(4);
    let service = unit.start(&root, NETWORK, watchdog, log.clone())?;
    service.hang_until_killed(watchdog)?;

    let service = unit.start(&root, NETWORK, unit.watchdog(), log.clone())?;
    upgrade(&root, &user, &unit, service, &endpoint, log)?;
    purge(&root, &before)
}

/// Connects as a user agent, sends to the endpoint, and waits for the notification.
fn exchange(user: &Container, log: &Path) -> Result<String> {
    let file = File::create(log)?;
    let mut listen = user.command(&["beckon", "listen"]);
    let mut listen = listen.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let line_after = |start: &str| -> Result<Option<String>> {
        let text = fs::read_to_string(log)?;
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(lines.find_map(|line| line.strip_prefix(start)).map(str::to_owned))
    };
    let received = until("an endpoint", || line_after("endpoint ")).and_then(|endpoint| {
        put(user, &endpoint, 1)?;
        until("the notification", || line_after("version 1"))?;
        Ok(endpoint)
    });
    signal(listen.id(), Signal::INT)?;
    end_of(&mut listen, PATIENCE, "the listener ends")?;
    received.with_context(|| tail_of(log))
}

fn put(user: &Container, endpoint: &str, version: u64) -> Result<()> {
    let form = format!("version={version}");
    succeed(&mut user.command(&[
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "-X",
        "PUT",
        "-d",
        &form,
        endpoint,
    ]))
    .map(|_| ())
}

/// A newer package with other settings takes the place of the one that is installed. The operator's settings, the keys and
/// what was stored stay; the program that runs is not touched, and the next start is the new one.
fn upgrade(
    root: &Mounted,
    user: &Container,
    unit: &Unit,
    service: Service,
    endpoint: &str,
    log: PathBuf,
) -> Result<()> {
    let settings = inside_of(root.path(), SETTINGS);
    let changed = format!("{}\nping_min_sp = \"21s\"\n", fs::read_to_string(&settings)?);
    fs::write(&settings, &changed)?;
    let keys = fs::read(inside_of(root.path(), DATA))?;
    inside(
        root,
        "cd /tmp && dpkg-deb --raw-extract beckon.deb newer && sed --in-place 's/^Version: .*/&+newer/' newer/DEBIAN/control \
         && echo '# newer' >> newer/etc/beckon/beckon.toml && dpkg-deb --root-owner-group -Znone --build newer newer.deb",
    )?;
    install(root, "/tmp/newer.deb")?;
    let version = inside(root, "dpkg-query --show --showformat '${Status} ${Version}' beckon")?;
    ensure!(version.starts_with("install ok installed") && version.ends_with("+newer"), "{version}");
    ensure!(fs::read_to_string(&settings)? == changed, "the settings of the operator were replaced");
    ensure!(fs::read(inside_of(root.path(), DATA))? == keys, "the keys were replaced");
    put(user, endpoint, 2)?;
    service.stop()?;
    let service = unit.start(root, NETWORK, unit.watchdog(), log)?;
    put(user, endpoint, 3)?;
    service.stop()
}

/// What is left of the package after its removal, and after a purge.
fn purge(root: &Mounted, before: &BTreeSet<String>) -> Result<()> {
    inside(root, "apt-get remove --yes beckon")?;
    for (path, is_kept) in [("/usr/bin/beckon", false), (UNIT, false), (SETTINGS, true), (DATA, true)] {
        let is_there = inside_of(root.path(), path).exists();
        ensure!(
            is_there == is_kept,
            "after the removal, {path} is {}there",
            if is_there { "" } else { "not " }
        );
    }
    // What an operator does, for a cluster.
    inside(
        root,
        "echo BECKON_CLUSTER_SECRET=x > /etc/beckon/secrets.env && cd /etc/systemd/system && mkdir -p multi-user.target.wants \
         && ln -s /lib/systemd/system/connection-node@.service multi-user.target.wants/connection-node@a.service",
    )?;
    inside(
        root,
        "apt-get purge --yes beckon && rmdir --ignore-fail-on-non-empty /etc/systemd/system/multi-user.target.wants",
    )?;
    let after = files(root)?;
    let left: Vec<&String> = after.difference(before).collect();
    ensure!(left.is_empty(), "left after the purge: {left:?}");
    let lost: Vec<&String> = before.difference(&after).collect();
    ensure!(lost.is_empty(), "gone after the purge: {lost:?}");
    for list in ["passwd", "group", "shadow"] {
        let text = fs::read_to_string(root.path().join("etc").join(list))?;
        ensure!(!text.contains("beckon"), "/etc/{list} still has beckon");
    }
    Ok(())
}

fn install(root: &Mounted, package: &str) -> Result<()> {
    inside(
        root,
        &format!(
            "apt-get install --yes --no-install-recommends --option Dpkg::Options::=--force-confdef \
                           --option Dpkg::Options::=--force-confold {package} 2>&1"
        ),
    )
    .map(|_| ())
}

fn chroot(root: &Mounted) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root.path()).args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
    command.args(["LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]);
    command
}

/// Runs a line of shell in a root, as root, and returns what it prints.
fn inside(root: &Mounted, line: &str) -> Result<String> {
    succeed(chroot(root).args(["sh", "-c", line]))
}

/// All files and folders.
fn files(root: &Mounted) -> Result<BTreeSet<String>> {
    let pruned: Vec<String> = NOT_THE_PACKAGES.iter().map(|path| format!("-path {path}")).collect();
    let text = inside(root, &format!("find / -xdev \\( {} \\) -prune -o -print", pruned.join(" -o ")))?;
    Ok(text.lines().map(str::to_owned).collect())
}
