//! Which threads help with a job: those of the process, those of a device that has threads of its own, or none.
//!
//! `RNN_THREADS` sets the number for the process; the default is the machine's parallelism. [`CpuOptions::threads`] sets it
//! for one device. If the system does not start them all, the team works with fewer, or the caller alone.
//!
//! A child process made by `fork` has none of its parent's helpers. Its first job finds another process id in the team and
//! starts a team of its own.

use super::handover::{Handover, Helper};
use super::subnormals::FlushSubnormals;
use rnn_base::error::{Error, Result};
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::Builder;

/// The largest number of threads that can be asked for.
const MOST: usize = 1024;

/// How a CPU device works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuOptions {
    /// Threads of the device, 1 to 1024, the calling one included. `None` shares the threads of the process, whose number
    /// is that of `RNN_THREADS` or else the machine's parallelism. A device with a number has threads of its own: they
    /// start with its first large op and end when the device and its last array are dropped. Several devices then work
    /// side by side, and a device of one thread starts none. The number changes no bit of a result.
    pub threads: Option<usize>,
}

impl CpuOptions {
    /// The threads of the process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        CpuOptions { threads: Some(threads) }
    }
}

/// Number of threads that the process is to have.
fn of_process() -> usize {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let Ok(wanted) = std::env::var("RNN_THREADS") else { return machine };
    match wanted.parse() {
        Ok(threads) if (1..=MOST).contains(&threads) => threads,
        _ => {
            tracing::warn!(%wanted, using = machine, "RNN_THREADS must be 1 to 1024");
            machine
        }
    }
}

/// The threads that ops of a device, or of a thread, may use.
#[derive(Clone)]
pub(crate) enum Current {
    /// Those of the process.
    Process,
    /// The calling thread.
    Alone,
    /// Those of a device.
    Own(Arc<Threads>),
}

impl Current {
    /// The threads of a device with these options.
    ///
    /// # Errors
    /// A number of threads that is not 1 to 1024.
    pub(crate) fn of_device(options: &CpuOptions) -> Result<Self> {
        match options.threads {
            None => Ok(Current::Process),
            Some(1) => Ok(Current::Alone),
            Some(threads) if (1..=MOST).contains(&threads) => {
                Ok(Current::Own(Arc::new(Threads::new(Some(threads)))))
            }
            Some(threads) => {
                Err(Error::value("Device::cpu_with", "threads", format!("1 to {MOST}"), threads.to_string()))
            }
        }
    }

    /// What jobs of this thread use now: the threads of the device whose op runs.
    pub(crate) fn of_this_thread() -> Self {
        CURRENT.with_borrow(|here| here.threads.clone())
    }

    /// Whether [`Installed`] says what jobs of this thread use, and what.
    pub(crate) fn installed() -> Option<Self> {
        CURRENT.with_borrow(|here| here.installed.then(|| here.threads.clone()))
    }

    /// The helpers, if there may be any.
    pub(crate) fn team(&self) -> Option<&Team> {
        match self {
            Current::Process => Some(PROCESS.team()),
            Current::Alone => None,
            Current::Own(own) => Some(own.team()),
        }
    }

    /// Number of threads that work together, the caller included: those that have started.
    pub(crate) fn count(&self) -> usize {
        match self {
            Current::Process => PROCESS.count(),
            Current::Alone => 1,
            Current::Own(own) => own.count(),
        }
    }
}

/// What jobs of a thread use.
struct Here {
    threads: Current,
    /// Whether it stays as it is when an op of another device runs.
    installed: bool,
}

thread_local! {
    static CURRENT: RefCell<Here> = const { RefCell::new(Here { threads: Current::Process, installed: false }) };
}

/// Until it is dropped, jobs of its thread use the given threads, and subnormals count as zero.
#[must_use = "it ends when the guard is dropped"]
pub struct Running {
    /// What was there before, unless it stayed.
    before: Option<Here>,
    _flushed: FlushSubnormals,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

impl Running {
    /// For an op of a device with these threads.
    pub(crate) fn op(threads: &Current) -> Self {
        let before = CURRENT.with_borrow_mut(|here| {
            let fresh = || Here { threads: threads.clone(), installed: false };
            (!here.installed).then(|| std::mem::replace(here, fresh()))
        });
        Running { before, _flushed: FlushSubnormals::on() }
    }

