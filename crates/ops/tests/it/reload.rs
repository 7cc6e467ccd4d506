//! A reload takes all new settings or none, and says what it has done.

use beckon_ops::{
    config::{ConfigErrors, Digests, Part, Source},
    logging::LogSettings,
    program::ServerConfig,
    reload::{Reload, Reloadables, Reloaded},
};
use std::{
    fs,
    num::NonZero,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

beckon_ops::settings! {
    /// Some settings.
    pub(crate) struct Tested {
        /// A number that can change.
        number: u32 = "1",
        /// A word that cannot.
        word: String = "a",
        /// A file.
        file: Option<PathBuf> = "",
        /// A file that is read whenever it is used.
        fresh: Option<PathBuf> = "",
    }
}

#[derive(Debug)]
struct Config {
    tested: Tested,
    log: LogSettings,
}

impl ServerConfig for Config {
    fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        let (tested, log) = (Tested::read(&mut source), LogSettings::read(&mut source));
        let config = || Some(Self { tested: tested?, log: log? });
        source.finish(config())
    }

    fn log(&self) -> &LogSettings {
        &self.log
    }

    fn threads(&self) -> Option<NonZero<u8>> {
        None
    }
}

const PARTS: &[Part] = &[Part { heading: "Tested", fields: Tested::FIELDS }];

/// A program with settings in a file.
struct Program {
    folder: tempfile::TempDir,
    reload: Reload,
    /// The number that is in use.
    number: Arc<AtomicU32>,
}

impl Program {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        fs::write(&path, text).unwrap();
        let argument = format!("--config={}", path.display());
        let read = move || Source::new([argument.clone()], [("", ""); 0]);
        let in_use = Digests::of(&read(), PARTS);
        Self { folder, reload: Reload::new(PARTS, in_use, read), number: Arc::default() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Two parts. The second one refuses the number 13.
    async fn serve(&self) {
        let (number, mut parts) = (self.number.clone(), Reloadables::<Config>::default());
        parts.add(&["number"], move |config| {
            let (taken, number) = (number.clone(), config.tested.number);
            Ok(Box::new(move || taken.store(number, Ordering::SeqCst)))
        });
        parts.add(&["file"], |config| match config.tested.number {
            13 => Err(ConfigErrors::one("number", "unlucky")),
            _ => Ok(Box::new(|| {})),
        });
        parts.add_files(&["fresh"], |config| match &config.tested.fresh {
            Some(path) if !path.exists() => Err(ConfigErrors::one("fresh", "not there")),
            _ => Ok(()),
        });
        self.reload.serve(parts).await;
    }

    async fn reload(&self, text: &str) -> (Option<Reloaded>, u32) {
        self.write("settings.toml", text);
        let reloaded = self.reload.reload_in_background().await.ok();
        (reloaded, self.number.load(Ordering::SeqCst))
    }
}

fn reloaded(changed: &[&'static str], needs_restart: &[&'static str]) -> Option<Reloaded> {
    Some(Reloaded { changed: changed.to_vec(), needs_restart: needs_restart.to_vec() })
}

#[tokio::test]
async fn a_reload_takes_what_can_change_or_nothing() {
    let program = Program::with("number = 1");
    program.serve().await;
    for (text, expected, number) in [
        ("number = 1", reloaded(&[], &[]), 1),
        ("number = 2\nword = \"b\"", reloaded(&["number"], &["word"]), 2),
        ("number = 2\nword = \"b\"", reloaded(&[], &["word"]), 2),
        ("number = x", None, 2),
        ("number = 3\nnonsense = 1", None, 2),
        ("number = 13", None, 2),
        ("", reloaded(&["number"], &[]), 1),
    ] {
        assert_eq!(program.reload(text).await, (expected, number), "{text}");
    }
}

#[tokio::test]
async fn a_file_with_other_contents_has_changed() {
    let program = Program::with("");
    program.serve().await;
    let path = program.folder.path().join("a.pem");
    let text = format!("file = \"{}\"", path.display());
    program.write("a.pem", "one");
    assert_eq!(program.reload(&text).await.0, reloaded(&["file"], &[]));
    assert_eq!(program.reload(&text).await.0, reloaded(&[], &[]));
    program.write("a.pem", "two");
    assert_eq!(program.reload(&text).await.0, reloaded(&["file"], &[]));
}

#[tokio::test]
async fn a_file_that_is_read_whenever_it_is_used_has_changed_and_another_one_needs_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| files.path().join(name));
    let text = |path: &PathBuf| format!("fresh = \"{}\"", path.display());
    fs::write(&one, "1").unwrap();
    let program = Program::with(&text(&one));
    program.serve().await;
    fs::write(&one, "2").unwrap();
    assert_eq!(program.reload(&text(&one)).await.0, reloaded(&["fresh"], &[]));
    assert_eq!(program.reload(&text(&one)).await.0, reloaded(&[], &[]));
    assert_eq!(program.reload(&text(&other)).await.0, None, "it is checked");
    fs::write(&other, "2").unwrap();
    assert_eq!(program.reload(&text(&other)).await.0, reloaded(&[], &["fresh"]));
}

#[tokio::test]
async fn a_reload_that_comes_while_the_program_starts_is_done_when_it_has_started() {
    let program = Program::with("number = 1");
    assert_eq!(program.reload("number = 5").await, (reloaded(&[], &[]), 0));
    program.serve().await;
    assert_eq!(program.number.load(Ordering::SeqCst), 5);
}
