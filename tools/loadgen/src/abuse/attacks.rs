//! What the stranger does. Each attack goes on until the scene is over.

use super::{
    caller::{PONG, TEXT, TEXT_BEGIN, WebSocket},
    scene::Scene,
};
use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// Time limit for what the stranger waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rest after something that was refused, and between two looks at connections that are held.
const REST: Duration = Duration::from_millis(20);

/// Bytes of a message that never ends.
const UNFINISHED_LEN: usize = 30_000;

/// Registers and unregisters of one socket, or channels of one client, before the next one.
const COMMANDS: u32 = 100;

const HELLO: &str = r#"{"messageType":"hello","use_webpush":true}"#;

/// One way to harm others.
pub(super) struct Attack {
    /// What it is called on the command line.
    pub(super) name: &'static str,
    /// What the stranger does.
    pub(super) what: &'static str,
    /// How many times at once.
    pub(super) threads: usize,
    pub(super) needs_admin: bool,
    pub(super) run: fn(&Scene<'_>),
}

const fn attack(name: &'static str, what: &'static str, threads: usize, run: fn(&Scene<'_>)) -> Attack {
    Attack { name, what, threads, needs_admin: false, run }
}

/// All attacks.
pub(super) const ATTACKS: [Attack; 10] = [
    attack("silent-sockets", "silent connections to the WebSocket port", 1, |scene| {
        hold_silent(scene, scene.settings.ws);
    }),
    attack("silent-requests", "silent connections to the HTTP port", 1, |scene| {
        hold_silent(scene, scene.settings.http);
    }),
    attack("idle-requests", "HTTP connections that were answered once", 1, hold_answered),
    attack("unfinished-messages", "messages without end, with signs of life", 1, hold_unfinished),
    attack("register-churn", "registers and unregisters as fast as they are answered", 20, churn),
    attack("new-clients", "hellos of new clients, with channels", 8, fill),
    attack("full-client", "messages to one channel of a client until it is full", 1, |scene| {
        repeat(scene, fill_client);
    }),
    attack("upgrade-storm", "upgrades that are dropped at once", 8, |scene| {
        repeat(scene, |scene| scene.stranger.upgrade(scene.settings.ws, PATIENCE).map(drop));
    }),
    attack("authority-targets", "requests whose target is host:port", 2, |scene| {
        repeat(scene, |scene| {
            for to in [scene.settings.ws, scene.settings.http] {
                let request = "CONNECT example:443 HTTP/1.1\r\nHost: example\r\n\r\n";
                scene.stranger.ask(to, request, PATIENCE)?;
            }
            Ok(())
        });
    }),
    Attack {
        needs_admin: true,
        ..attack("admin-writes", "broadcasts set without a token, from a web page", 1, |scene| {
            repeat(scene, write_without_token);
        })
    },
];

/// Does something again and again, with a rest whenever it fails.
fn repeat(scene: &Scene<'_>, mut work: impl FnMut(&Scene<'_>) -> io::Result<()>) {
    while !scene.is_over() {
        match work(scene) {
            Ok(()) => scene.count(),
            Err(_) => thread::sleep(REST),
        }
    }
}

/// Holds as many connections as the settings say, and replaces those that the server has closed.
fn hold<C>(scene: &Scene<'_>, open: impl Fn() -> io::Result<C>, mut is_open: impl FnMut(&mut C) -> bool) {
    let mut held = Vec::new();
    while !scene.is_over() {
        held.retain_mut(&mut is_open);
        while held.len() < scene.settings.connections as usize && !scene.is_over() {
            match open() {
                Ok(connection) => {
                    scene.count();
                    held.push(connection);
                }
                Err(_) => break,
            }
        }
        thread::sleep(REST);
    }
}

/// Whether the server has not closed a connection on which it sends nothing.
fn is_open(stream: &mut TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.read(&mut [0; 1024]));
    match looked {
        Ok(len) => len > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn hold_silent(scene: &Scene<'_>, to: SocketAddr) {
    hold(scene, || scene.stranger.connect(to, PATIENCE), is_open);
}

fn hold_answered(scene: &Scene<'_>) {
    let to = scene.settings.http;
    let request = format!("OPTIONS /update/none HTTP/1.1\r\nHost: {to}\r\n\r\n");
    hold(scene, || scene.stranger.ask(to, &request, PATIENCE).map(|(_, stream)| stream), is_open);
}

fn hold_unfinished(scene: &Scene<'_>) {
    let begin = || {
        let mut socket = greeted(scene)?;
        socket.send(TEXT_BEGIN, &[b'a'; UNFINISHED_LEN])?;
        Ok(socket)
    };
    hold(scene, begin, |socket| socket.send(PONG, b"").is_ok());
}

/// A WebSocket of a new client.
fn greeted(scene: &Scene<'_>) -> io::Result<WebSocket> {
    let mut socket = scene.stranger.upgrade(scene.settings.ws, PATIENCE)?;
    socket.request(HELLO)?;
    Ok(socket)
}

/// A channel of this process alone.
fn channel(scene: &Scene<'_>) -> String {
    let number = scene.done.load(std::sync::atomic::Ordering::Relaxed);
    format!("{:08x}-1000-4000-8000-{number:012x}", std::process::id())
}

fn churn(scene: &Scene<'_>) {
    repeat(scene, |scene| {
        let mut socket = greeted(scene)?;
        for _ in 0..COMMANDS {
            if scene.is_over() {
                break;
            }
            let channel = channel(scene);
            for command in ["register", "unregister"] {
                socket.request(&format!(r#"{{"messageType":"{command}","channelID":"{channel}"}}"#))?;
                scene.count();
            }
        }
        Ok(())
    });
}

fn fill(scene: &Scene<'_>) {
    repeat(scene, |scene| {
        let mut socket = greeted(scene)?;
        for number in 0..COMMANDS {
            if scene.is_over() {
                break;
            }
            let id = format!("{number:08x}-1000-4000-8000-000000000000");
            socket.send(TEXT, format!(r#"{{"messageType":"register","channelID":"{id}"}}"#).as_bytes())?;
            socket.next()?;
            scene.count();
        }
        Ok(())
    });
}

/// Fills a client through one of its channels, and looks whether another channel still takes a message.
fn fill_client(scene: &Scene<'_>) -> io::Result<()> {
    let mut socket = greeted(scene)?;
    let mut endpoints = Vec::new();
    for number in 0..2 {
        let id = format!("{number:08x}-1000-4000-8000-000000000000");
        let reply = socket.request(&format!(r#"{{"messageType":"register","channelID":"{id}"}}"#))?;
        let endpoint = reply["pushEndpoint"].as_str().and_then(|endpoint| endpoint.split("://").nth(1));
        let path = endpoint.and_then(|endpoint| endpoint.split_once('/')).map(|(_, path)| format!("/{path}"));
        endpoints.push(path.ok_or_else(|| io::Error::other("no endpoint"))?);
    }
    while post(scene, &endpoints[0])? == 201 {
        scene.count();
        if scene.is_over() {
            return Ok(());
        }
    }
    let status = post(scene, &endpoints[1])?;
    if status != 201 {
        scene
            .harm
            .get_or_init(|| format!("a message to another channel of the client: HTTP status {status}"));
    }
    Ok(())
}

/// The status of the answer to a message without a body.
fn post(scene: &Scene<'_>, path: &str) -> io::Result<u16> {
    let to = scene.settings.http;
    let head = format!("POST {path} HTTP/1.1\r\nHost: {to}\r\nTTL: 600\r\n");
    let request = format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    scene.stranger.ask(to, &request, PATIENCE).map(|(status, _)| status)
}

/// Sets a broadcast as a web page would that has pointed its name to the admin listener.
fn write_without_token(scene: &Scene<'_>) -> io::Result<()> {
    let Some(admin) = scene.settings.admin else { return Ok(()) };
    let request = "PUT /broadcasts/abuse HTTP/1.1\r\nHost: evil.example:8083\r\nOrigin: http://evil.example:8083\r\n\
                   Content-Length: 1\r\nConnection: close\r\n\r\n1";
    let (status, _) = scene.stranger.ask(admin, request, PATIENCE)?;
    if !matches!(status, 401 | 403) {
        scene.harm.get_or_init(|| format!("the admin listener answers a web page with HTTP status {status}"));
    }
    Ok(())
}
