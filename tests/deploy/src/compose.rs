//! `docker-compose.yml`, with all that it says resolved. A key that is not known is an error, not ignored.

use crate::dockerfile::{Check, duration};
use anyhow::{Context as _, Result, bail, ensure};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, time::Duration};

/// A program of the cluster.
#[derive(Debug)]
pub(crate) struct Service {
    /// The image that it runs in.
    pub(crate) image: String,
    /// The Dockerfile that makes the image, if it is ours.
    pub(crate) dockerfile: Option<String>,
    /// What runs; empty for the image's own program.
    pub(crate) command: Vec<String>,
    /// Its variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// How to see that it works.
    pub(crate) check: Option<Check>,
    /// Services that have to be started before, and whether they have to be healthy, too.
    pub(crate) needs: Vec<(String, bool)>,
    /// Files and folders, from the repository or named volumes: source and target.
    pub(crate) volumes: Vec<(String, String)>,
    /// Ports of the host, and the service's ports behind them.
    pub(crate) ports: Vec<(u16, u16)>,
    /// Settings of the kernel for its network.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Most open files, soft and hard.
    pub(crate) open_files: Option<(u64, u64)>,
    /// The root file system cannot be written to.
    pub(crate) is_read_only: bool,
    /// It can gain no rights, and has none of root's.
    pub(crate) is_confined: bool,
    /// Time to end after SIGTERM.
    pub(crate) stop_grace: Duration,
}

/// The services of a Compose file, with variables from `.env`.
pub(crate) fn parse(text: &str, variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, Service>> {
    let documents = Yaml::load_from_str(text)?;
    let [document] = documents.as_slice() else { bail!("not one document") };
    let Value::Object(mut file) = resolved(document, variables)? else { bail!("not a mapping") };
    let Some(Value::Object(services)) = file.remove("services") else { bail!("no services") };
    let volumes = file.remove("volumes").unwrap_or_default();
    file.retain(|key, _| !key.starts_with("x-"));
    ensure!(file.is_empty(), "not supported: {file:?}");
    let read = |(name, value): (String, Value)| {
        let service = service(value, &volumes).with_context(|| name.clone())?;
        Ok((name, service))
    };
    services.into_iter().map(read).collect()
}

/// Variables of a text like `.env`.
pub(crate) fn variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A YAML node as JSON, with merge keys (`<<`) resolved as Compose does: what is said directly wins.
fn resolved(node: &Yaml<'_>, variables: &BTreeMap<String, String>) -> Result<Value> {
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.0),
        Yaml::Value(Scalar::String(value)) => Value::from(interpolated(value, variables)?),
        Yaml::Sequence(items) => {
            items.iter().map(|item| resolved(item, variables)).collect::<Result<Vec<_>>>()?.into()
        }
        Yaml::Mapping(entries) => {
            let (mut merged, mut direct) = (Map::new(), Map::new());
            for (key, value) in entries {
                let key = key.as_str().with_context(|| format!("a key that is not a string: {key:?}"))?;
                match (key, resolved(value, variables)?) {
                    ("<<", Value::Object(inherited)) => merged.extend(inherited),
                    ("<<", other) => bail!("merge of {other}"),
                    (key, value) => _ = direct.insert(key.to_owned(), value),
                }
            }
            merged.extend(direct);
            Value::Object(merged)
        }
        Yaml::Representation(..) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
            bail!("cannot be read: {node:?}")
        }
    })
}

/// A text with its `${NAME}`, `${NAME:-default}` and `${NAME:?message}` replaced.
fn interpolated(text: &str, variables: &BTreeMap<String, String>) -> Result<String> {
    let mut parts = text.split("${");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inside, rest) = part.split_once('}').with_context(|| format!("no end: {text}"))?;
        let (name, otherwise) = inside.split_once(':').unwrap_or((inside, "-"));
        match (variables.get(name).filter(|value| !value.is_empty()), otherwise.split_at(1)) {
            (Some(value), _) => result.push_str(value),
            (None, ("-", default)) => result.push_str(default),
            (None, ("?", message)) => bail!("{name} is not set: {message}"),
            (None, _) => bail!("not supported: {text}"),
        }
        result.push_str(rest);
    }
    Ok(result)
}

