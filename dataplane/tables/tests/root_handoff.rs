//! A process of another user is turned away at the handoff socket, even if the directory's mode let it come that far.
//! Needs root, to become another user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tombolo_tables::handoff::{ControlLink, HandoffError, Listener, private_dir, socket_path};

const DIRECTORY: &str = "TOMBOLO_TEST_DIRECTORY";
const NOBODY: u32 = 65_534;

struct RuntimeDir(PathBuf);

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// What runs as nobody: connects and must get no answer.
#[test]
fn role_stranger() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let refused = ControlLink::connect(Path::new(&directory), Duration::from_secs(10)).unwrap_err();
    // The listener belongs to root, whom everybody may believe; it ends the connection without a word.
    assert!(matches!(refused, HandoffError::Closed), "{refused:?}");
}

fn stranger(directory: &Path) -> Child {
    // A copy where nobody may read it: the build directory need not be open to others.
    let program = directory.join("stranger");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open_to_all(&program);
    let mut command = Command::new(program);
    command
        .args(["--exact", "role_stranger", "--nocapture"])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY);
    command.env(DIRECTORY, directory).spawn().unwrap()
}

#[test]
fn root_another_users_process_is_turned_away() {
    if std::env::var("TOMBOLO_SKIP_ROOT").as_deref() == Ok("1") {
        println!("NOT RUN: root_another_users_process_is_turned_away: TOMBOLO_SKIP_ROOT is set");
        return;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root (TOMBOLO_SKIP_ROOT=1 leaves it out)"
    );
    let directory = RuntimeDir(std::env::temp_dir().join(format!("tombolo-stranger-{}", std::process::id())));
    std::fs::create_dir(&directory.0).unwrap();
    let listener = Listener::bind(&directory.0).unwrap();
    for path in [
        directory.0.clone(),
        private_dir(&directory.0),
        socket_path(&directory.0),
    ] {
        open_to_all(&path);
    }
    let mut child = stranger(&directory.0);
    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        match listener.accept() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            other => break other,
        }
    };
    let ended = child.wait().unwrap();
    assert!(
        matches!(refused, Err(HandoffError::WrongUser { uid: NOBODY })),
        "{refused:?}"
    );
    assert!(
        ended.success(),
        "the stranger saw something else than a closed connection"
    );
}
