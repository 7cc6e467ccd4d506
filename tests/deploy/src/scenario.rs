//! The cluster of `docker-compose.yml`: all services start as they say, become healthy, and carry notifications of both
//! dialects; Redis fails and comes back; everything stops in time.

use crate::{
    compose::{self, Service},
    container::Container,
    folders::{Folders, inside_of},
    image::{Built, Image},
    layers::{self, Mounted, Root, bind},
    network::{self, HUB, HUB_ADDRESS},
    run::{Signal, end_of, open_files_max, signal, succeed, tail_of, until, within},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Images of a registry that Debian's packages take the place of.
struct StandIn {
    image: &'static str,
    /// Who the image's program runs as.
    user: &'static str,
    workdir: &'static str,
    /// What the image runs if nothing is said.
    command: &'static [&'static str],
    /// What the image's program does by default, and Debian's only if told.
    also: &'static [&'static str],
}

const STAND_INS: &[StandIn] = &[
    StandIn {
        image: "redis:7-bookworm",
        user: "redis",
        workdir: "/data",
        command: &["redis-server"],
        also: &["--protected-mode", "no"],
    },
    StandIn {
        image: "haproxy:2.8-bookworm",
        user: "haproxy",
        workdir: "/var/lib/haproxy",
        command: &["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"],
        also: &[],
    },
];

/// What they and the network need.
const PACKAGES: &[&str] = &["redis-server", "haproxy", "dnsmasq-base", "socat", "curl"];

/// A service that runs.
#[derive(Debug)]
struct Running {
    container: Container,
    words: Vec<String>,
    child: Child,
    log: PathBuf,
}

/// Everything that runs.
#[derive(Debug)]
struct Cluster {
    services: BTreeMap<String, Service>,
    running: BTreeMap<String, Running>,
    /// The name server and what publishes ports.
    helpers: Vec<Child>,
    /// Where clients run, in our image.
    clients: Container,
    /// The same with curl.
    tools: Container,
    addresses: BTreeMap<String, String>,
    logs: PathBuf,
}

/// Starts the cluster and sends notifications through it.
pub(crate) fn run(folders: &Folders, built: &Built) -> Result<()> {
    let packages = layers::debian(folders)?.with_packages(folders, PACKAGES)?;
    let mut cluster = Cluster::new(folders, built, &packages)?;
    let result = cluster.start(folders, built, &packages).and_then(|()| cluster.exchange());
    if result.is_err() {
        for (name, running) in &cluster.running {
            eprintln!("--- {name}\n{}", tail_of(&running.log));
        }
    }
    for helper in &mut cluster.helpers {
        helper.kill()?;
    }
    result
}

impl Cluster {
    fn new(folders: &Folders, built: &Built, packages: &Root) -> Result<Self> {
        let secrets = succeed(&mut Command::new(folders.repository.join("deploy/make-env")))?;
        let text = fs::read_to_string(folders.repository.join("docker-compose.yml"))?;
        let services = compose::parse(&text, &compose::variables(&secrets))?;
        let addresses = network::connected(services.keys())?;
        let logs = folders.work.join("logs");
        fs::create_dir_all(&logs)?;
        let container = |root: Mounted, image: &Image| Container {
            root,
            network: HUB.to_owned(),
            user: image.user.clone(),
            workdir: image.workdir.clone(),
            environment: image.environment.clone(),
            open_files: None,
            is_confined: false,
        };
        let clients = container(built.image.root.mount(folders, "clients")?, &built.image);
        let mut tools = container(packages.mount(folders, "tools")?, &built.image);
        (tools.user, tools.workdir) = ("root".to_owned(), "/".to_owned());
        Ok(Self { services, running: BTreeMap::new(), helpers: Vec::new(), clients, tools, addresses, logs })
    }

    /// Starts the network's own programs, and then all services in the order of what they need.
    fn start(&mut self, folders: &Folders, built: &Built, packages: &Root) -> Result<()> {
        let records = self.addresses.iter().map(|(name, address)| format!("--host-record={name},{address}"));
        let mut dns: Vec<String> =
            ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root"]
                .map(str::to_owned)
                .to_vec();
        dns.extend(["--bind-interfaces".to_owned(), format!("--listen-address={HUB_ADDRESS}")]);
        dns.extend(records);
        let mut helpers = vec![dns];
        for (name, service) in &self.services {
            for (host, own) in &service.ports {
                let listen = format!("TCP-LISTEN:{host},bind=127.0.0.1,fork,reuseaddr");
                let target = format!("TCP:{}:{own}", self.addresses[name]);
                helpers.push(vec!["socat".to_owned(), listen, target]);
            }
        }
        for words in helpers {
            self.helpers.push(self.tools.command(&words).stdin(Stdio::null()).spawn()?);
        }
        while self.running.len() < self.services.len() {
            let is_ready =
                |service: &Service| service.needs.iter().all(|(name, _)| self.running.contains_key(name));
            let next = self
                .services
                .iter()
                .find(|(name, service)| !self.running.contains_key(*name) && is_ready(service))
                .map(|(name, _)| name.clone())
                .context("services that need each other")?;
            for (needed, must_be_healthy) in &self.services[&next].needs {
                if *must_be_healthy {
                    self.wait_until_healthy(needed)?;
                }
            }
            let running = self.launch(folders, built, packages, &next)?;
            self.running.insert(next, running);
        }
        for (name, service) in &self.services {
            if service.check.is_some() {
                self.wait_until_healthy(name)?;
            }
        }
        Ok(())
    }

