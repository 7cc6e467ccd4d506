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
    /// Looks at what else has to hold afterwards; the reason if it does not.
    pub(super) check: fn(&Scene<'_>) -> Option<String>,
}

const fn attack(name: &'static str, what: &'static str, threads: usize, run: fn(&Scene<'_>)) -> Attack {
    Attack { name, what, threads, needs_admin: false, run, check: |_| None }
}

/// All attacks.
pub(super) const ATTACKS: [Attack; 9] = [
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
        check: |scene| write_without_token(scene).err(),
        ..attack("admin-writes", "broadcasts set without a token, from a web page", 1, |scene| {
            repeat(scene, |scene| write_without_token(scene).map_err(io::Error::other));
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

/// Sets a broadcast as a web page would that has pointed its name to the admin listener. The reason if it works.
fn write_without_token(scene: &Scene<'_>) -> Result<(), String> {
    let Some(admin) = scene.settings.admin else { return Ok(()) };
    let request = "PUT /broadcasts/abuse HTTP/1.1\r\nHost: evil.example:8083\r\nOrigin: http://evil.example:8083\r\n\
                   Content-Length: 1\r\nConnection: close\r\n\r\n1";
    match scene.stranger.ask(admin, request, PATIENCE) {
        Ok((401 | 403, _)) => Ok(()),
        Ok((status, _)) => {
            Err(format!("the admin listener answers a foreign page with HTTP status {status}"))
        }
        Err(error) => Err(format!("the admin listener does not answer: {error}")),
    }
}
