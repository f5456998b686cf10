//! Resident memory of this process, if the system reports it (Linux).

/// A value of `/proc/self/status`, in megabytes.
fn status(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// The largest growth of the process in megabytes while `work` runs.
pub(crate) fn peak_growth<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Option<f64>, E> {
    // Resets the peak. Without permission to do so, the result would be the peak of the whole process.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status("VmRSS:");
    work()?;
    let peak = status("VmHWM:");
    Ok(match (before, peak) {
        (Some(before), Some(peak)) if reset => Some(peak - before),
        _ => None,
    })
}
