//! Checkpoints kept in the stores: what was cut off or written anew is found by what they remember.

use crate::history::{History, NOON};
use crate::keel::{finish, start, text};
use crate::loki::Loki;
use crate::postgres::Postgres;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A journal in three states: 500 records, the same with 500 more, and another of 1,500 under the same key.
struct Scene {
    home: tempfile::TempDir,
    public: String,
}

fn keel(args: &[&str]) -> Output {
    finish(start(args))
}

/// The directory, its files, one level deep.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn written(dir: &Path, seed: u64, count: u64) {
    let mut history = History::open(dir, seed, NOON, 1_000_000);
    history.many(count);
    history.settle();
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("secret");
        let made = keel(&["checkpoint", "--new-key", "keel.example/node-1", "--key", key.to_str().unwrap()]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let scene = Self { home, public: text(&made.stdout).trim().to_owned() };
        written(&scene.path("journal"), 1, 500);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn sign(&self, more: &[&str]) -> Output {
        let (dir, key) = (self.path("journal"), self.path("secret"));
        keel(&[&["checkpoint", dir.to_str().unwrap(), "--key", key.to_str().unwrap()], more].concat())
    }

    fn verify(&self, name: &str, more: &[&str]) -> Output {
        let dir = self.path(name);
        keel(&[&["verify", dir.to_str().unwrap(), "--key", &self.public], more].concat())
    }

    /// Signs, grows, signs again; then a cut copy and a journal written anew are held against what was kept.
    fn play(&self, keep: &[&str], against: &[&str]) {
        let nothing = self.verify("journal", against);
        let said = text(&nothing.stderr);
        assert!(
            nothing.status.code() == Some(1) && said.contains("keeps no checkpoint of keel.example/node-1"),
            "{said}"
        );
        for _ in 0..2 {
            let signed = self.sign(keep);
            assert!(signed.status.success(), "{}", text(&signed.stderr));
        }
        copy(&self.path("journal"), &self.path("cut"));
        let mut history = History::open(&self.path("journal"), 2, NOON + 3_600_000_000_000, 1_000_000);
        history.many(500);
        history.settle();
        drop(history);
        assert!(self.sign(keep).status.success());

        let sound = self.verify("journal", against);
        assert!(sound.status.success() && text(&sound.stdout).contains("sound"), "{}", text(&sound.stdout));
        assert!(self.verify("cut", &[]).status.success(), "alone it cannot know");
        let cut = self.verify("cut", against);
        let (told, named) = (text(&cut.stdout), "missing, though a checkpoint describes it: the end was cut off");
        assert!(cut.status.code() == Some(1) && told.contains("record 1000 ") && told.contains(named), "{told}");
        written(&self.path("anew"), 3, 1_500);
        let anew = self.verify("anew", against);
        let told = text(&anew.stdout);
        assert!(anew.status.code() == Some(1) && told.contains("it was written anew"), "{told}");
        assert_eq!(told.matches("it was written anew").count(), 2, "at 500 and at 1000: {told}");
    }
}

#[test]
fn a_database_remembers_what_a_journal_was() {
    let Some(server) = Postgres::start() else { return };
    let (scene, url) = (Scene::new(), server.url());
    scene.play(&["--anchor-postgres", &url], &["--against-postgres", &url]);
    assert_eq!(server.number("SELECT count(*) FROM keel.checkpoint"), 2, "the same one is kept once");
    assert_eq!(server.sql("SELECT string_agg(size::text, ' ' ORDER BY size) FROM keel.checkpoint"), "500 1000");
    for forbidden in ["UPDATE keel.checkpoint SET size = 0", "DELETE FROM keel.checkpoint", "TRUNCATE keel.checkpoint"]
    {
        let refused = server.psql(&["-c", forbidden]).output().unwrap();
        assert!(!refused.status.success(), "{forbidden}");
    }
    // someone who may add rows adds a note nobody signed: it is named, not passed over
    server.sql("INSERT INTO keel.checkpoint (origin, size, note) VALUES ('keel.example/node-1', 7, 'x')");
    let forged = scene.verify("journal", &["--against-postgres", &url]);
    let said = text(&forged.stderr);
    assert!(forged.status.code() == Some(1) && said.contains("checkpoint 1 of keel.example/node-1"), "{said}");
    let wrong = url.replace("correct", "wrong");
    let (kept, read) =
        (scene.sign(&["--anchor-postgres", &wrong]), scene.verify("journal", &["--against-postgres", &wrong]));
    for output in [kept, read] {
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("28P01") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_log_store_remembers_what_a_journal_was() {
    let (scene, loki) = (Scene::new(), Loki::start());
    scene.play(&["--anchor-loki", &loki.url()], &["--against-loki", &loki.url()]);
    assert_eq!(loki.lines(), 3);
    let store = loki.store.lock().unwrap();
    let streams: Vec<&String> = store.streams.keys().collect();
    assert_eq!(streams, ["{app=\"keel\", kind=\"checkpoint\", origin=\"keel.example/node-1\"}"]);
    drop(store);
    loki.fail(500, 1);
    let lost = scene.sign(&["--anchor-loki", &loki.url()]);
    let said = text(&lost.stderr);
    assert!(lost.status.code() == Some(1) && said.contains("signed, but not kept by all"), "{said}");
}
