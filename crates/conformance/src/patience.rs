//! The patience of checks.

use std::time::Duration;

/// How long an answer or a message may take, unless a check says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);
