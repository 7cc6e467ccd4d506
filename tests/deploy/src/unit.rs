//! A service of systemd, as its unit says, on a machine whose first process is not systemd: who it runs as, where, with
//! which variables, and what it has to say to the supervisor, which is this program.

use crate::{
    container::Container,
    folders::inside_of,
    layers::Mounted,
    run::{Signal, end_of, open_files_max, signal, tail_of},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

/// Where the program finds the supervisor, inside its root.
const SOCKET: &str = "/run/notify";

/// A unit, reduced to what is acted upon here. The rest is for `systemd-analyze`.
#[derive(Debug)]
pub(crate) struct Unit {
    command: Vec<String>,
    user: String,
    workdir: String,
    files: Vec<String>,
    open_files: u64,
    watchdog: Duration,
    stop_timeout: Duration,
}

impl Unit {
    /// Reads a unit.
    ///
    /// # Errors
    /// It lacks something, or does not wait for the program to be ready.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut settings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        for (name, value) in lines.filter_map(|line| line.split_once('=')) {
            settings.entry(name).or_default().push(value);
        }
        let one = |name: &str| match settings.get(name).map(Vec::as_slice) {
            Some([value]) => Ok(*value),
            _ => bail!("{name} is not there exactly once"),
        };
        ensure!(one("Type")? == "notify", "Type is not notify");
        Ok(Self {
            command: one("ExecStart")?.split(' ').map(str::to_owned).collect(),
            user: one("User")?.to_owned(),
            workdir: one("WorkingDirectory").unwrap_or("/").to_owned(),
            files: settings
                .get("EnvironmentFile")
                .into_iter()
                .flatten()
                .map(|path| (*path).to_owned())
                .collect(),
            open_files: one("LimitNOFILE")?.parse()?,
            watchdog: seconds(one("WatchdogSec")?)?,
            stop_timeout: seconds(one("TimeoutStopSec")?)?,
        })
    }

    /// The time after which a silent program is killed.
    pub(crate) fn watchdog(&self) -> Duration {
        self.watchdog
    }

    /// Starts the program in a root, and waits until it says that it is ready. `watchdog` takes the place of the unit's.
    pub(crate) fn start(
        &self,
        root: &Mounted,
        network: &str,
        watchdog: Duration,
        log: PathBuf,
    ) -> Result<Service> {
        let path = inside_of(root.path(), SOCKET);
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let socket = UnixDatagram::bind(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        let mut environment = self.environment(root)?;
        environment.insert("NOTIFY_SOCKET".to_owned(), SOCKET.to_owned());
        environment.insert("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string());
        let most = self.open_files.min(open_files_max());
        let container = Container {
            root: root.clone(),
            network: network.to_owned(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            environment,
            open_files: Some((most, most)),
            is_confined: true,
        };
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = container.command(&self.command);
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut service = Service { child, socket, log, stop_timeout: self.stop_timeout };
        service.expect("READY=1")?;
        Ok(service)
    }

    /// The variables of the unit's files; one that begins with `-` may be missing.
    fn environment(&self, root: &Mounted) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        for file in &self.files {
            let path = inside_of(root.path(), file.trim_start_matches('-'));
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound && file.starts_with('-') => continue,
                Err(error) => return Err(error).with_context(|| file.clone()),
            };
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let variables = lines.filter_map(|line| line.split_once('='));
            environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Ok(environment)
    }
}

/// `30`, or `30s`, as units have times.
fn seconds(text: &str) -> Result<Duration> {
    let number =
        text.trim_end_matches('s').parse().with_context(|| format!("not a time in seconds: {text}"))?;
    Ok(Duration::from_secs(number))
}

/// How long a program may take to say that it is ready, or that it stops.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that runs.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    socket: UnixDatagram,
    log: PathBuf,
    stop_timeout: Duration,
}

impl Service {
    /// Waits for a message; signs of life may come before it.
    fn expect(&mut self, expected: &str) -> Result<()> {
        loop {
            match self.next(PATIENCE)? {
                Some(message) if message == expected => return Ok(()),
                Some(message) if message == "WATCHDOG=1" => {}
                other => bail!("{other:?} instead of {expected}\n{}", tail_of(&self.log)),
            }
        }
    }

    /// The next message, `None` if there is none in this time.
    fn next(&mut self, limit: Duration) -> Result<Option<String>> {
        self.socket.set_read_timeout(Some(limit))?;
        let mut buffer = [0; 1024];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that signs of life come in time.
    pub(crate) fn is_alive(&mut self, watchdog: Duration) -> Result<bool> {
        // Those that were not read yet.
        while self.next(Duration::from_millis(1))?.is_some() {}
        Ok(self.next(watchdog)?.as_deref() == Some("WATCHDOG=1"))
    }

    /// Does to a stopped process what the supervisor does when the watchdog expires.
    pub(crate) fn hang_until_killed(mut self, watchdog: Duration) -> Result<()> {
        signal(self.child.id(), Signal::STOP)?;
        ensure!(!self.is_alive(watchdog)?, "a stopped process gives signs of life");
        signal(self.child.id(), Signal::ABORT)?;
        signal(self.child.id(), Signal::CONT)?;
        end_of(&mut self.child, PATIENCE, "the program ends")?;
        Ok(())
    }

    /// Stops it, and checks that it says so and ends well and in time.
    pub(crate) fn stop(mut self) -> Result<()> {
        signal(self.child.id(), Signal::TERM)?;
        self.expect("STOPPING=1")?;
        let status = end_of(&mut self.child, self.stop_timeout, "the program ends")?;
        ensure!(status.success(), "{status}\n{}", tail_of(&self.log));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read() {
        let text = "[Service]\nType=notify\n# Comment=1\nExecStart=/usr/bin/x --y z\nUser=u\nLimitNOFILE=10\n\
                    EnvironmentFile=-/a\nEnvironmentFile=/b\nWatchdogSec=30\nTimeoutStopSec=45s\n";
        let unit = Unit::parse(text).unwrap();
        assert_eq!(unit.command, ["/usr/bin/x", "--y", "z"]);
        assert_eq!((&*unit.user, &*unit.workdir, unit.open_files), ("u", "/", 10));
        assert_eq!(unit.files, ["-/a", "/b"]);
        assert_eq!((unit.watchdog.as_secs(), unit.stop_timeout.as_secs()), (30, 45));
        assert!(Unit::parse(&text.replace("notify", "simple")).is_err());
        assert!(Unit::parse(&text.replace("User=u", "")).is_err());
    }
}
