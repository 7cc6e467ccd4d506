//! Fuzz target for exports. `fuzz/` includes this file, because a program has no library.

use super::{
    file::{Item, Reader, Writer},
    order::Keys,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// When the export is read, since the Unix epoch.
const NOW: Duration = Duration::from_secs(1_795_730_000);

/// The lines of an export, without the last one. What is read is written and read again, unless the lines have another form
/// than what is written.
pub(crate) fn export(data: &[u8]) {
    let _ = read(data);
    let lines = |kind: &str| data.windows(kind.len()).filter(|window| *window == kind.as_bytes()).count();
    let end = end(data, lines("{\"client\""), lines("{\"message\""), lines("{\"broadcast\""));
    if let Some((keys, items)) = read(&[data, end.as_bytes()].concat()) {
        write_and_read(&keys, &items);
    }
}

fn write_and_read(keys: &Keys, items: &[Item]) {
    let mut writer = Writer::new(Vec::new(), keys).expect("memory does not fail");
    for item in items {
        writer.write(item, NOW).expect("memory does not fail");
    }
    let (_, written) = writer.finish().expect("memory does not fail");
    assert!(read(&[&written, "\n".as_bytes()].concat()).is_none(), "something follows the end");
    let (again, found) = read(&written).expect("what is written can be read");
    let secrets = |keys: &Keys| (keys.token_keys.secret_text(), keys.uaid_key.secret_text());
    assert_eq!(secrets(&again), secrets(keys));
    assert_eq!(format!("{found:?}"), format!("{items:?}"));
}

/// The keys and the items of a whole export.
fn read(text: &[u8]) -> Option<(Keys, Vec<Item>)> {
    let mut reader = Reader::new(text).ok()?;
    let mut items = Vec::new();
    while let Some(item) = reader.next(NOW).ok()? {
        items.push(item);
    }
    Some((reader.keys, items))
}

/// The last line of an export with these lines before it.
fn end(lines: &[u8], clients: usize, messages: usize, broadcasts: usize) -> String {
    let sha256 = URL_SAFE_NO_PAD.encode(Sha256::digest(lines));
    format!(
        "{{\"end\":{{\"clients\":{clients},\"messages\":{messages},\"broadcasts\":{broadcasts},\"sha256\":\"{sha256}\"}}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_exports() {
        replay("export", super::export);
    }
}
