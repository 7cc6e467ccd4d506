//! `beckon doctor` finds what real proxies, a real Redis and wrong settings break, and `beckon config` what is wrong
//! with settings.

use beckon_cluster_tests::stage::Stage;
use beckon_testbed::{
    folder,
    plan::{Plan, Shape},
    ports::Port,
    process::{self, Process},
    programs::Program,
    redis::{Options, RedisServer},
    wait_until,
};
use std::{fs, net::TcpStream, path::Path};
use tempfile::TempDir;

/// Runs `beckon doctor` with the settings of a server that runs, and more. Returns its exit code and what it wrote.
fn examine(stage: &Stage, more: &[&str]) -> (Option<i32>, String) {
    let addresses = stage.nodes()[0].addresses();
    let (ws, http) = (addresses.ws.unwrap().to_string(), addresses.http.unwrap().to_string());
    let (admin, url) = (addresses.admin.to_string(), format!("http://{http}"));
    let folder = folder::temporary();
    let data_dir = folder.path().join("data").display().to_string();
    let own = [
        "doctor",
        "--ws-listen",
        &ws,
        "--http-listen",
        &http,
        "--admin-listen",
        &admin,
        "--data-dir",
        &data_dir,
    ];
    let mut arguments = [&own[..], more].concat();
    if !more.contains(&"--endpoint-url") {
        arguments.extend(["--endpoint-url", &url]);
    }
    let (status, output) = process::run(&Program::Beckon.path(), &arguments, &[]);
    (status.code(), output)
}

/// nginx with one server for each port, and what each does with what it gets.
struct Nginx {
    _process: Process,
    _ports: Vec<Port>,
    _folder: TempDir,
    addresses: Vec<String>,
}

impl Nginx {
    fn start(locations: &[String]) -> Self {
        let folder = folder::temporary();
        let at = folder.path().display().to_string();
        let ports: Vec<Port> = locations.iter().map(|_| Port::free()).collect();
        let servers: String = ports
            .iter()
            .zip(locations)
            .map(|(port, location)| {
                format!("server {{ listen {}; location / {{ {location} }} }}\n", port.address())
            })
            .collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/{name};\n"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{servers}}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let arguments = ["-e", "stderr", "-c", file.to_str().unwrap()];
        let process =
            Process::start(Path::new("/usr/sbin/nginx"), &arguments, &[], &folder.path().join("log"));
        for port in &ports {
            wait_until("nginx listens", || TcpStream::connect(port.address()).ok());
        }
        let addresses = ports.iter().map(|port| port.address().to_string()).collect();
        Self { _process: process, _ports: ports, _folder: folder, addresses }
    }
}

#[test]
fn nothing_is_wrong_with_a_server_that_is_well() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let (code, output) = examine(&stage, &["--idle", "500ms"]);
    assert_eq!(code, Some(0), "{output}");
    for fine in ["a notification arrives at once", "messages of 5630 bytes pass", "idle for 0 s is of use"] {
        assert!(output.contains(fine), "{fine}\n{output}");
    }
    assert!(!output.contains("FAULT"), "{output}");
}

#[test]
fn a_proxy_that_breaks_the_service_is_found() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let addresses = stage.nodes()[0].addresses();
    let (ws, http) = (addresses.ws.unwrap(), addresses.http.unwrap());
    let upgrade = format!(
        "proxy_pass http://{ws}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection upgrade;"
    );
    let nginx = Nginx::start(&[
        format!("client_max_body_size 1k; proxy_pass http://{http};"),
        format!("proxy_pass http://{ws};"),
        format!("{upgrade} proxy_read_timeout 1s;"),
        "return 200 'a site of another kind';".to_owned(),
        upgrade,
    ]);
    let [small, without_upgrade, impatient, other, good] = nginx.addresses.as_slice() else { unreachable!() };
    let cases = [
        (format!("--endpoint-url http://{small}"), Some(1), "raise the proxy's limit of bodies"),
        (format!("--endpoint-url http://{other}"), Some(1), "not as Beckon does"),
        (format!("--ws ws://{without_upgrade}/"), Some(1), "it has to pass `Upgrade`"),
        (format!("--ws ws://{impatient}/ --idle 4s"), Some(1), "Set the proxy's idle time-out above"),
        (format!("--ws ws://{good}/ --idle 4s"), Some(0), "idle for 4 s is of use"),
    ];
    for (more, expected, found) in cases {
        let more: Vec<&str> = more.split(' ').collect();
        let (code, output) = examine(&stage, &more);
        assert_eq!(code, expected, "{more:?}\n{output}");
        assert!(output.contains(found), "{found}\n{output}");
    }
}

#[test]
fn a_redis_that_forgets_is_found() {
    let arguments = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let forgetful = RedisServer::start_with(Options { arguments, ..Options::default() });
    let (status, output) =
        process::run(&Program::Beckon.path(), &["doctor", "--store", &forgetful.url()], &[]);
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("maxmemory-policy is allkeys-lru"), "{output}");
    assert!(output.contains("appendonly is off"), "{output}");

    let arguments = ["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"].map(str::to_owned).to_vec();
    let kept = RedisServer::start_with(Options { arguments, appendonly: true, ..Options::default() });
    let (status, output) = process::run(&Program::Beckon.path(), &["doctor", "--store", &kept.url()], &[]);
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("appendonly is on") && !output.contains("FAULT"), "{output}");
}

#[test]
fn each_reason_is_said_once() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let nobody = Port::free();
    let nobody = nobody.address();
    let mut outputs = vec![
        examine(&stage, &["--ws", &format!("ws://{nobody}/")]).1,
        examine(&stage, &["--endpoint-url", &format!("http://{nobody}")]).1,
    ];
    let settings = [("BECKON_ADMIN_LISTEN", &*nobody.to_string())];
    for store in [format!("redis://{nobody}"), "redis://".to_owned(), format!("redis://{nobody}/7")] {
        let arguments = ["doctor", "--store", &store];
        outputs.push(process::run(&Program::Beckon.path(), &arguments, &settings).1);
    }
    for output in &outputs {
        assert!(output.contains("FAULT"), "{output}");
        for line in output.lines() {
            assert!(line.matches("refused").count() <= 1 && line.matches("os error").count() <= 1, "{line}");
            let parts: Vec<&str> = line.trim_start_matches("FAULT  ").split(": ").collect();
            assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "{line}");
        }
    }
}

#[test]
fn settings_are_checked_and_shown_without_a_start() {
    let folder = folder::temporary();
    let file = folder.path().join("beckon.toml");
    let file = file.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let (status, output) = process::run(&Program::Beckon.path(), arguments, &[]);
        (status.code(), output)
    };
    fs::write(file, "hello_timeout = \"30\"\nkeepalive_interal = \"5m\"\n").unwrap();
    let (code, output) = run(&["config", "check", "--config", file]);
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("`30` is not a duration; write 500ms"), "{output}");
    assert!(output.contains("did you mean keepalive_interval?"), "{output}");

    let (code, template) = run(&["config", "template"]);
    assert_eq!(code, Some(0));
    fs::write(file, template).unwrap();
    let (code, output) = run(&["config", "check", "--config", file]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("all are defaults"), "{output}");
    assert_eq!(run(&["config", "check", "--for", "router"]).0, Some(64));
    assert_eq!(run(&["config", "schema", "--for=endpoint-node"]).0, Some(0));
}
