//! What a case is, and how a module of cases is written.

use beckon_store::Store;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// A case: its name and what it does.
pub type Case = (&'static str, fn(Arc<dyn Store>) -> BoxFuture<'static, ()>);

/// Defines the cases of a module, their list, and the macro that makes tests of them.
///
/// `$d` is a dollar sign, for the macro that this one writes.
macro_rules! cases {
    ($d:tt $module:ident $tests:ident: $($(#[doc = $sentence:literal])+ async fn $name:ident($store:ident) $body:block)*) => {
        $($(#[doc = $sentence])+
        pub async fn $name($store: std::sync::Arc<dyn beckon_store::Store>) $body)*

        /// All cases of this module.
        pub const CASES: &[$crate::cases::Case] =
            &[$((stringify!($name), |store| Box::pin($name(store)))),*];

        /// One test for each case of a module of the suite.
        #[macro_export]
        macro_rules! $tests {
            ($d fixture:path) => {
                $(#[tokio::test]
                async fn $name() {
                    let fixture = $d fixture().await;
                    $d crate::$module::$name(fixture.store).await;
                })*
            };
        }
    };
}
pub(crate) use cases;