    /// For all ops of this thread, also those of other devices.
    pub(crate) fn install(threads: &Current) -> Self {
        let fresh = Here { threads: threads.clone(), installed: true };
        let before = CURRENT.with_borrow_mut(|here| std::mem::replace(here, fresh));
        Running { before: Some(before), _flushed: FlushSubnormals::on() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            CURRENT.set(before);
        }
    }
}

/// For a thread that takes parts of jobs: parts that make jobs themselves do them alone.
pub(crate) fn work_alone() -> Running {
    Running::install(&Current::Alone)
}

/// Threads that start with their first job.
pub(crate) struct Threads {
    /// Their number with the caller; absent for the process.
    wanted: Option<usize>,
    /// The team in use, from an `Arc`. It is a pointer and not a lock, which another thread could hold at the moment of a
    /// `fork`. Only `drop` gives it up; a team of the parent process stays in memory.
    team: AtomicPtr<Team>,
}

static PROCESS: Threads = Threads::new(None);

impl Threads {
    const fn new(wanted: Option<usize>) -> Self {
        Threads { wanted, team: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The team of this process.
    fn team(&self) -> &Team {
        let process = process();
        let mut current = self.team.load(Ordering::Acquire);
        loop {
            // SAFETY: a team that is in use is not freed before `self`.
            match unsafe { current.as_ref() } {
                Some(team) if team.process == process => return team,
                _ => {}
            }
            let fresh = Arc::into_raw(Arc::new_cyclic(|own| Team {
                own: own.clone(),
                wanted: self.wanted,
                process,
                busy: Mutex::new(()),
                handover: Handover::new(),
                helpers: OnceLock::new(),
            }))
            .cast_mut();
            match self.team.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: just made, and in use from now on.
                Ok(_) => return unsafe { &*fresh },
                Err(other) => {
                    // SAFETY: from `into_raw` above, and no other code has a copy.
                    drop(unsafe { Arc::from_raw(fresh) });
                    current = other;
                }
            }
        }
    }

    fn count(&self) -> usize {
        // The process is not compared here, because the system call would cost more than the rest. `each` and `together`
        // compare it.
        // SAFETY: a team that is in use is not freed before `self`.
        let known = unsafe { self.team.load(Ordering::Acquire).as_ref() };
        1 + known.unwrap_or_else(|| self.team()).helpers().len()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let team = *self.team.get_mut();
        if !team.is_null() {
            // SAFETY: from `into_raw` in `team`, and given up here only.
            let team = unsafe { Arc::from_raw(team) };
            team.end();
        }
    }
}

/// Number of the process, where processes can be copied with `fork`.
fn process() -> u32 {
    if cfg!(unix) { std::process::id() } else { 0 }
}

/// The caller and its helpers.
pub(crate) struct Team {
    /// Helpers hold the team as long as they live.
    own: std::sync::Weak<Team>,
    /// Number of threads; absent for that of the process.
    wanted: Option<usize>,
    /// The process that the helpers run in.
    process: u32,
    /// Held by the caller of the current job.
    busy: Mutex<()>,
    handover: Handover,
    /// They start with the first job.
    helpers: OnceLock<Vec<Helper>>,
}

impl Team {
    pub(crate) fn helpers(&self) -> &[Helper] {
        self.helpers.get_or_init(|| self.start())
    }

    /// Starts as many of the wanted helpers as the system allows.
    fn start(&self) -> Vec<Helper> {
        let mut helpers = Vec::new();
        let wanted = self.wanted.unwrap_or_else(of_process);
        for n in 1..wanted {
            let Some(team) = self.own.upgrade() else { break };
            let parked = Arc::new(AtomicBool::new(false));
            let own = parked.clone();
            let turns = move || {
                let _alone = work_alone();
                let mut last = Some(0);
                while let Some(number) = last {
                    last = team.handover.help(number, &own);
                }
            };
            match Builder::new().name(format!("rnn-cpu-{n}")).spawn(turns) {
                Ok(handle) => helpers.push(Helper { thread: handle.thread().clone(), parked }),
                Err(error) => {
                    tracing::warn!(%error, wanted, started = n, "a thread of the CPU backend does not start");
                    break;
                }
            }
        }
        helpers
    }

    /// The right to run a job; absent while another thread of the program has it.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, ()>> {
        match self.busy.try_lock() {
            Ok(guard) => Some(guard),
            // A job that panicked has closed its gate, so the team can run the next one.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Runs a job. The caller holds the [`lock`](Self::lock).
    ///
    /// # Panics
    /// With the panic of a part.
    pub(crate) fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.handover.run(self.helpers(), count, work);
    }

    /// Ends the helpers. No thread may run a job after this.
    fn end(&self) {
        if let (true, Some(helpers)) = (self.process == process(), self.helpers.get()) {
            self.handover.end(helpers);
        }
    }
}
