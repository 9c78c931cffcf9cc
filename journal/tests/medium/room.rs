//! Where a case may mount things: a mount namespace of its own, which takes everything with it when it ends.

use std::fs::File;
use std::path::Path;
use std::process::Command;

/// What a case stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The journal's files lie on the layer.
    Bare,
    /// ext4 on a loop device over a file on the layer.
    Ext4,
}

/// What is missing here, if anything is.
fn missing(ground: Ground) -> Option<&'static str> {
    let device = |path: &str| File::options().read(true).write(true).open(path).is_ok();
    let mkfs = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].into_iter().any(|path| Path::new(path).exists());
    // a container's root may be one in name
    let may = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|done| done.status.success());
    match ground {
        _ if !may => Some("mounting needs root"),
        _ if !device("/dev/fuse") => Some("there is no /dev/fuse"),
        Ground::Ext4 if !device("/dev/loop-control") => {
            Some("there are no loop devices; the bare layer is tried instead")
        }
        Ground::Ext4 if !mkfs => Some("mkfs.ext4 is not installed; the bare layer is tried instead"),
        _ => None,
    }
}

/// Runs the case `inside` of this binary in a namespace of its own, or says why it cannot.
pub fn run(ground: Ground, inside: &str) {
    if let Some(why) = missing(ground) {
        println!("SKIPPED: {inside}: {why}");
        return;
    }
    let mut room = Command::new("unshare");
    room.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap()).args(only(inside));
    assert!(room.status().unwrap().success(), "{inside} failed, see above");
}

/// Arguments that run one case of this binary and nothing else.
pub fn only(case: &str) -> [&str; 6] {
    ["--exact", case, "--ignored", "--nocapture", "--test-threads=1", "-q"]
}