    fn launch(&self, folders: &Folders, built: &Built, packages: &Root, name: &str) -> Result<Running> {
        let service = &self.services[name];
        let stand_in = STAND_INS.iter().find(|stand_in| stand_in.image == service.image);
        let (root, user, workdir, mut words, image) = match stand_in {
            Some(stand_in) => {
                let command = stand_in.command.iter().map(|word| (*word).to_owned()).collect();
                (packages, stand_in.user, stand_in.workdir, command, None)
            }
            None => {
                let ours = service.dockerfile.as_deref() == Some("deploy/Dockerfile");
                ensure!(ours, "{name}: {} is not an image that is known here", service.image);
                let image = &built.image;
                (&image.root, image.user.as_str(), image.workdir.as_str(), image.command.clone(), Some(image))
            }
        };
        if !service.command.is_empty() {
            words.clone_from(&service.command);
        }
        let files_max = open_files_max();
        let open_files = service.open_files.map(|(soft, hard)| (soft.min(files_max), hard.min(files_max)));
        if open_files != service.open_files {
            eprintln!("deploy: {name} gets {files_max} open files, which is all that there are here");
            // HAProxy refuses to start with fewer files than maxconn needs: two for a connection. -n overrides maxconn.
            if words.first().is_some_and(|program| program == "haproxy") {
                words.extend(["-n".to_owned(), (files_max / 4).to_string()]);
            }
        }
        words.extend(stand_in.iter().flat_map(|stand_in| stand_in.also).map(|word| (*word).to_owned()));
        let mounted = root.mount(folders, name)?;
        let root = mounted.path().to_owned();
        fs::write(root.join("etc/resolv.conf"), format!("nameserver {HUB_ADDRESS}\n"))?;
        fs::create_dir_all(inside_of(&root, workdir))?;
        for path in image.iter().flat_map(|image| &image.volumes) {
            let volume = folders.work.join("containers").join(name).join("volume");
            succeed(Command::new("cp").arg("--archive").arg(inside_of(&root, path)).arg(&volume))?;
            bind(&volume, &inside_of(&root, path))?;
        }
        for (source, target) in &service.volumes {
            let target = inside_of(&root, target);
            match source.strip_prefix("./") {
                Some(file) => {
                    fs::create_dir_all(target.parent().unwrap_or(&root))?;
                    fs::copy(folders.repository.join(file), &target).with_context(|| file.to_owned())?;
                }
                // A named volume is empty at first, and belongs to who the program runs as.
                None => {
                    succeed(Command::new("chroot").arg(&root).args(["chown", user, workdir])).map(|_| ())?
                }
            }
        }
        if service.is_read_only {
            succeed(Command::new("mount").args(["-o", "remount,ro"]).arg(&root))?;
        }
        let mut environment = built.image.environment.clone();
        environment.extend(service.environment.clone());
        let container = Container {
            root: mounted,
            network: name.to_owned(),
            user: user.to_owned(),
            workdir: workdir.to_owned(),
            environment,
            open_files,
            is_confined: service.is_confined,
        };
        service.sysctls.iter().try_for_each(|(setting, value)| network::set(name, setting, value))?;
        let log = self.logs.join(format!("{name}.log"));
        let child = started(&mut container.command(&words), &log)?;
        Ok(Running { container, words, child, log })
    }

