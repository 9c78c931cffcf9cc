//! One machine: the layer mounted, on it a disk with ext4 or nothing, and the power switch.
//!
//! Dropping it answers everything that still waits with errors and takes every mount away; what a killed test leaves is
//! taken by the end of its namespace.

use crate::layer::Layer;
use crate::luck::Luck;
use crate::medium::{Content, Loss, Medium, Mood};
use crate::room::Ground;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

/// Size of the disk: ext4 with its log, and some seconds of records.
const DISK: u64 = 64 << 20;
const FILE: &str = "disk";

pub struct Stage {
    pub medium: Arc<Medium>,
    ground: Ground,
    home: tempfile::TempDir,
    session: Option<fuser::BackgroundSession>,
}

/// An empty ext4.
pub fn formatted() -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(FILE);
    std::fs::File::create(&file).unwrap().set_len(DISK).unwrap();
    let made =
        Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-E", "nodiscard"]).arg(&file).status().unwrap();
    assert!(made.success(), "mkfs.ext4");
    std::fs::read(file).unwrap()
}

impl Stage {
    /// A machine with a new disk, switched on.
    pub fn new(ground: Ground, disk: &[u8]) -> Self {
        let medium = Arc::new(Medium::new());
        if ground == Ground::Ext4 {
            medium.look().create(OsStr::new(FILE), Content::new(disk.to_vec()));
        }
        let home = tempfile::Builder::new().prefix("keel-medium-").tempdir().unwrap();
        for name in ["layer", "ext4"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let mut stage = Self { medium, ground, home, session: None };
        stage.boot();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        match self.ground {
            Ground::Bare => self.path("layer"),
            Ground::Ext4 => self.path("ext4").join("journal"),
        }
    }

    pub fn boot(&mut self) {
        let mut config = fuser::Config::default();
        config.acl = fuser::SessionACL::All;
        config.mount_options = vec![fuser::MountOption::FSName("keel-medium".to_owned())];
        let layer = Layer(Arc::clone(&self.medium));
        self.session = Some(fuser::spawn_mount(layer, self.path("layer"), &config).unwrap());
        if self.ground == Ground::Ext4 {
            let places = [self.path("layer").join(FILE), self.path("ext4")];
            let mounted = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).args(places).output().unwrap();
            let said = String::from_utf8_lossy(&mounted.stderr);
            assert!(mounted.status.success(), "ext4 did not come up again: {said}");
        }
    }

    /// The power goes while `child` runs. What it says afterwards was true before.
    pub fn cut(&self, child: &mut Child) {
        self.medium.feel(Mood::Off);
        child.kill().unwrap();
        self.medium.feel(Mood::Gone);
        child.wait().unwrap();
    }

    /// Starts the machine again in good order after errors, with the file system mended as an operator would.
    pub fn restart(&mut self) {
        self.down();
        self.medium.look().files.values_mut().for_each(Content::sync);
        if self.ground == Ground::Ext4 {
            let file = self.path("mending");
            let disk = OsStr::new(FILE);
            let state = self.medium.look();
            let bytes = state.files[&state.named(disk).unwrap()].now.clone();
            drop(state);
            std::fs::write(&file, bytes).unwrap();
            // its exit code says how much it mended; whether that was enough, the mount says
            Command::new("e2fsck").args(["-f", "-y"]).arg(&file).output().unwrap();
            self.medium.look().create(disk, Content::new(std::fs::read(&file).unwrap()));
        }
        self.boot();
    }

    /// Clears the machine away and brings it up with what the medium kept.
    pub fn reboot(&mut self, luck: &mut Luck, loss: &mut Loss) {
        self.down();
        self.medium.settle(luck, loss);
        self.boot();
    }

    fn down(&mut self) {
        if self.ground == Ground::Ext4 {
            umount(&self.path("ext4"));
        }
        umount(&self.path("layer"));
        if let Some(session) = self.session.take() {
            drop(session);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.medium.feel(Mood::Gone);
        self.down();
    }
}

/// Unmounts; what is still busy after a second is taken out of sight and goes with its last user.
fn umount(at: &Path) {
    for _ in 0..100 {
        if Command::new("umount").arg(at).output().is_ok_and(|done| done.status.success()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = Command::new("umount").arg("-l").arg(at).output();
}
