//! Entry for fuzzers: what a client writes to the control socket. It must not panic, whatever the bytes.

use super::Question;
use super::answer::Answer;
use super::serve::connection;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tokio::sync::mpsc;

/// Most bytes of one call: they and the answers to them fit into the socket's buffers, so that one thread is enough.
const BYTES_MAX: usize = 4096;

/// Sends `data` as the whole of a connection, over a real socket, to the real server. What is asked of the gateway is
/// answered with an empty list.
pub fn fuzz_connection(data: &[u8]) {
    let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
    client
        .write_all(&data[..data.len().min(BYTES_MAX)])
        .expect("the buffer takes it");
    client.shutdown(std::net::Shutdown::Write).expect("it was open");
    client.set_nonblocking(true).expect("a socket");
    server.set_nonblocking(true).expect("a socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        let stream = tokio::net::UnixStream::from_std(server).expect("a socket");
        tokio::spawn(async move {
            while let Some((_, answer)) = asked.recv().await {
                let _ = answer.send(Answer::Json(b"[]\n".to_vec()));
            }
        });
        connection(stream, questions).await;
    });
    let mut answer = [0; 7];
    // Nothing at all where the first head is not complete.
    if client.read(&mut answer).is_ok_and(|bytes| bytes > 0) {
        assert_eq!(&answer, b"HTTP/1.", "no answer that a client could read");
    }
}