    /// Whether the service's own health check succeeds.
    fn is_healthy(&self, name: &str) -> Result<bool> {
        let check =
            self.services[name].check.as_ref().with_context(|| format!("{name} has no health check"))?;
        let mut command = self.running[name].container.command(&check.command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        match end_of(&mut child, check.timeout, "a health check") {
            Ok(status) => Ok(status.success()),
            Err(_) => {
                child.kill()?;
                child.wait()?;
                Ok(false)
            }
        }
    }

    fn wait_until_healthy(&self, name: &str) -> Result<()> {
        let check =
            self.services[name].check.as_ref().with_context(|| format!("{name} has no health check"))?;
        let limit = check.start_period + check.interval * check.retries;
        within(limit, &format!("{name} is healthy"), || Ok(self.is_healthy(name)?.then_some(())))
    }

    /// What a client at the published ports sees, and what happens when Redis is away.
    fn exchange(&mut self) -> Result<()> {
        let mut listeners = Vec::new();
        for number in 0..2 {
            let log = self.logs.join(format!("listener-{number}.log"));
            let listen = self
                .clients
                .command(&["beckon", "listen", "ws://localhost:8080/"])
                .stdin(Stdio::null())
                .stdout(File::create(&log)?)
                .spawn()?;
            self.helpers.push(listen);
            let endpoint = until("an endpoint", || {
                let text = fs::read_to_string(&log)?;
                Ok(text.lines().find_map(|line| line.strip_prefix("endpoint ")).map(str::to_owned))
            })?;
            ensure!(endpoint.starts_with("http://localhost:8081/"), "{endpoint}");
            listeners.push((endpoint, log));
        }
        for name in ["connection-node-1", "connection-node-2"] {
            let url = format!("http://{}:8083/status", self.addresses[name]);
            let status: serde_json::Value = serde_json::from_str(&self.curl(&[&url])?)?;
            ensure!(
                status["clients"] == 1,
                "the balancer gives each node one of two clients: {name} has {status}"
            );
        }
        self.deliver(&listeners, 10)?;
        self.exchange_webpush()?;

        self.lose_redis()?;
        self.deliver(&listeners, 20)?;
        self.stop()
    }

    /// Sends a version to each listener, through both endpoint-nodes, and waits until it has come.
    fn deliver(&self, listeners: &[(String, PathBuf)], first: u32) -> Result<()> {
        for (endpoint, log) in listeners {
            // The balancer takes turns, so two requests go to both endpoint-nodes.
            for version in [first, first + 1].map(|version| version.to_string()) {
                until("delivered at once", || {
                    let sent = self
                        .clients
                        .command(&["beckon", "send", endpoint, "--version", &version])
                        .output()?;
                    Ok(String::from_utf8_lossy(&sent.stdout).contains("(200)").then_some(()))
                })?;
                until("the notification", || {
                    let text = fs::read_to_string(log)?;
                    Ok(text.lines().any(|line| line == format!("version {version}")).then_some(()))
                })?;
            }
        }
        Ok(())
    }

    fn exchange_webpush(&self) -> Result<()> {
        let mut own = Command::new("nsenter");
        own.arg(format!("--net=/run/netns/{HUB}")).arg("--").arg(std::env::current_exe()?);
        succeed(own.args(["webpush", "ws://localhost:8080/"])).map(|_| ())
    }

    /// Redis hangs, so its own health check fails; the nodes stay healthy, since liveness does not depend on the store.
    /// Then it ends and starts again, with what it has written to its volume.
    fn lose_redis(&mut self) -> Result<()> {
        signal(self.running["redis"].child.id(), Signal::STOP)?;
        ensure!(!self.is_healthy("redis")?, "Redis hangs, and its health check does not notice");
        for name in ["connection-node-1", "endpoint-node-1"] {
            ensure!(self.is_healthy(name)?, "{name} would be restarted because Redis hangs");
        }
        let url = format!("http://{}:8083/health", self.addresses["connection-node-1"]);
        until("/health is 503", || {
            let code = self.curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url])?;
            Ok((code == "503").then_some(()))
        })?;
        let redis = self.running.get_mut("redis").context("redis runs")?;
        signal(redis.child.id(), Signal::CONT)?;
        signal(redis.child.id(), Signal::TERM)?;
        end_of(&mut redis.child, self.services["redis"].stop_grace, "Redis ends")?;
        redis.child = started(&mut redis.container.command(&redis.words), &redis.log)?;
        self.wait_until_healthy("redis")
    }

    fn curl(&self, arguments: &[&str]) -> Result<String> {
        succeed(&mut self.tools.command(&[&["curl", "--silent", "--show-error"], arguments].concat()))
    }

    /// Checks that everything still runs and, after SIGTERM, ends in time.
    fn stop(&mut self) -> Result<()> {
        for (name, running) in &mut self.running {
            if let Some(status) = running.child.try_wait()? {
                bail!("{name} has ended: {status}");
            }
        }
        // Those that need others go first.
        let mut names: Vec<String> = self.running.keys().cloned().collect();
        names.sort_by_key(|name| std::cmp::Reverse(self.services[name].needs.len()));
        for name in names {
            let running = self.running.get_mut(&name).context("it runs")?;
            signal(running.child.id(), Signal::TERM)?;
            let status =
                end_of(&mut running.child, self.services[&name].stop_grace, &format!("{name} ends"))?;
            let is_ours = self.services[&name].dockerfile.is_some();
            ensure!(status.success() || !is_ours, "{name}: {status}\n{}", tail_of(&running.log));
        }
        Ok(())
    }
}

/// Starts a program that writes to a log.
fn started(command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log)?;
    Ok(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?)
}