fn service(value: Value, named_volumes: &Value) -> Result<Service> {
    let Value::Object(mut keys) = value else { bail!("not a mapping") };
    let mut take = |key: &str| keys.remove(key).unwrap_or_default();
    let build = take("build");
    let confinement = (texts(&take("cap_drop"))?, texts(&take("security_opt"))?);
    let is_confined = confinement == (vec!["ALL".to_owned()], vec!["no-new-privileges:true".to_owned()]);
    ensure!(is_confined || confinement == (vec![], vec![]), "not supported: {confinement:?}");
    let volumes =
        texts(&take("volumes"))?.iter().map(|volume| mount(volume, named_volumes)).collect::<Result<_>>()?;
    let sysctls = pairs(&take("sysctls"))?;
    ensure!(sysctls.keys().all(|name| name.starts_with("net.")), "not of the network: {sysctls:?}");
    let limits = take("ulimits")["nofile"].clone();
    let open_files = limits["soft"].as_u64().zip(limits["hard"].as_u64());
    let own = Service {
        image: take("image").as_str().context("no image")?.to_owned(),
        dockerfile: build["dockerfile"].as_str().map(str::to_owned),
        command: texts(&take("command"))?,
        environment: pairs(&take("environment"))?,
        check: check(&take("healthcheck"))?,
        needs: needs(&take("depends_on"))?,
        volumes,
        ports: texts(&take("ports"))?.iter().map(|ports| published(ports)).collect::<Result<_>>()?,
        sysctls,
        open_files,
        is_read_only: take("read_only") == true,
        is_confined,
        stop_grace: take("stop_grace_period").as_str().map_or(Ok(Duration::from_secs(10)), duration)?,
    };
    // What a service does after it has ended by itself is for the container engine.
    take("restart");
    ensure!(keys.is_empty(), "not supported: {keys:?}");
    Ok(own)
}

fn text(value: &Value) -> Result<String> {
    let number = || value.as_number().map(ToString::to_string);
    value.as_str().map(str::to_owned).or_else(number).with_context(|| format!("not a text: {value}"))
}

fn texts(value: &Value) -> Result<Vec<String>> {
    ensure!(value.is_null() || value.is_array(), "not a list: {value}");
    value.as_array().into_iter().flatten().map(text).collect()
}

fn pairs(value: &Value) -> Result<BTreeMap<String, String>> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(name, value)| Ok((name.clone(), text(value)?))).collect()
}

fn check(value: &Value) -> Result<Option<Check>> {
    if value.is_null() {
        return Ok(None);
    }
    let words = texts(&value["test"])?;
    let Some(("CMD", command)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        bail!("a test that is not CMD: {words:?}")
    };
    let time = |key: &str, default| value[key].as_str().map_or(Ok(Duration::from_secs(default)), duration);
    Ok(Some(Check {
        command: command.to_vec(),
        interval: time("interval", 30)?,
        timeout: time("timeout", 30)?,
        retries: value["retries"].as_u64().unwrap_or(3).try_into()?,
        start_period: time("start_period", 0)?,
    }))
}

/// A list of names, or a mapping of names to conditions.
fn needs(value: &Value) -> Result<Vec<(String, bool)>> {
    let Value::Object(conditions) = value else {
        return Ok(texts(value)?.into_iter().map(|name| (name, false)).collect());
    };
    let healthy = |(name, value): (&String, &Value)| match value["condition"].as_str() {
        Some("service_healthy") => Ok((name.clone(), true)),
        Some("service_started") => Ok((name.clone(), false)),
        other => bail!("condition {other:?}"),
    };
    conditions.iter().map(healthy).collect()
}

/// `./file:/path:ro` or `name:/path`.
fn mount(text: &str, named: &Value) -> Result<(String, String)> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target) = match parts.as_slice() {
        [source, target, "ro"] if source.starts_with("./") => (*source, *target),
        [name, target] if named.get(*name).is_some() => (*name, *target),
        _ => bail!("not supported: {text}"),
    };
    Ok((source.to_owned(), target.to_owned()))
}

/// `8080:8080`
fn published(text: &str) -> Result<(u16, u16)> {
    let (host, own) = text.split_once(':').with_context(|| format!("not supported: {text}"))?;
    Ok((host.parse()?, own.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_compose_does() {
        let variables = variables("A=1\nB=\n");
        for (text, expected) in [("x${A}y", "x1y"), ("${A:-2}", "1"), ("${B:-2}${C:-3}", "23"), ("${C}", "")]
        {
            assert_eq!(interpolated(text, &variables).unwrap(), expected, "{text}");
        }
        let refused = interpolated("${C:?set it}", &variables).unwrap_err().to_string();
        assert!(refused.contains("set it"), "{refused}");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let service =
            |lines: &str| parse(&format!("services:\n  a:\n    image: x\n{lines}"), &BTreeMap::new());
        assert_eq!(service("    command: [a]\n").unwrap()["a"].command, ["a"]);
        for line in [
            "    entrypoint: [a]\n",
            "    healthcheck: {test: [CMD-SHELL, a]}\n",
            "    ports: [\"1\"]\n",
            "    sysctls: {vm.a: 1}\n",
        ] {
            assert!(service(line).is_err(), "{line}");
        }
        let sysctls = &service("    sysctls: {net.a: 1 2}\n").unwrap()["a"].sysctls;
        assert_eq!(*sysctls, BTreeMap::from([("net.a".to_owned(), "1 2".to_owned())]));
    }

    #[test]
    fn secrets_have_no_default() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml"));
        let refused = format!("{:#}", parse(&text.unwrap(), &BTreeMap::new()).unwrap_err());
        assert!(refused.contains("make-env"), "{refused}");
    }
}
