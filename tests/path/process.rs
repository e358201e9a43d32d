//! The server as a process of its own, which a test can kill at any moment.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::site::Site;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A running `tidegate serve`; it ends with this value.
pub struct ServerProcess {
    child: Child,
    address: String,
}

impl ServerProcess {
    /// Starts it on the site's repository and data, on a port that it picks.
    pub fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    /// As [`Self::start`], with variables of its own in its environment.
    pub fn start_with(site: &Site, env: &[(&str, String)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        Self::start_by(site, command)
    }

    /// As [`Self::start`]; `command` is the program, or what starts it in other circumstances.
    pub fn start_by(site: &Site, mut command: Command) -> Self {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--branch", "main", "--repo"])
            .arg(site.bare())
            .arg("--data-dir")
            .arg(site.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        while !line.starts_with("serving ") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the server says where it listens");
        }
        // What else it says is read and thrown away, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address: line.trim().trim_start_matches("serving ").to_owned() }
    }

    /// `kill -9`, and another one on the same data.
    pub fn kill_and_restart(&mut self, site: &Site) {
        self.kill();
        *self = Self::start(site);
    }

    /// What the command line answers as JSON; null when it answers none.
    pub fn ask(&self, args: &[&str]) -> Value {
        let output = Command::new(PROGRAM).args(args).args(["-o", "json", "--server", &self.address]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// What the server says at `/metrics`.
    #[allow(dead_code)] // benchmarks ask
    pub fn metrics(&self) -> String {
        use std::io::{Read, Write};
        let mut text = String::new();
        let mut stream = std::net::TcpStream::connect(self.address.trim_start_matches("http://")).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The id of the process.
    #[allow(dead_code)] // not every test asks
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    #[allow(dead_code)] // not every test lets it
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits until the commit that was pushed last is applied.
    pub fn until_applied(&self, site: &Site) {
        let commit = site.git(&["rev-parse", "HEAD"]);
        let begun = Instant::now();
        while self.ask(&["sync", "status"])["applied"] != commit.as_str() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", self.ask(&["sync", "status"]));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Moments to kill at: pauses of 20 to 270 ms, the same ones in each run of a test.
pub struct Pauses(u64);

impl Pauses {
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub fn sleep(&mut self) {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        std::thread::sleep(Duration::from_millis(20 + self.0 % 250));
    }
}
