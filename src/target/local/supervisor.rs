//! The process that outlives the server: parent of all operations of one local agent.
//!
//! Its threads: the main one accepts connections, each of which has a reader and a writer; two spawners start what is
//! queued; the reaper waits for ends; the clock does what is due; the sweeper tidies when things are quiet. What they
//! share is the [`Roster`], under one lock.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::adopt::{boot_id, since_boot};
use super::journal::{Journal, Process};
use super::layout::Layout;
use super::litter::Litter;
use super::process::{CANNOT_START, base_env, collect, start};
use super::protocol::{Hello, MAX_KNOWN, Order, VERSION, Word, check_hello, read_lines, write_line};
use super::roster::Roster;
use super::task::Task;
use super::{LocalError, logs, note};
use crate::domain::dispatch::observation::{Cause, Seen};
use crate::domain::ids::AttemptName;

/// How long a supervisor stays without a server and without anything to run; a server starts a new one in milliseconds.
const IDLE: Duration = Duration::from_secs(60);

/// How often logs are capped and the supervisor asks itself whether it is still needed.
const TICK: Duration = Duration::from_secs(1);

/// Processes started at the same time. Starting is a matter of the kernel; more than two only wait for one another.
const SPAWNERS: usize = 2;

/// Launches that wait for a spawner; when there are more, the supervisor stops reading and the server has to wait.
const MAX_QUEUED: usize = 10_000;

/// How long the news that a run has started waits for its end, so that the server hears of a very short run once, not
/// twice: half as many messages, batches and commits.
const LINGER: Duration = Duration::from_millis(3);

/// Ends that are taken from the kernel at once.
const MAX_EVENTS: usize = 64;

/// What can be set from outside, through the environment.
#[derive(Debug, Clone, Copy)]
struct Options {
    /// `TIDEGATE_SUPERVISOR_IDLE_MS`, instead of [`IDLE`].
    idle: Duration,
    /// `TIDEGATE_SUPERVISOR_MAX_LOG_BYTES`, instead of [`logs::MAX_LOG_BYTES`].
    max_log: u64,
}

impl Options {
    fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        Self {
            idle: number("TIDEGATE_SUPERVISOR_IDLE_MS").map_or(IDLE, Duration::from_millis),
            max_log: number("TIDEGATE_SUPERVISOR_MAX_LOG_BYTES").unwrap_or(logs::MAX_LOG_BYTES),
        }
    }
}

/// Runs the supervisor of the agent in a directory until it is not needed any more. Returns at once when the agent has
/// one already.
pub fn supervise(dir: &Path) -> Result<(), LocalError> {
    let failed = |what: &'static str| move |source: io::Error| LocalError::Supervisor { what, source };
    let layout = Layout::create(dir).map_err(|source| LocalError::Directory { path: dir.to_owned(), source })?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(layout.lock());
    let lock = lock.map_err(failed("open its lock"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        other => other.map_err(|error| failed("take its lock")(error.into()))?,
    }
    // Out of the session of the server and its terminal. It fails for the leader of a process group, who is out.
    let _ = rustix::process::setsid();
    // What operations create is for others to read unless they say otherwise, however the server was started.
    rustix::process::umask(Mode::from_raw_mode(0o022));

    // A thread that dies alone would leave the others waiting for ever. A successor recovers everything.
    std::panic::set_hook(Box::new(|panic| {
        note(format_args!("{panic}"));
        std::process::abort();
    }));

    let journal = Journal::open(layout.journal()).map_err(failed("read its journal"))?;
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| failed("watch processes")(error.into()))?;
    let roster = Roster::recover(journal);
    for (pid, watched) in roster.watched() {
        watch_end(&watch, watched, pid).map_err(failed("watch an adopted process"))?;
    }
    let now = Instant::now();
    let desk = Desk { roster, litter: Litter::new(now), connection: None, generation: 0, alone_since: now };
    let supervisor = Arc::new(Supervisor {
        layout,
        options: Options::from_env(),
        base: base_env(),
        boot: boot_id(),
        watch,
        desk: Mutex::new(desk),
        work: Condvar::new(),
        room: Condvar::new(),
        news: Condvar::new(),
        due: Condvar::new(),
    });
    let (root, path) = supervisor.layout.short_socket().map_err(failed("open its directory"))?;
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed("listen"))?;
    drop(root);

    for _ in 0..SPAWNERS {
        begin("spawner", &supervisor, Supervisor::spawn_queued)?;
    }
    begin("reaper", &supervisor, Supervisor::reap_ended)?;
    begin("sweeper", &supervisor, Supervisor::sweep)?;
    begin("clock", &supervisor, move |supervisor| supervisor.keep_time(&lock))?;
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => supervisor.serve(stream),
            Err(error) => {
                note(format_args!("a connection cannot be accepted: {error}"));
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

fn begin(
    name: &str,
    supervisor: &Arc<Supervisor>,
    body: impl FnOnce(&Supervisor) + Send + 'static,
) -> Result<(), LocalError> {
    let supervisor = Arc::clone(supervisor);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&supervisor));
    thread.map(drop).map_err(|source| LocalError::Supervisor { what: "start a thread", source })
}

