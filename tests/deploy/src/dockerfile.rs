//! The Dockerfile, read by `parse-dockerfile` and reduced to what is used. Anything else is an error, not ignored.

use anyhow::{Context as _, Result, bail, ensure};
use parse_dockerfile::{
    Command, Flag, HealthcheckArguments, Instruction as Parsed, JsonOrStringArray, Source,
};
use std::time::Duration;

/// What begins with `FROM`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// An image, or the name of an earlier stage.
    pub(crate) from: String,
    /// What later stages call it.
    pub(crate) name: Option<String>,
    /// What is done in it, in order.
    pub(crate) instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// A command for `/bin/sh -c`.
    Run(String),
    /// Files from the context, or from an earlier stage.
    Copy { stage: Option<String>, sources: Vec<String>, to: String },
    /// A variable of the build, and its default; without one it is not set.
    Arg { name: String, value: Option<String> },
    /// The directory of what follows, and of the program.
    Workdir(String),
    /// The user of what follows, and of the program.
    User(String),
    /// Folders that outlive containers.
    Volume(Vec<String>),
    /// The program, unless another one is named.
    Cmd(Vec<String>),
    /// How to see that the program works.
    Healthcheck(Check),
    /// Ports, labels and the signal that ends the program: nothing to do for them.
    Nothing,
}

/// A health check, of an image or of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// A program and its arguments.
    pub(crate) command: Vec<String>,
    /// Time between two.
    pub(crate) interval: Duration,
    /// Time that one may take.
    pub(crate) timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub(crate) retries: u32,
    /// Time after the start in which failures do not count.
    pub(crate) start_period: Duration,
}

/// The stages of a Dockerfile.
pub(crate) fn parse(text: &str) -> Result<Vec<Stage>> {
    let file = parse_dockerfile::parse(text)?;
    ensure!(file.global_args().len() == 0, "ARG before FROM is not supported");
    file.stages()
        .map(|stage| {
            let instructions = stage.instructions.iter().map(instruction).collect::<Result<_>>()?;
            ensure!(stage.from.options.is_empty(), "FROM with options is not supported");
            Ok(Stage {
                from: stage.from.image.value.clone().into_owned(),
                name: stage.from.as_.as_ref().map(|(_, name)| name.value.clone().into_owned()),
                instructions,
            })
        })
        .collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an instruction that is not known is refused")]
fn instruction(parsed: &Parsed<'_>) -> Result<Instruction> {
    Ok(match parsed {
        Parsed::Run(run) => {
            ensure!(run.options.is_empty() && run.here_docs.is_empty(), "RUN with options is not supported");
            let Command::Shell(line) = &run.arguments else { bail!("RUN with an array is not supported") };
            Instruction::Run(line.value.to_owned())
        }
        Parsed::Copy(copy) => Instruction::Copy {
            stage: copy.options.iter().map(stage_of).collect::<Result<Vec<_>>>()?.pop(),
            sources: copy.src.iter().map(path_of).collect::<Result<_>>()?,
            to: copy.dest.value.clone().into_owned(),
        },
        Parsed::Arg(arg) => {
            let (name, value) = match arg.arguments.value.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_matches('"').to_owned())),
                None => (arg.arguments.value.as_ref(), None),
            };
            Instruction::Arg { name: name.to_owned(), value }
        }
        Parsed::Workdir(workdir) => Instruction::Workdir(workdir.arguments.value.clone().into_owned()),
        Parsed::User(user) => Instruction::User(user.arguments.value.clone().into_owned()),
        Parsed::Volume(volume) => Instruction::Volume(match &volume.arguments {
            JsonOrStringArray::Json(paths) => texts(&paths.value),
            JsonOrStringArray::String(paths) => texts(paths),
        }),
        Parsed::Cmd(cmd) => Instruction::Cmd(words(&cmd.arguments)?),
        Parsed::Healthcheck(check) => {
            let HealthcheckArguments::Cmd { arguments, .. } = &check.arguments else {
                bail!("HEALTHCHECK NONE is not supported")
            };
            let mut own = Check {
                command: words(arguments)?,
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(30),
                retries: 3,
                start_period: Duration::ZERO,
            };
            for flag in &check.options {
                let value = flag.value.as_ref().context("an option of HEALTHCHECK without a value")?;
                match flag.name.value.as_ref() {
                    "interval" => own.interval = duration(&value.value)?,
                    "timeout" => own.timeout = duration(&value.value)?,
                    "start-period" => own.start_period = duration(&value.value)?,
                    "retries" => own.retries = value.value.parse()?,
                    other => bail!("HEALTHCHECK --{other} is not supported"),
                }
            }
            Instruction::Healthcheck(own)
        }
        Parsed::Expose(_) | Parsed::Label(_) | Parsed::Stopsignal(_) => Instruction::Nothing,
        other => bail!("not supported: {other:?}"),
    })
}

fn stage_of(flag: &Flag<'_>) -> Result<String> {
    match (flag.name.value.as_ref(), &flag.value) {
        ("from", Some(stage)) => Ok(stage.value.clone().into_owned()),
        (other, _) => bail!("COPY --{other} is not supported"),
    }
}

fn path_of(source: &Source<'_>) -> Result<String> {
    let Source::Path(path) = source else { bail!("COPY of a here document is not supported") };
    Ok(path.value.clone().into_owned())
}

fn words(command: &Command<'_>) -> Result<Vec<String>> {
    let Command::Exec(words) = command else { bail!("a program that is not an array is not supported") };
    Ok(texts(&words.value))
}

fn texts(texts: &[parse_dockerfile::UnescapedString<'_>]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone().into_owned()).collect()
}

/// `5s`, `40s`, `1m`, as the Dockerfile and Compose write times.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().with_context(|| format!("not a time: {text}"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        _ => bail!("not a time: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let text = "# comment\nFROM a:1 AS b\nARG X=\"1 2\"\nRUN one \\\n && two\nCOPY --from=c /x /y z/\n\
                    FROM d\nHEALTHCHECK --interval=5s --retries=2 CMD [\"e\", \"f\"]\nCMD [\"g\"]\nEXPOSE 1\n";
        let stages = parse(text).unwrap();
        let copy = Instruction::Copy {
            stage: Some("c".into()),
            sources: vec!["/x".into(), "/y".into()],
            to: "z/".into(),
        };
        let arg = Instruction::Arg { name: "X".into(), value: Some("1 2".into()) };
        let run = Instruction::Run("one \\\n && two".into());
        assert_eq!(
            stages[0],
            Stage { from: "a:1".into(), name: Some("b".into()), instructions: vec![arg, run, copy] }
        );
        let check = Check {
            command: vec!["e".into(), "f".into()],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            retries: 2,
            start_period: Duration::ZERO,
        };
        let instructions =
            vec![Instruction::Healthcheck(check), Instruction::Cmd(vec!["g".into()]), Instruction::Nothing];
        assert_eq!(stages[1], Stage { from: "d".into(), name: None, instructions });
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in ["ADD x y", "COPY --chown=a x y", "RUN --mount=type=cache x", "CMD x y", "ENV A=b"] {
            assert!(parse(&format!("FROM a\n{line}\n")).is_err(), "{line}");
        }
        assert!(duration("5h").is_err());
    }
}
