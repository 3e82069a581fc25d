//! The real HTTP server on a control socket of its own; the gateway behind it is a few canned answers. Also for the tests of
//! `tombolo`.

use std::path::PathBuf;
use tokio::sync::mpsc;
use tombolo_agent::http::{self, Admission, Answer, Request};

pub(crate) struct CannedServer {
    /// Where `control.sock` is.
    pub(crate) directory: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl CannedServer {
    /// Serves `answer` in a new directory until it is dropped.
    pub(crate) fn start(name: &str, answer: fn(Request) -> Answer) -> CannedServer {
        let directory = std::env::temp_dir().join(format!("tombolo-http-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("private")).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let place = directory.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = http::bind(&place.join("control.sock"), &place.join("private"), None).unwrap();
                ready.send(()).unwrap();
                let (sender, mut questions) = mpsc::channel::<http::Question>(4);
                tokio::spawn(http::serve(listener, Admission::new(None), sender));
                tokio::spawn(async move {
                    while let Some((request, reply)) = questions.recv().await {
                        let _ = reply.send(answer(request));
                    }
                });
                let _ = stopped.await;
            });
        });
        is_ready.recv().unwrap();
        CannedServer {
            directory,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for CannedServer {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
