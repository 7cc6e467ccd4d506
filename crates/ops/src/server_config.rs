//! What a program needs of the settings of a server.

use crate::{
    config::{ConfigErrors, Source},
    logging::LogSettings,
};
use std::num::NonZero;

/// The settings of a server.
pub trait ServerConfig: Sized {
    /// Reads all settings.
    ///
    /// # Errors
    /// Everything that is wrong with them, together.
    fn read(source: Source) -> Result<Self, ConfigErrors>;

    /// What is logged, and how.
    fn log(&self) -> &LogSettings;

    /// How many worker threads serve. `None`: one for each core.
    fn threads(&self) -> Option<NonZero<u8>>;
}
