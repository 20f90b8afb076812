//! The quickstart program, measured from outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{Goal, Table, median, nanos, process, show};

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The body of `GET path`, once somebody answers.
fn ask(address: SocketAddr, path: &str, until: Instant) -> String {
    loop {
        assert!(Instant::now() < until, "nobody answers at {address}");
        let Ok(mut stream) = TcpStream::connect(address) else {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(request.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok() {
            return answer;
        }
    }
}

pub(crate) fn run(quickstart: &Path, table: &mut Table) {
    let folder = std::env::temp_dir().join(format!("picloud-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = folder.join("greet.rhai");
    let source = |version: usize| format!("//! route GET /greet\n\"version {version};\"");
    let (mut starts, mut memory, mut saves) = (Vec::new(), Vec::new(), Vec::new());
    let mut version = 0;
    for _ in 0..7 {
        std::fs::write(&script, source(version)).unwrap();
        let address = free_port();
        let begin = Instant::now();
        let mut child = Command::new(quickstart)
            .args(["--watch", "--listen", &address.to_string(), "--scripts"])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = begin + Duration::from_secs(10);
        assert!(ask(address, "/greet", until).contains(&format!("version {version};")));
        starts.push(nanos(begin.elapsed()));
        std::thread::sleep(Duration::from_millis(300));
        memory.push(process(child.id()).0);
        for _ in 0..3 {
            version += 1;
            std::fs::write(&script, source(version)).unwrap();
            let saved = Instant::now();
            while !ask(address, "/greet", until).contains(&format!("version {version};")) {}
            saves.push(nanos(saved.elapsed()));
            std::thread::sleep(Duration::from_millis(30));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let (start, memory, save) = (median(&mut starts), median(&mut memory), median(&mut saves));
    table.row("quickstart: start to first answer", show(start), "", start / 1e6, " ms", Goal::AtMost(30.0));
    table.row("quickstart: idle memory", format!("{memory:.1} MiB"), "", memory, " MiB", Goal::AtMost(20.0));
    table.row("quickstart --watch: save to live", show(save), "", save / 1e6, " ms", Goal::AtMost(50.0));
}
