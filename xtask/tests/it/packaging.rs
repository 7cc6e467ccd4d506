//! What is packed and what describes it agree.

use crate::tree::{assert_none, files, read};

/// From here on, units say what the program may do, which is the same for all.
const FIRST_LIMIT: &str = "LimitNOFILE=";

#[test]
fn units_limit_all_programs_in_the_same_way() {
    let units = files("deploy/systemd");
    assert!(units.len() > 2, "{units:?}");
    let limits = |unit: &String| {
        let text = read(unit);
        let (_, limits) =
            text.split_once(FIRST_LIMIT).unwrap_or_else(|| panic!("{unit} has no {FIRST_LIMIT}"));
        limits.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    let expected = limits(&units[0]);
    let different: Vec<String> = units.iter().filter(|unit| limits(unit) != expected).cloned().collect();
    assert_none(&format!("not the same limits as in {}", units[0]), &different);
}

#[test]
fn settings_that_are_packed_exist() {
    let documented = read("docs/configuration.md");
    let mut offenders = Vec::new();
    let mut found = 0;
    for file in files("deploy/etc") {
        for (name, _) in read(&file).lines().filter_map(|line| line.split_once(" = ")) {
            found += 1;
            let name = name.trim_start_matches('#');
            if !documented.contains(&format!("\n| `{name}` |")) {
                offenders.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(found > 4, "{found}");
    assert_none("a setting that does not exist", &offenders);
}

#[test]
fn documents_name_the_files_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (document, file) in [
        ("README.md", format!("beckon_{version}-1_amd64.deb")),
        ("docs/install.md", format!("beckon_{version}-1_amd64.deb")),
        ("docs/install.md", format!("beckon-{version}-x86_64-unknown-linux-gnu.tar.gz")),
        ("docs/install.md", format!("beckon-{version}-1.x86_64.rpm")),
        ("docs/install.md", format!("ghcr.io/OWNER/REPOSITORY:v{version}")),
        ("docs/tutorials/firefox-fleet.md", format!("beckon_{version}-1_amd64.deb")),
        ("docs/tutorials/unifiedpush.md", format!("beckon_{version}-1_amd64.deb")),
        ("docs/tutorials/unifiedpush.md", format!("beckon-{version}-x86_64-unknown-linux-gnu/bin")),
    ] {
        assert!(read(document).contains(&file), "{document} does not name {file}");
    }
}
