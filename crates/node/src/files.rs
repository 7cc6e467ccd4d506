//! How many connections a process may have: each is an open file.

/// The share of a process's open files that connections may take. The rest is for the store, other nodes, operators,
/// and connections that are not upgraded yet.
const SHARE: f64 = 0.95;

/// How many connections may take so many files.
pub fn connections_max(files: u64) -> u64 {
    (files as f64 * SHARE) as u64
}

/// The number of connections that `setting` asks for, or as many as may take these files; `None` if the files are
/// unlimited or their number is unknown. A number that does not fit is logged.
pub fn fitting(setting: &'static str, connections: u64, files: Option<u64>) -> u64 {
    match files.map(connections_max) {
        Some(most) if most < connections => {
            tracing::warn!(
                setting,
                connections,
                most,
                "more connections than the limit of open files allows"
            );
            most
        }
        Some(_) | None => connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_open_files() {
        assert_eq!(connections_max(20_000), 19_000);
        for (connections, files, expected) in
            [(10_000, None, 10_000), (10_000, Some(1_000_000), 10_000), (10_000, Some(1024), 972)]
        {
            assert_eq!(fitting("http_max_connections", connections, files), expected, "{files:?}");
        }
    }
}