fn watch_end(watch: &OwnedFd, watched: &OwnedFd, pid: Pid) -> io::Result<()> {
    let data = epoll::EventData::new_u64(u64::from(pid.as_raw_nonzero().get().unsigned_abs()));
    Ok(epoll::add(watch, watched, data, epoll::EventFlags::IN)?)
}

struct Supervisor {
    layout: Layout,
    options: Options,
    base: Vec<(OsString, OsString)>,
    boot: String,
    /// Tells the ends of processes.
    watch: OwnedFd,
    desk: Mutex<Desk>,
    /// Something was queued.
    work: Condvar,
    /// The queue has become shorter.
    room: Condvar,
    /// There is something to tell, or the connection has changed.
    news: Condvar,
    /// Something may be due earlier than it was.
    due: Condvar,
}

/// What is under the lock.
struct Desk {
    roster: Roster,
    litter: Litter,
    /// The server; a new connection takes the place of the old one.
    connection: Option<UnixStream>,
    generation: u64,
    alone_since: Instant,
}

impl Supervisor {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("a thread that panicked here may have left anything; better to be lost and recovered")
    }

    /// Tells those whom a change of the roster may concern.
    fn spread(&self, desk: &Desk) {
        if desk.roster.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty()) {
            self.news.notify_all();
        }
        match desk.roster.queue.len() {
            0 => {}
            1 => self.work.notify_one(),
            _ => self.work.notify_all(),
        }
    }

    fn serve(self: &Arc<Self>, stream: UnixStream) {
        let (reading, writing) = match (stream.try_clone(), stream.try_clone()) {
            (Ok(reading), Ok(writing)) => (reading, writing),
            (Err(error), _) | (_, Err(error)) => return note(format_args!("a connection is dropped: {error}")),
        };
        let mut desk = self.desk();
        if let Some(old) = desk.connection.replace(stream) {
            let _ = old.shutdown(Shutdown::Both);
        }
        desk.generation += 1;
        let generation = desk.generation;
        desk.roster.tell_everything();
        let known = desk.roster.known();
        self.news.notify_all();
        drop(desk);
        let threads = begin("writer", self, move |supervisor| supervisor.write(writing, generation, &known))
            .and_then(|()| begin("reader", self, move |supervisor| supervisor.read(reading, generation)));
        if let Err(error) = threads {
            note(format_args!("a connection is dropped: {error}"));
            self.hang_up(generation);
        }
    }

    fn read(&self, stream: UnixStream, generation: u64) {
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        loop {
            match read_lines::<Order>(&mut reader) {
                Ok(orders) if orders.is_empty() => break,
                Ok(orders) => {
                    if let Some(Order::Hello(hello)) = orders.first()
                        && let Err(error) = check_hello(*hello)
                    {
                        note(format_args!("a server is refused: {error}"));
                        break;
                    }
                    let mut desk = self.desk();
                    while desk.roster.queue.len() > MAX_QUEUED {
                        desk = self.room.wait(desk).expect("as in `desk`");
                    }
                    if desk.generation != generation {
                        break;
                    }
                    desk.roster.obey(orders);
                    self.spread(&desk);
                    self.due.notify_one();
                }
                Err(error) => {
                    note(format_args!("the connection ends: {error}"));
                    break;
                }
            }
        }
        self.hang_up(generation);
    }

    fn hang_up(&self, generation: u64) {
        let mut desk = self.desk();
        if desk.generation == generation
            && let Some(stream) = desk.connection.take()
        {
            let _ = stream.shutdown(Shutdown::Both);
            desk.roster.outbox = None;
            desk.alone_since = Instant::now();
        }
        self.news.notify_all();
    }

    fn write(&self, mut stream: UnixStream, generation: u64, known: &[AttemptName]) {
        let mut lines = Vec::new();
        write_line(&mut lines, &Word::Hello(Hello { version: VERSION }));
        let mut rest = known;
        loop {
            let (part, others) = rest.split_at(rest.len().min(MAX_KNOWN));
            write_line(&mut lines, &Word::Known { attempts: part.to_vec(), more: !others.is_empty() });
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        while stream.write_all(&lines).is_ok() {
            lines.clear();
            let mut desk = self.desk();
            let mut lingered = None;
            let news = loop {
                if desk.generation != generation {
                    return;
                }
                let Some(outbox) = &mut desk.roster.outbox else { return };
                let left = LINGER.saturating_sub(lingered.map_or(Duration::ZERO, |since: Instant| since.elapsed()));
                if !outbox.is_empty() && (left.is_zero() || outbox.iter().any(|news| news.seen != Seen::Running)) {
                    break std::mem::take(outbox);
                }
                if outbox.is_empty() {
                    desk = self.news.wait(desk).expect("as in `desk`");
                } else {
                    lingered.get_or_insert_with(Instant::now);
                    desk = self.news.wait_timeout(desk, left).expect("as in `desk`").0;
                }
            };
            drop(desk);
            news.into_iter().for_each(|seen| write_line(&mut lines, &Word::Seen(seen)));
        }
        self.hang_up(generation);
    }

    fn spawn_queued(&self) {
        let mut desk = self.desk();
        loop {
            let Some((attempt, task)) = desk.roster.queue.pop_front() else {
                desk = self.work.wait(desk).expect("as in `desk`");
                continue;
            };
            if desk.roster.queue.len() == MAX_QUEUED {
                self.room.notify_all();
            }
            desk.litter.launch(Instant::now());
            drop(desk);
            let spawned = self.spawn(attempt, &task);
            desk = self.desk();
            let watched = spawned.and_then(|(process, watched)| {
                let pid = Pid::from_raw(process.pid).expect("a child has an id above 0");
                match watch_end(&self.watch, &watched, pid) {
                    Ok(()) => Ok((process, watched)),
                    Err(error) => Err(abandon(pid, &error)),
                }
            });
            match watched {
                Ok((process, watched)) => desk.roster.started(attempt, process, watched),
                Err(cause) => desk.roster.could_not_start(attempt, cause),
            }
            self.spread(&desk);
            if task.timeout.is_some() {
                self.due.notify_one();
            }
        }
    }

    fn spawn(&self, attempt: AttemptName, task: &Task) -> Result<(Process, OwnedFd), Cause> {
        let from = since_boot();
        let pid = start(&self.layout, &self.base, attempt, task).inspect_err(|_| {
            // It leaves nothing behind that says anything.
            self.layout.tidy(attempt);
        })?;
        let process = Process { pid, from, to: since_boot(), boot: self.boot.clone() };
        let pid = Pid::from_raw(pid).expect("a child has an id above 0");
        // Nobody else reaps our children, so the id is still that of this child.
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(watched) => Ok((process, watched)),
            Err(error) => Err(abandon(pid, &error.into())),
        }
    }

    fn reap_ended(&self) {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        loop {
            events.clear();
            if let Err(error) = epoll::wait(&self.watch, rustix::buffer::spare_capacity(&mut events), None)
                && error != rustix::io::Errno::INTR
            {
                note(format_args!("waiting for processes fails: {error}"));
                thread::sleep(TICK);
            }
            for event in &events {
                let Ok(pid) = i32::try_from(event.data.u64()) else { continue };
                let Some(attempt) = self.desk().roster.ended(pid) else { continue };
                let (outputs, warning) = collect(&self.layout, attempt, self.options.max_log);
                let mut desk = self.desk();
                desk.roster.reap(attempt, outputs, warning);
                let too_many = desk.litter.add(attempt);
                self.spread(&desk);
                drop(desk);
                too_many.into_iter().for_each(|oldest| self.layout.tidy(oldest));
            }
        }
    }

    /// Tidies behind what has ended, first of all behind what an earlier supervisor left.
    fn sweep(&self) {
        for attempt in self.layout.attempts() {
            while !self.desk().litter.is_quiet(Instant::now()) {
                thread::sleep(TICK);
            }
            // The directory of what is about to start is empty too.
            if !self.desk().roster.is_live(attempt) {
                self.layout.tidy(attempt);
            }
        }
        loop {
            let left = self.desk().litter.take(Instant::now());
            if left.is_empty() {
                thread::sleep(TICK);
            }
            left.into_iter().for_each(|attempt| self.layout.tidy(attempt));
        }
    }

    fn keep_time(&self, lock: &File) {
        let mut housekeeping = Instant::now();
        let mut desk = self.desk();
        loop {
            let now = Instant::now();
            let next = desk.roster.tick(now);
            if now >= housekeeping {
                housekeeping = now + TICK;
                self.leave_when_useless(&mut desk, lock);
                let running: VecDeque<AttemptName> = desk.roster.running().into();
                drop(desk);
                running.iter().for_each(|attempt| drop(logs::cap(&self.layout.log(*attempt), self.options.max_log)));
                desk = self.desk();
            }
            let next = next.map_or(housekeeping, |next| next.min(housekeeping));
            let patience = next.saturating_duration_since(Instant::now());
            desk = self.due.wait_timeout(desk, patience).expect("as in `desk`").0;
        }
    }

    /// Ends the process when its directory is gone, so that nobody can ever ask for it, or when it has had nothing to
    /// do for a while. What it knows is in the journal for the next one.
    fn leave_when_useless(&self, desk: &mut Desk, lock: &File) {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let ours = lock.metadata().map(id).ok();
        if ours.is_none() || fs::metadata(self.layout.lock()).map(id).ok() != ours {
            desk.roster.kill_all();
            std::process::exit(0);
        }
        let alone = desk.connection.is_none() && desk.alone_since.elapsed() >= self.options.idle;
        if alone && desk.roster.is_idle() {
            let _ = fs::remove_file(self.layout.socket());
            std::process::exit(0);
        }
    }
}

/// Kills a process that cannot be watched, so that it is as if it had not been started.
fn abandon(pid: Pid, error: &io::Error) -> Cause {
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    let message = format!("its process could not be watched and was killed at once ({error}); see `ulimit -n`");
    Cause::new(CANNOT_START, message)
}
