//! The checks of `beckon-conformance`, each as a test on both shapes.

use beckon_cluster_tests::{shared::Profile, stage::Stage};
use beckon_testbed::plan::Shape;

macro_rules! tests_of {
    ($($module:ident { $($name:ident,)* })*) => {
        /// The names of the checks.
        pub(crate) const NAMES: &[&str] = &[$($(stringify!($name)),*),*];

        mod standalone {
            $($(#[tokio::test]
            async fn $name() {
                super::check(stringify!($name), beckon_testbed::plan::Shape::Standalone).await;
            })*)*
        }

        mod cluster {
            $($(#[tokio::test]
            async fn $name() {
                super::check(stringify!($name), beckon_testbed::plan::Shape::Cluster).await;
            })*)*
        }
    };
}

beckon_conformance::for_each_check!(tests_of);

/// Runs a check on a fleet that it shares with others. Those that wait for times get short ones.
async fn check(name: &str, shape: Shape) {
    let check = beckon_conformance::checks().into_iter().find(|check| check.name == name).unwrap();
    let profile = if check.is_slow { Profile::ShortTimes } else { Profile::Defaults };
    let stage = Stage::shared(shape, profile);
    (check.run)(stage.server().clone()).await;
}
