//! The server's end of the connection to a supervisor: starts it, connects, connects again.

use std::fs::OpenOptions;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::Layout;
use super::protocol::{Hello, Order, VERSION, Word, check_hello, read_line, read_lines, write_line};
use crate::domain::ids::{AgentName, AttemptName};
use crate::target::{Report, ReportSink};

/// How long a supervisor may take from its start to its hello; it may have a long journal to read.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Pauses between attempts to connect: the first and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Bytes that wait to be written. A supervisor that lets so much wait is stuck; it is connected to anew, after which
/// everything owed is delivered again.
const MAX_WAITING: usize = 64 << 20;

/// The supervisor's log is begun anew when a supervisor is started and it has more bytes than this.
const MAX_SUPERVISOR_LOG: u64 = 1 << 20;

/// Observations that are handed over together; keeps one batch of the engine small.
const MAX_REPORT: usize = 1_000;

/// A connection that mends itself.
pub struct Link {
    agent: AgentName,
    layout: Layout,
    program: PathBuf,
    sink: ReportSink,
    out: Mutex<Out>,
    /// Something changed in `out`.
    changed: Condvar,
}

#[derive(Default)]
struct Out {
    /// The connection, once both sides have said hello.
    stream: Option<UnixStream>,
    /// Lines to be written.
    lines: Vec<u8>,
    closed: bool,
}

impl Link {
    /// A link that does nothing before [`Link::run`].
    pub fn new(agent: AgentName, layout: Layout, program: PathBuf, sink: ReportSink) -> Self {
        Self { agent, layout, program, sink, out: Mutex::default(), changed: Condvar::new() }
    }

