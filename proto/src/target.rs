//! Which run of a node a call is for, and which one has answered: an address may lead to another node than the one that
//! announced it, such as a restarted one, or one of several behind a name.

use crate::status::Failure;
use beckon_types::NodeId;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

/// The metadata of a request with the node that is meant, and of a response with the node that answers.
const NODE: &str = "beckon-node";

/// Says which node is meant, or answers.
pub fn write(metadata: &mut MetadataMap, node: NodeId) {
    if let Ok(value) = AsciiMetadataValue::try_from(node.to_string()) {
        metadata.insert(NODE, value);
    }
}

/// The node that the metadata names; `None` if it names none.
pub fn read(metadata: &MetadataMap) -> Option<NodeId> {
    NodeId::parse(metadata.get(NODE)?.to_str().ok()?)
}

/// Checks that the metadata names this node.
///
/// # Errors
/// [`Failure::WrongNode`]: it names another one, or none.
pub fn check(metadata: &MetadataMap, node: NodeId) -> Result<(), Failure> {
    if read(metadata) == Some(node) { Ok(()) } else { Err(Failure::WrongNode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_node_that_is_named_passes() {
        let mut metadata = MetadataMap::new();
        assert_eq!(check(&metadata, NodeId(7)), Err(Failure::WrongNode), "no node is named");
        write(&mut metadata, NodeId(7));
        assert_eq!(check(&metadata, NodeId(7)), Ok(()));
        assert_eq!(check(&metadata, NodeId(8)), Err(Failure::WrongNode));
    }
}
