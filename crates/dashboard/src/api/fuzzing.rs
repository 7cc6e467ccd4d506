//! Fuzz target for the bodies of operators' requests.

use super::{Named, Path, RemoveBroadcast, SetBroadcast, Shed, SignIn, find, parse, quantity, since};
use crate::{clients::Identification, cluster::named, refusal::Refusal};
use beckon_store::NodeEntry;
use beckon_types::{BroadcastId, BroadcastVersion, KeyRing, UaidKey};
use std::sync::LazyLock;

/// What is secret wherever it is in a body.
const SECRET: &str = "hunter2hunter2";

static IDENTIFICATION: LazyLock<Identification> = LazyLock::new(|| Identification {
    keys: KeyRing::parse(&KeyRing::key_text(&[7; 32])).expect("the key is well formed"),
    uaid_key: Some(UaidKey::new(&[5; 32])),
});

static DIRECTORY: LazyLock<Vec<NodeEntry>> = LazyLock::new(|| {
    vec![named(1, "east"), named(2, "west"), named(3, "west"), named(4, "0000000000000001")]
});

/// A request: a line with its path and its query, and the rest is its body, in which `@p` is a secret, which no error shows.
pub fn operator_requests(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(target) = str::from_utf8(&data[..end]) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = String::from_utf8_lossy(data.get(end + 1..).unwrap_or_default()).replace("@p", SECRET);
    let body = body.as_bytes();
    let _ = since(query);
    let read = match Path::of(path) {
        Some(Path::Session) => parse::<SignIn>(body).map(drop),
        Some(Path::Drain | Path::Undrain) => parse::<Named>(body).and_then(|asked| find_node(&asked.node)),
        Some(Path::Shed) => parse::<Shed>(body).and_then(|shed| {
            let (quantity, _) = quantity(&shed)?;
            assert!(quantity.of(100) <= 100);
            find_node(&shed.node)
        }),
        Some(Path::SetBroadcast) => parse::<SetBroadcast>(body).and_then(|set| {
            let (id, version) = (BroadcastId::parse(&set.id)?, BroadcastVersion::parse(&set.version)?);
            assert_eq!((id.as_str(), version.as_str()), (&*set.id, &*set.version));
            Ok(())
        }),
        Some(Path::RemoveBroadcast) => {
            parse::<RemoveBroadcast>(body).and_then(|remove| Ok(BroadcastId::parse(&remove.id).map(drop)?))
        }
        Some(Path::Client(_)) => parse(body).and_then(|named| IDENTIFICATION.identify(named).map(drop)),
        Some(Path::Cluster | Path::Audit | Path::Broadcasts) => Ok(()),
        None => Err(Refusal::Path),
    };
    if let Err(refusal) = read {
        assert!(!refusal.to_string().contains(SECRET), "{refusal}");
    }
}

/// A node is found by its id, or by a name that only one has.
fn find_node(named: &str) -> Result<(), Refusal> {
    let entry = find(&DIRECTORY, named)?;
    let has_name = || DIRECTORY.iter().filter(|other| other.name == named).count() == 1;
    assert!(
        entry.node.to_string() == named.to_ascii_lowercase() || (entry.name == named && has_name()),
        "{named}"
    );
    Ok(())
}