    /// Sends orders, or drops them while there is no connection: after the next one the server says them again.
    pub fn send(&self, orders: &[Order]) {
        if self.out().stream.is_none() {
            return;
        }
        let mut lines = Vec::new();
        orders.iter().for_each(|order| write_line(&mut lines, order));
        let mut out = self.out();
        let Some(stream) = &out.stream else { return };
        if out.lines.len() + lines.len() > MAX_WAITING {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        out.lines.append(&mut lines);
        self.changed.notify_all();
    }

    /// Ends [`Link::run`].
    pub fn close(&self) {
        let mut out = self.out();
        out.closed = true;
        if let Some(stream) = out.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Keeps the connection until the link is closed.
    pub fn run(&self) {
        let mut supervisor: Option<Child> = None;
        let mut pause = BACK_OFF.0;
        let mut last_words = String::new();
        while !self.out().closed {
            let words = match self.connect(&mut supervisor) {
                Ok((stream, reader)) => {
                    pause = BACK_OFF.0;
                    self.talk(stream, reader)
                }
                Err(error) => error.to_string(),
            };
            if self.out().closed {
                break;
            }
            // Said once, not at every attempt.
            if words != last_words {
                (self.sink)(Report::Down(self.agent.clone(), words.clone()));
                last_words = words;
            }
            let out = self.out();
            if !out.closed {
                drop(self.changed.wait_timeout(out, pause));
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
        // A supervisor that has already ended is not left behind as a zombie; one that lives is init's from now on.
        let _ = supervisor.map(|mut child| child.try_wait());
    }

    /// Carries messages in both directions; returns why the connection ended.
    fn talk(&self, stream: UnixStream, mut reader: BufReader<UnixStream>) -> String {
        let writing = match stream.try_clone() {
            Ok(writing) => writing,
            Err(error) => return format!("the connection to the supervisor cannot be shared: {error}"),
        };
        {
            let mut out = self.out();
            if out.closed {
                return String::new();
            }
            out.stream = Some(stream);
        }
        (self.sink)(Report::Up(self.agent.clone()));
        let end = thread::scope(|scope| {
            scope.spawn(|| self.write(writing));
            let mut known = Vec::new();
            let end = loop {
                match read_lines::<Word>(&mut reader) {
                    Ok(words) if words.is_empty() => break "the supervisor has ended".to_owned(),
                    Ok(words) => self.report(words, &mut known),
                    Err(error) => break format!("the connection to the supervisor ended: {error}"),
                }
            };
            let mut out = self.out();
            if let Some(stream) = out.stream.take() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.changed.notify_all();
            end
        });
        self.out().lines.clear();
        end
    }

    fn report(&self, words: Vec<Word>, known: &mut Vec<AttemptName>) {
        let mut seen = Vec::with_capacity(words.len());
        for word in words {
            match word {
                Word::Hello(_) => {}
                Word::Known { attempts, more } => {
                    known.extend(attempts);
                    if !more {
                        (self.sink)(Report::Known(self.agent.clone(), std::mem::take(known)));
                    }
                }
                Word::Seen(observation) => seen.push(observation),
            }
            if seen.len() == MAX_REPORT {
                (self.sink)(Report::Seen(self.agent.clone(), std::mem::take(&mut seen)));
            }
        }
        if !seen.is_empty() && !self.out().closed {
            (self.sink)(Report::Seen(self.agent.clone(), seen));
        }
    }

    fn write(&self, mut stream: UnixStream) {
        let mut lines = Vec::new();
        loop {
            {
                let mut out = self.out();
                while out.lines.is_empty() && out.stream.is_some() {
                    out = self.changed.wait(out).expect("as in `out`");
                }
                if out.stream.is_none() {
                    return;
                }
                std::mem::swap(&mut lines, &mut out.lines);
            }
            if stream.write_all(&lines).is_err() {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            lines.clear();
        }
    }

    /// Connects to the supervisor, which is started when nobody listens.
    fn connect(&self, supervisor: &mut Option<Child>) -> io::Result<(UnixStream, BufReader<UnixStream>)> {
        let deadline = Instant::now() + START_PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.try_connect() {
                Ok(stream) => return greet(stream),
                Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    return Err(annotate("the supervisor cannot be reached", &error));
                }
                Err(error) if Instant::now() >= deadline => {
                    return Err(annotate("the supervisor does not listen", &error));
                }
                Err(_) => {}
            }
            if self.out().closed {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match supervisor.as_mut().map(Child::try_wait).transpose()?.flatten() {
                // It lives, and will listen soon.
                None if supervisor.is_some() => {}
                // It failed; saying so again and again at this pace helps nobody.
                Some(status) if !status.success() => {
                    *supervisor = None;
                    return Err(io::Error::other(format!("the supervisor failed ({status}): {}", self.last_line())));
                }
                // There is none, or it found another one, who is on his way out.
                _ => *supervisor = Some(self.start()?),
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn try_connect(&self) -> io::Result<UnixStream> {
        let (_root, path) = self.layout.short_socket()?;
        UnixStream::connect(path)
    }

    fn start(&self) -> io::Result<Child> {
        let mut log = OpenOptions::new().create(true).append(true).open(self.layout.supervisor_log())?;
        if log.seek(SeekFrom::End(0))? > MAX_SUPERVISOR_LOG {
            log.set_len(0)?;
        }
        Command::new(&self.program)
            .args(["supervise", "--dir"])
            .arg(self.layout.root())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| annotate(&format!("{} cannot be started", self.program.display()), &error))
    }

    /// The last words of a supervisor that failed.
    fn last_line(&self) -> String {
        let mut text = String::new();
        if let Ok(file) = std::fs::File::open(self.layout.supervisor_log()) {
            let _ = file.take(2 * MAX_SUPERVISOR_LOG).read_to_string(&mut text);
        }
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().expect("nobody panics while holding it")
    }
}

/// Exchanges hellos.
fn greet(mut stream: UnixStream) -> io::Result<(UnixStream, BufReader<UnixStream>)> {
    let mut hello = Vec::new();
    write_line(&mut hello, &Order::Hello(Hello { version: VERSION }));
    stream.write_all(&hello)?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
    match read_line(&mut reader)? {
        Some(Word::Hello(hello)) => check_hello(hello)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the supervisor did not say hello")),
    }
    stream.set_read_timeout(None)?;
    Ok((stream, reader))
}

fn annotate(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
