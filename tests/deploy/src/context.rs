//! What goes to a container engine when an image is built: the repository without what `.dockerignore` lists.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Patterns of `.dockerignore`, as far as they are used: paths from the root, and names anywhere after `**/`.
#[derive(Debug)]
pub(crate) struct Ignored {
    paths: Vec<PathBuf>,
    names: Vec<String>,
}

impl Ignored {
    /// Reads the text of the file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut own = Self { paths: Vec::new(), names: Vec::new() };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let name = line.strip_prefix("**/");
            if name.unwrap_or(line).contains(['*', '?', '!', '[']) {
                bail!(".dockerignore: {line} is not a path and not **/NAME");
            }
            match name {
                Some(name) => own.names.push(name.to_owned()),
                None => own.paths.push(line.trim_matches('/').into()),
            }
        }
        Ok(own)
    }

    /// Whether it leaves out a path, given from the root.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let is_named = |name: &String| path.components().any(|part| part.as_os_str() == name.as_str());
        self.paths.iter().any(|ignored| path.starts_with(ignored)) || self.names.iter().any(is_named)
    }
}

/// Every file of the context by its path from the root, sorted.
pub(crate) fn files(repository: &Path) -> Result<Vec<PathBuf>> {
    let ignored = Ignored::parse(&fs::read_to_string(repository.join(".dockerignore"))?)?;
    let mut found = files_below(repository, &|path| !ignored.has(path))?;
    found.sort();
    Ok(found)
}

/// Every file below a folder by its path from there; folders that are not wanted are not entered.
fn files_below(folder: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(inner) = waiting.pop() {
        for entry in
            fs::read_dir(folder.join(&inner)).with_context(|| folder.join(&inner).display().to_string())?
        {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if !is_wanted(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                waiting.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// A hash of the names, modes and contents of files: what decides whether a layer that copies them is made again.
pub(crate) fn hash_of(folder: &Path, files: &[PathBuf]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let path = folder.join(file);
        let metadata = path.symlink_metadata()?;
        (file, metadata.permissions().mode()).hash(&mut hasher);
        if metadata.is_file() {
            fs::read(&path)?.hash(&mut hasher);
        } else {
            fs::read_link(&path)?.hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Copies files to the same paths below another folder, with their modes and times of modification.
pub(crate) fn copy(from: &Path, files: &[PathBuf], to: &Path) -> Result<()> {
    for file in files {
        let (source, target) = (from.join(file), to.join(file));
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        let modified = source.metadata()?.modified()?;
        fs::copy(&source, &target).with_context(|| file.display().to_string())?;
        File::options().write(true).open(&target)?.set_modified(modified)?;
    }
    Ok(())
}

/// The hash of a file, or of everything below a folder.
pub(crate) fn hash_of_all(path: &Path) -> Result<String> {
    if !path.is_dir() {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().context("a path ends with a name")?;
        return hash_of(folder, &[name.into()]);
    }
    let mut files = files_below(path, &|_| true)?;
    files.sort();
    hash_of(path, &files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dockerignore_lists_is_left_out() {
        let ignored = Ignored::parse("# comment\n.git\ntarget\n**/node_modules\n").unwrap();
        for path in [".git/config", "target", "target/debug/x", "a/b/node_modules/c", "node_modules"] {
            assert!(ignored.has(Path::new(path)), "{path}");
        }
        for path in [".gitignore", "a/target", "src/git"] {
            assert!(!ignored.has(Path::new(path)), "{path}");
        }
        assert!(Ignored::parse("*.md").is_err());
        assert!(Ignored::parse("!README.md").is_err());
    }
}
