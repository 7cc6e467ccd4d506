//! Settings: a TOML file (`--config FILE`), over it the environment (`BECKON_WS_LISTEN`), over both the flags
//! (`--ws-listen`). A part of a program declares what it wants with [`settings!`](crate::settings!); a
//! [`Source`] is read by all parts of a program and then [finished](Source::finish), which reports all errors
//! together: values that cannot be parsed, settings that are missing, and unknown names.
//!
//! Several programs may share a file and an environment: each [ignores](Source::ignore) the settings of the others.
//!
//! Error messages name the origin and the key. They quote a value only if its type cannot hold a secret (a number, an
//! address, a duration).
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//!
//! beckon_ops::settings! {
//!     /// What an operator can set.
//!     pub struct Settings {
//!         /// Where WebSockets are accepted.
//!         ws_listen: SocketAddr = "127.0.0.1:8080",
//!         /// How long a client may take to say hello.
//!         hello_timeout: Duration = "30s",
//!         /// The shared store.
//!         store: String,
//!     }
//! }
//!
//! let environment = [("BECKON_STORE", "redis://127.0.0.1")];
//! let mut source = beckon_ops::config::Source::new(["--hello-timeout", "500ms"], environment);
//! let settings = Settings::read(&mut source);
//! let settings = source.finish(settings).expect("nothing is wrong");
//! assert_eq!(settings.hello_timeout, Duration::from_millis(500));
//! assert_eq!(settings.ws_listen.port(), 8080);
//! ```

mod arguments;
mod digests;
mod effective;
mod error;
mod field;
mod file;
mod help;
mod source;
mod value;

pub use arguments::{arguments, given, names};
pub use digests::Digests;
pub use effective::{Effective, Origin, effective};
pub use error::{ConfigError, ConfigErrors};
pub use field::{Field, Part};
pub use file::{schema, template, toml};
pub use help::{ABOUT_SETTINGS, HELP_WIDTH, help};
pub use source::{Request, Source, environment, program_arguments};
pub use value::{Secret, Value, in_range, parsed, parsed_option, positive};

/// Declares a struct of settings; see the [module](crate::config) for an example.
///
/// A field is `name: Type`, which is required, or `name: Type = "default"`. Its type implements [`Value`], or its
/// parser, a `fn(&str) -> Result<Type, String>`, follows as `=> parser`; the reason that a parser returns is shown
/// to the operator after the name of the setting, without the value.
///
/// The struct gets `FIELDS: &[Field]` and `read(&mut Source) -> Option<Self>`; `None` means that the source has
/// collected an error.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty $(= $default:literal)? $(=> $parse:path)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl $name {
            /// Every setting of this part, in the order in which help shows them.
            pub const FIELDS: &'static [$crate::config::Field] = &[
                $( $crate::config::Field {
                    name: stringify!($field),
                    default: $crate::settings!(@default $($default)?),
                    help: concat!($($doc, "\n"),+),
                    switch: $crate::settings!(@switch $type $(, $parse)?),
                    type_name: stringify!($type),
                }, )*
            ];

            /// Reads this part from a source. `None`: the source collected at least one error.
            #[must_use]
            pub fn read(source: &mut $crate::config::Source) -> Option<Self> {
                let mut fields = Self::FIELDS.iter();
                // Every field is read before the first failure returns, so that all errors are reported.
                $( let $field = fields
                    .next()
                    .and_then(|field| source.read(field, $crate::settings!(@parse $type $(, $parse)?))); )*
                Some(Self { $( $field: $field?, )* })
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@switch $type:ty) => { <$type as $crate::config::Value>::SWITCH };
    (@switch $type:ty, $parse:path) => { false };
    (@parse $type:ty) => { <$type as $crate::config::Value>::parse };
    (@parse $type:ty, $parse:path) => { $parse };
}
