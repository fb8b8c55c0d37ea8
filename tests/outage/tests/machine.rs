//! Where there can be no node, that is said in one sentence, with an exit code of its own, and before
//! anything is built. On another system than Linux one sentence is told for all of this.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outage");
/// A user who is not root: Debian's `nobody`.
const NOBODY: u32 = 65534;

#[test]
fn whoever_is_not_root_is_told_so() -> Result<()> {
    let place = tempfile::tempdir()?;
    // The project may be where others may not go.
    let program = place.path().join("outage");
    fs::copy(PROGRAM, &program)?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
    let as_nobody = || {
        let mut command = Command::new(&program);
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    is_told(
        as_nobody,
        "it must be run by root, for a node mounts and makes networks",
    )
}

#[test]
#[ignore = "needs root"]
fn a_program_that_is_missing_is_named_with_its_package() -> Result<()> {
    let programs = ["runc", "nft", "ip", "unshare", "mount"];
    for (missing, package) in [("runc", "runc"), ("nft", "nftables")] {
        let place = tempfile::tempdir()?;
        for it in programs.iter().filter(|it| **it != missing) {
            symlink(find(it)?, place.path().join(it))?;
        }
        let without = || {
            let mut command = Command::new(PROGRAM);
            command.env("PATH", place.path());
            command
        };
        let sentence =
            format!("the program {missing} is missing: install Debian's package {package}");
        is_told(without, &sentence)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and util-linux"]
fn a_system_that_allows_no_namespaces_is_named() -> Result<()> {
    let bounded = || {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-sys_admin", PROGRAM]);
        command
    };
    is_told(bounded, "this system lets root make no namespaces")
}

fn is_told(program: impl Fn() -> Command, sentence: &str) -> Result<()> {
    for words in [&[][..], &["story", "4"], &["check"], &["build"], &["up"]] {
        let output = program().args(words).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        ensure!(code == Some(2), "{words:?}: exit code {code:?}: {said}");
        ensure!(said == format!("outage: {sentence}\n"), "{words:?}: {said}");
        ensure!(output.stdout.is_empty(), "{words:?}: {output:?}");
    }
    Ok(())
}

fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("a PATH")?;
    let mut found = std::env::split_paths(&path).map(|it| it.join(program));
    let found = found.find(|it| it.is_file());
    found.with_context(|| format!("{program} is not there"))
}
