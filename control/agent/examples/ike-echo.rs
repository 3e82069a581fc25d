//! `ike-echo ADDRESS…`: the sockets of IKE on these addresses, and whatever comes goes back where it came from. The lab's tests
//! see with it what steering passes to `tombolod`, and that answers leave. Ends with its standard input; prints what it counted.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use tokio::sync::oneshot;
use tombolo_agent::ike::sockets::{Datagram, Sockets};

fn main() -> std::process::ExitCode {
    let addresses: Result<BTreeSet<IpAddr>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (addresses, runtime) {
        (Ok(addresses), Ok(runtime)) if !addresses.is_empty() => runtime.block_on(echo(&addresses)),
        (_, _) => {
            eprintln!("usage: ike-echo ADDRESS…");
            std::process::ExitCode::from(2)
        }
    }
}

async fn echo(addresses: &BTreeSet<IpAddr>) -> std::process::ExitCode {
    let mut sockets = Sockets::default();
    let refused = sockets.bind(addresses);
    if let Some((local, error)) = refused.first() {
        eprintln!("{local}: {error}");
        return std::process::ExitCode::FAILURE;
    }
    eprintln!("listening");
    let (ended, mut end) = oneshot::channel();
    std::thread::spawn(move || {
        // Whatever ends it: an error is an end, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let mut batch: Vec<Datagram> = Vec::new();
    loop {
        tokio::select! {
            () = sockets.receive(&mut batch) => {}
            _ = &mut end => break,
        }
        for datagram in batch.drain(..) {
            // Counted by the sockets.
            let _ = sockets.send(&datagram);
        }
    }
    println!("{:?}", sockets.counts());
    std::process::ExitCode::SUCCESS
}
