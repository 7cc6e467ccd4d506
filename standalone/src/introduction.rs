//! What a server prints when it serves.

use crate::{
    commands::BUILD,
    config::{Config, reachable},
    itself::program,
};
use beckon_node::try_page::TryPageSetting;
use beckon_ops::exit::Failure;

/// Prints where everything is and what to try.
pub(crate) fn print(config: &Config) -> Result<(), Failure> {
    let Config { process, common, .. } = config;
    let ws = config.ws_url();
    let endpoint = &common.endpoint_url;
    let admin = reachable(process.admin_listen);
    let page = match process.try_page {
        TryPageSetting::Off => String::new(),
        TryPageSetting::On | TryPageSetting::At(_) => {
            format!("\nTo see a push message arrive in your browser, open http://{admin}/\n")
        }
    };
    let data = match config.is_embedded() {
        true => process.data_dir.display().to_string(),
        false => "the store that the settings name".into(),
    };
    beckon_ops::program::print(&format!(
        "\
beckon {version} is running. Press Ctrl-C to stop it.

  WebSocket      {ws}
  endpoints      {endpoint}/update/...
  health         http://{admin}/health
  dashboard      http://{admin}/dashboard/
  data           {data}
{page}
To see a notification arrive, run this in a second terminal:

  {program} listen {ws}

It prints an endpoint. In a third terminal, send to it:

  curl -X PUT -d version=1 ENDPOINT
",
        version = BUILD.version,
        program = program(),
    ))
}
