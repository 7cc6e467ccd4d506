//! The image: every instruction of `deploy/Dockerfile`, in Debian's root file system instead of the images of a registry.

use crate::{
    context,
    dockerfile::{self, Check, Instruction, Stage},
    folders::{Folders, inside_of},
    layers::{self, Mounted, Root, bind},
    run,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A stage that has been built, or the image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its files.
    pub(crate) root: Root,
    /// Variables that every program in it has.
    pub(crate) environment: BTreeMap<String, String>,
    /// Variables of the build, which programs in it do not have.
    arguments: BTreeMap<String, String>,
    /// Who programs run as.
    pub(crate) user: String,
    /// Where they are started.
    pub(crate) workdir: String,
    /// What runs if nothing is said.
    pub(crate) command: Vec<String>,
    /// How to see that it works.
    pub(crate) check: Option<Check>,
    /// Folders that it may write to.
    pub(crate) volumes: Vec<String>,
    /// Whether programs may use the compiler.
    has_toolchain: bool,
}

/// What building leaves: the image, and the stages that have names.
#[derive(Debug)]
pub(crate) struct Built {
    /// The last stage.
    pub(crate) image: Image,
    /// The others.
    pub(crate) stages: BTreeMap<String, Image>,
}

/// Build arguments that differ from the defaults of the Dockerfile: README's commands build with this profile, too, and
/// find it built.
const BUILD_ARGUMENTS: &[(&str, &str)] = &[("PROFILE", "release")];

/// The search path of Debian's images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the toolchain is seen, and where cargo keeps what it downloads.
const TOOLCHAIN: &str = "/usr/local/rust";
const CARGO_HOME: &str = "/usr/local/cargo";

/// The compiler of this machine, which takes the place of the one in the image `rust`.
#[derive(Debug)]
struct Toolchain {
    version: String,
    folder: PathBuf,
    registry: PathBuf,
}

impl Toolchain {
    fn find(repository: &Path) -> Result<Self> {
        let ask = |arguments: &[&str]| {
            run::succeed(Command::new("rustc").args(arguments).current_dir(repository))
                .map(|text| text.trim().to_owned())
        };
        let version = ask(&["--version"])?;
        let version = version.split(' ').nth(1).context("rustc tells its version")?.to_owned();
        let home = std::env::var_os("HOME").context("HOME is not set")?;
        let home =
            std::env::var_os("CARGO_HOME").map_or_else(|| Path::new(&home).join(".cargo"), PathBuf::from);
        Ok(Self { version, folder: ask(&["--print", "sysroot"])?.into(), registry: home.join("registry") })
    }
}

impl Image {
    fn new(root: Root) -> Self {
        Self {
            root,
            environment: BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]),
            arguments: BTreeMap::new(),
            user: "root".to_owned(),
            workdir: "/".to_owned(),
            command: Vec::new(),
            check: None,
            volumes: Vec::new(),
            has_toolchain: false,
        }
    }

    /// Shows the toolchain in a mounted root, if programs of this image may use it.
    pub(crate) fn equip(&self, mounted: &Mounted, folders: &Folders) -> Result<()> {
        if !self.has_toolchain {
            return Ok(());
        }
        let toolchain = Toolchain::find(&folders.repository)?;
        // Nothing but what has been downloaded is shared with the machine around.
        for (from, to) in [
            (&toolchain.folder, TOOLCHAIN.to_owned()),
            (&toolchain.registry, format!("{CARGO_HOME}/registry")),
        ] {
            let to = inside_of(mounted.path(), &to);
            fs::create_dir_all(&to)?;
            bind(from, &to)?;
        }
        Ok(())
    }
}

struct Build<'a> {
    folders: &'a Folders,
    context: Vec<PathBuf>,
    stages: BTreeMap<String, Image>,
}

/// Builds the image.
pub(crate) fn build(folders: &Folders) -> Result<Built> {
    let text = fs::read_to_string(folders.repository.join("deploy/Dockerfile"))?;
    let context = context::files(&folders.repository)?;
    let mut build = Build { folders, context, stages: BTreeMap::new() };
    let mut last = None;
    for stage in dockerfile::parse(&text)? {
        let image = build.stage(&stage).with_context(|| format!("FROM {}", stage.from))?;
        if let Some(name) = stage.name {
            build.stages.insert(name, image.clone());
        }
        last = Some(image);
    }
    Ok(Built { image: last.context("no stage")?, stages: build.stages })
}

