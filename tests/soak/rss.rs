//! Memory of the streamer, as the kernel counts it, without the pages of the program's own file: a debug build
//! has some 25 MiB of these in memory, and more with each feature.

use std::path::Path;

/// Peak resident memory so far, bytes, of the program whose arguments name this file; 0 when it does
/// not run, or where there is no `/proc`.
pub(crate) fn peak_of(checkpoint: &Path) -> u64 {
    let folders = processes_with(checkpoint).into_iter().map(|number| format!("/proc/{number}"));
    folders.filter_map(|folder| peak(Path::new(&folder))).max().unwrap_or_default()
}

/// Numbers of the processes of the program whose arguments name this file.
pub(crate) fn processes_with(checkpoint: &Path) -> Vec<u32> {
    let wanted = checkpoint.as_os_str().as_encoded_bytes();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes = processes.flatten().filter_map(|entry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = arguments.split(|byte| *byte == 0);
        let is_it = words.next().is_some_and(|name| name.ends_with(b"binpulse"))
            && words.any(|word| word == wanted);
        if is_it { entry.file_name().to_str()?.parse().ok() } else { None }
    });
    processes.collect()
}

/// The same of a process by its number.
#[allow(dead_code, reason = "for other test binaries that share this file")]
pub(crate) fn peak_of_process(id: u32) -> u64 {
    peak(&Path::new("/proc").join(id.to_string())).unwrap_or_default()
}

fn peak(folder: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some((kibibytes("VmHWM:")?.saturating_sub(kibibytes("RssFile:")?)) * 1_024)
}
