//! What this program is called where it was started.

/// The command that starts this program from the current directory.
pub(crate) fn program() -> String {
    let here = std::env::current_dir().ok();
    let itself = std::env::current_exe().ok();
    match (here, itself) {
        (Some(here), Some(itself)) => match itself.strip_prefix(&here) {
            Ok(path) => path.display().to_string(),
            Err(_) => "beckon".into(),
        },
        _ => "beckon".into(),
    }
}
