//! The links between the pages of a site: each leads to a file that is there, and to an anchor that is in it.

use anyhow::{Context as _, Result, ensure};
use html5gum::{Token, Tokenizer};
use percent_encoding::percent_decode_str;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

/// How much was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) pages: usize,
    /// Links within the site. Those to other sites are not followed, because a build must not depend on them.
    pub(crate) links: usize,
}

/// What a page refers to, and what can be referred to in it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

/// Pages whose links are not relative to themselves: one is shown at any address, the other inside of all pages.
const PLACELESS: &[&str] = &["404.html", "toc.html"];

/// Checks all pages below a folder.
///
/// # Errors
/// A link leads nowhere; the message names all of them.
pub(crate) fn check(folder: &Path) -> Result<Checked> {
    let mut pages = BTreeMap::new();
    let mut files = BTreeSet::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(inner) = waiting.pop() {
        for entry in fs::read_dir(inner)? {
            let path = entry?.path();
            let name = path.strip_prefix(folder)?.to_owned();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let is_page = name.extension().is_some_and(|extension| extension == "html");
            if is_page && !PLACELESS.iter().any(|placeless| name.as_os_str() == *placeless) {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                pages.insert(name.clone(), page(&text));
            }
            files.insert(name);
        }
    }
    let mut wrong = Vec::new();
    let mut links = 0;
    for (name, page) in &pages {
        for link in page.links.iter().filter(|link| !is_elsewhere(link)) {
            links += 1;
            if let Err(reason) = follow(name, link, &pages, &files) {
                wrong.push(format!("{}: {link}: {reason}", name.display()));
            }
        }
    }
    ensure!(wrong.is_empty(), "links that lead nowhere:\n  {}", wrong.join("\n  "));
    Ok(Checked { pages: pages.len(), links })
}

/// Reads a page.
fn page(html: &str) -> Page {
    let mut page = Page::default();
    // The error type of reading from memory has no values.
    for Ok(token) in Tokenizer::new(html) {
        let Token::StartTag(tag) = token else { continue };
        for (attribute, value) in &tag.attributes {
            let value = String::from_utf8_lossy(value).into_owned();
            match attribute.as_slice() {
                b"href" | b"src" => page.links.push(value),
                b"id" => {
                    page.anchors.insert(value);
                }
                _ => {}
            }
        }
    }
    page
}

/// Whether a link has a scheme or a host.
fn is_elsewhere(link: &str) -> bool {
    let end = link.find(['/', '?', '#']).unwrap_or(link.len());
    link.starts_with("//") || link[..end].contains(':')
}

/// Goes to where a link on a page leads.
fn follow(
    from: &Path,
    link: &str,
    pages: &BTreeMap<PathBuf, Page>,
    files: &BTreeSet<PathBuf>,
) -> Result<(), &'static str> {
    let (address, anchor) = link.split_once('#').unwrap_or((link, ""));
    let address = address.split('?').next().unwrap_or_default();
    let address = percent_decode_str(address).decode_utf8().map_err(|_| "it is not UTF-8")?;
    let mut to = if address.is_empty() { from.to_owned() } else { resolved(from, &address)? };
    if !files.contains(&to) {
        // A server shows the index of a folder.
        to.push("index.html");
    }
    if !files.contains(&to) {
        return Err("there is no such file");
    }
    let anchor = percent_decode_str(anchor).decode_utf8().map_err(|_| "it is not UTF-8")?;
    match pages.get(&to) {
        Some(page) if !anchor.is_empty() && !page.anchors.contains(&*anchor) => {
            Err("there is no such anchor on that page")
        }
        _ => Ok(()),
    }
}

/// A path from the site's root.
fn resolved(from: &Path, address: &str) -> Result<PathBuf, &'static str> {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(address).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return Err("it leads out of the site");
                }
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err("the site may be at any path of its host");
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(pages: &[(&str, &str)]) -> Result<Checked> {
        let folder = tempfile::tempdir().unwrap();
        for (name, html) in pages {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, html).unwrap();
        }
        check(folder.path())
    }

    #[test]
    fn links_to_files_and_anchors_are_followed() {
        let checked = site(&[
            ("index.html", r##"<a href="a/b.html#x">b</a> <a href="#y" id="y">y</a> <a href="a/">a</a>"##),
            ("a/index.html", r#"<a href="../style.css?v=1">s</a> <a href="https://example.net/x">e</a>"#),
            ("a/b.html", r#"<h2 id='x'>X</h2> <img src="./c%20d.png"> <code>&lt;a href="no"&gt;</code>"#),
            ("a/c d.png", ""),
            ("style.css", ""),
            ("404.html", r#"<a href="/nowhere">n</a>"#),
        ]);
        assert_eq!(checked.unwrap(), Checked { pages: 3, links: 5 });
    }

    #[test]
    fn every_link_to_nowhere_is_named() {
        let text = r##"<a href="b.html">1</a><a href="#z">2</a><a href="../x">3</a><a href="/x">4</a><img src=i.png>"##;
        let message = site(&[("a.html", text)]).unwrap_err().to_string();
        for expected in [
            "a.html: b.html: there is no such file",
            "a.html: #z: there is no such anchor on that page",
            "a.html: ../x: it leads out of the site",
            "a.html: /x: the site may be at any path of its host",
            "a.html: i.png: there is no such file",
        ] {
            assert!(message.contains(expected), "{expected}\n{message}");
        }
    }
}
