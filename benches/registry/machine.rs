//! What processes spend: processor time and memory, read from `/proc`; and which core they may use.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;

/// This process and its threads to come.
const OURSELVES: Pid = Pid::from_raw(0);

/// Which core the servers have to themselves, and which the load has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The servers'.
    pub(crate) servers: usize,
    /// The load's.
    pub(crate) load: usize,
}

impl Cores {
    /// The last core we may use for servers and the one before it for the load.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let usable = sched_getaffinity(OURSELVES)?;
        let mut usable =
            (0..CpuSet::count()).filter(|it| usable.is_set(*it).unwrap_or(false)).rev();
        let servers = usable.next().context("no core to run on")?;
        Ok(Self { servers, load: usable.next().unwrap_or(servers) })
    }
}

/// Keeps this thread, and what it starts from now on, to one core.
pub(crate) fn stay_on(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(OURSELVES, &set)?)
}

/// Returns the processor time a process took so far, user and system, in seconds; that of threads
/// which have ended is in it.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.try_into()?))?;
    Ok(Duration::from(clock.now()?).as_secs_f64())
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// Returns the seconds all cores together were busy so far, whoever used them.
pub(crate) fn busy_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty /proc/stat")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse::<f64>);
    let ticks: Vec<f64> = ticks.collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; what guests use is in user.
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    Ok(busy.map(|(_, ticks)| ticks).sum::<f64>() / 100.0)
}

/// Describes the machine in a few words, without its name.
pub(crate) fn describe() -> anyhow::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = info.lines().find(|it| it.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?.1;
    Ok(format!("{cores} cores, {model}, Linux {kernel}, {limit} open files"))
}

/// Raises our limit of open files to the hard limit; what we start inherits it.
pub(crate) fn allow_many_files() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
