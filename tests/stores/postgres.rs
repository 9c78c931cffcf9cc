//! A Postgres of our own: initialised in a directory of the test, on loopback, stopped by the numbers of its processes.
//!
//! initdb refuses to run as root, so root becomes the user `postgres`, or `nobody` where there is none.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to answer after it was started.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Postgres {
    dir: tempfile::TempDir,
    programs: PathBuf,
    user: Option<String>,
    options: Vec<String>,
    child: Option<Child>,
    pub port: u16,
}

/// The newest installed server's programs, or a visible line that there are none.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    if found.is_empty() {
        eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql-15)");
    }
    found.pop()
}

fn is_root() -> bool {
    text(&Command::new("id").arg("-u").output().unwrap().stdout) == "0"
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Whom the server runs as, where that is not who we are.
fn user() -> Option<String> {
    is_root().then(|| {
        let known = Command::new("id").arg("postgres").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if known.unwrap().success() { "postgres" } else { "nobody" }.to_owned()
    })
}

/// Gives a file or directory to the server's user.
pub fn give(path: &Path) {
    if let Some(user) = user() {
        run(Command::new("chown").arg(user).arg(path));
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Postgres {
    /// Initialised, started, with keel's schema and a role that ships.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same with settings of its own, such as `work_mem=4MB`.
    pub fn with(options: &[&str]) -> Option<Self> {
        let server = Self::bare(options)?;
        server.migrate();
        server.sql("CREATE ROLE shipper LOGIN PASSWORD 'correct horse' IN ROLE keel_ship");
        Some(server)
    }

    /// Without a schema.
    pub fn bare(options: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let dir = tempfile::tempdir().unwrap();
        let user = user();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if let Some(user) = &user {
            run(Command::new("chown").arg(user).arg(dir.path()).arg(&data));
        }
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { dir, programs, user, options, child: None, port: free_port() };
        run(server
            .program("initdb")
            .args(["--username=owner", "--auth-local=trust", "--auth-host=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data));
        server.begin();
        Some(server)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn sockets(&self) -> &Path {
        self.dir.path()
    }

    /// A command as the server's user.
    pub fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        match &self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
                command.current_dir("/");
                command
            }
        }
    }

    /// Starts the server and waits until it answers.
    pub fn begin(&mut self) {
        let since = Instant::now();
        loop {
            let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
            let mut command = self.program("postgres");
            command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=20"]);
            command.arg("-c").arg(format!("unix_socket_directories={}", self.dir.path().display()));
            for option in &self.options {
                command.args(["-c", option]);
            }
            let mut child = command
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            while since.elapsed() < PATIENCE {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if self.psql(&["-c", "SELECT 1"]).output().unwrap().status.success() {
                    self.child = Some(child);
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "the server does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// To the server and each of its processes, which are groups of their own; the parent first, so that it starts no more.
    fn signal(&self, name: &str) {
        let parent = self.child.as_ref().unwrap().id().to_string();
        let send =
            |id: &str| Command::new("kill").args([&format!("-{name}"), id]).stderr(Stdio::null()).status().unwrap();
        let children = || text(&Command::new("ps").args(["--ppid", &parent, "-o", "pid="]).output().unwrap().stdout);
        if name == "KILL" {
            // stopped first: it must not notice one end before the other
            assert!(Command::new("kill").args(["-STOP", &parent]).status().unwrap().success());
        }
        let own = children();
        let order: Vec<&str> = if name == "KILL" {
            own.split_whitespace().chain([parent.as_str()]).collect()
        } else {
            [parent.as_str()].into_iter().chain(own.split_whitespace()).collect()
        };
        for id in order {
            send(id);
        }
    }

    /// The whole server at once, as a power cut ends it.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.child.take().unwrap().wait().unwrap();
    }

    pub fn stop(&mut self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        run(Command::new("kill").args(["-INT", &id]));
        self.child.take().unwrap().wait().unwrap();
    }

    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// psql as the owner, over the socket.
    pub fn psql(&self, args: &[&str]) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "owner", "-d", "postgres"]);
        command.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string()]).args(args);
        command
    }

    /// What a statement gives, as the owner.
    pub fn sql(&self, statement: &str) -> String {
        run(self.psql(&["-c", statement]).env("PGOPTIONS", "-c client_min_messages=warning"))
    }

    pub fn number(&self, statement: &str) -> u64 {
        self.sql(statement).parse().unwrap()
    }

    pub fn migrate(&self) {
        let apply = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/apply");
        run(Command::new(apply)
            .args(["-U", "owner", "-d", "postgres", "-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string()])
            .env("PGOPTIONS", "-c client_min_messages=warning"));
    }

    /// What `keel ship --postgres` is given, over loopback with a password.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://shipper:correct%20horse@127.0.0.1:{port}/postgres?sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