impl Build<'_> {
    fn stage(&self, stage: &Stage) -> Result<Image> {
        let mut image = self.base(&stage.from)?;
        for instruction in &stage.instructions {
            self.apply(&mut image, instruction)?;
        }
        Ok(image)
    }

    /// What `FROM` names.
    fn base(&self, from: &str) -> Result<Image> {
        if let Some(stage) = self.stages.get(from) {
            return Ok(stage.clone());
        }
        let mut image = Image::new(layers::debian(self.folders)?);
        if from == "debian:bookworm-slim" {
            return Ok(image);
        }
        let Some(version) = from.strip_prefix("rust:").and_then(|tag| tag.strip_suffix("-slim-bookworm"))
        else {
            bail!("{from} is not known here");
        };
        let here = Toolchain::find(&self.folders.repository)?.version;
        ensure!(version == here, "the Dockerfile has Rust {version}, this machine has {here}");
        image.has_toolchain = true;
        image.environment.extend([
            ("PATH".to_owned(), format!("{TOOLCHAIN}/bin:{PATH}")),
            ("CARGO_HOME".to_owned(), CARGO_HOME.to_owned()),
            // `cargo xtask deploy` has downloaded all that Cargo.lock names.
            ("CARGO_NET_OFFLINE".to_owned(), "true".to_owned()),
        ]);
        Ok(image)
    }

    fn apply(&self, image: &mut Image, instruction: &Instruction) -> Result<()> {
        match instruction {
            Instruction::Run(line) => image.root = self.run(image, line)?,
            Instruction::Copy { stage, sources, to } => {
                image.root = self.copy(image, stage.as_deref(), sources, to)?;
            }
            Instruction::Arg { name, value } => {
                let given = BUILD_ARGUMENTS.iter().find(|(argument, _)| argument == name);
                let value = given.map(|(_, value)| (*value).to_owned()).or_else(|| value.clone());
                image.arguments.extend(value.map(|value| (name.clone(), value)));
            }
            Instruction::Workdir(path) => {
                image.workdir.clone_from(path);
                image.root = image.root.with_layer(self.folders, &["WORKDIR", path], |mounted, _| {
                    Ok(fs::create_dir_all(inside_of(mounted.path(), path))?)
                })?;
            }
            Instruction::User(user) => image.user.clone_from(user),
            Instruction::Volume(paths) => image.volumes.extend(paths.iter().cloned()),
            Instruction::Cmd(command) => image.command.clone_from(command),
            Instruction::Healthcheck(check) => image.check = Some(check.clone()),
            Instruction::Nothing => {}
        }
        Ok(())
    }

    fn run(&self, image: &Image, line: &str) -> Result<Root> {
        ensure!(image.user == "root", "RUN as another user is not supported");
        let mut variables = image.environment.clone();
        variables.extend(image.arguments.clone());
        let environment: Vec<String> =
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let toolchain = if image.has_toolchain { "rust" } else { "" };
        let what = ["RUN", line, &environment.join("\n"), &image.workdir, toolchain];
        image.root.with_layer(self.folders, &what, |mounted, log| {
            eprintln!("deploy: RUN {}", line.lines().next().unwrap_or_default());
            image.equip(mounted, self.folders)?;
            let mut command = Command::new("chroot");
            command.arg(mounted.path());
            command.args(["env", "-i", &format!("--chdir={}", image.workdir)]).args(&environment);
            command.args(["/bin/sh", "-c", line]);
            run::succeed_slowly(&mut command, log)
        })
    }

    fn copy(&self, image: &Image, stage: Option<&str>, sources: &[String], to: &str) -> Result<Root> {
        let target = Path::new(&image.workdir).join(to.trim_end_matches('.'));
        let target = target.to_str().context("a path in UTF-8")?;
        let [source] = sources else { bail!("COPY of several sources is not supported") };
        let (from, files) = match stage {
            Some(name) => {
                let stage = self.stages.get(name).with_context(|| format!("no stage {name}"))?;
                let mounted = stage.root.mount(self.folders, &format!("copied-{name}"))?;
                (inside_of(mounted.path(), source), None)
            }
            None if source == "." => (self.folders.repository.clone(), Some(&self.context)),
            None => {
                let is_there = self.context.contains(&PathBuf::from(source));
                ensure!(is_there, "{source} is not in the context: look into .dockerignore");
                (self.folders.repository.join(source), None)
            }
        };
        let hash = match files {
            Some(files) => context::hash_of(&from, files)?,
            None => context::hash_of_all(&from)?,
        };
        image.root.with_layer(self.folders, &["COPY", &hash, target], |mounted, _| {
            let target_inside = inside_of(mounted.path(), target);
            if let Some(files) = files {
                return context::copy(&from, files, &target_inside);
            }
            let mut copy = Command::new("cp");
            copy.args(["--archive", "--no-preserve=ownership"]);
            if from.is_dir() {
                fs::create_dir_all(&target_inside)?;
                copy.arg(from.join(".")).arg(&target_inside);
            } else {
                copy.arg(&from).arg(&target_inside);
            }
            run::succeed(&mut copy).map(|_| ())
        })
    }
}
