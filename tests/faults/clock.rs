//! A clock that a test sets, for one process alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's package `libfaketime` puts its library, after the machine's own folder.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// The clock on the wall of one process. What counts the time since some moment goes on as it is.
pub struct Clock {
    library: String,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right, in this file; `None` where there is no libfaketime.
    pub fn new(file: &Path) -> Option<Self> {
        let Some(library) = library() else {
            cluster::cannot_run("there is no libfaketime here: apt-get install -y faketime");
            return None;
        };
        let file = file.to_path_buf();
        let clock = Self { library, file };
        clock.set("+0");
        Some(clock)
    }

    /// From now on it is off by this many seconds: `+3600`.
    pub fn set(&self, offset: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, offset).expect("the offset is written");
        fs::rename(&next, &self.file).expect("it takes the place of the old one");
    }

    /// What makes a process go by it.
    pub fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", &self.library),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.file.to_str().expect("a path that is text"),
            ),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

fn library() -> Option<String> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let files = folders.flatten().map(|it| it.path().join(FAKETIME));
    let found = files.into_iter().find(|it| it.exists())?;
    Some(found.display().to_string())
}
