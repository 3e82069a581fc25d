//! A real process that keeps secrets is killed with SIGKILL, again and again, and its successor finds them. This binary starts
//! itself again for the process that is killed; its role is a test that does nothing unless it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tombolo_secrets::{Change, Recovered, Store};
use tombolo_tables::region::Region;
use tombolo_tables::region_secrets::SecretRegion;

const MEMORY: &str = "TOMBOLO_TEST_MEMORY";
/// Records that always change together.
const TOGETHER: u64 = 5;

fn map(descriptor: &OwnedFd) -> &'static SecretRegion {
    let region = SecretRegion::from_fd(descriptor.try_clone().unwrap()).unwrap();
    Box::leak(Box::new(region))
}

/// The record at one number: its length and bytes follow from it.
fn record(id: u64, number: u64) -> Vec<u8> {
    let length = 8 + (number * 131 + id * 1009) % 6000;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(length as usize, (number ^ id) as u8);
    bytes
}

/// The number of which all records are, in a store that is whole.
fn number(store: &Store<&'static SecretRegion>) -> u64 {
    let records: Vec<_> = store.iter().collect();
    let Some((_, first)) = records.first() else { return 0 };
    let number = u64::from_le_bytes(first[..8].try_into().unwrap());
    for (id, bytes) in &records {
        assert!(**bytes == record(*id, number), "record {id} is not of number {number}");
    }
    // Every third step takes the last one away.
    let last = u64::from(!number.is_multiple_of(3));
    assert_eq!(records.len() as u64, TOGETHER - 1 + last);
    number
}

/// The process that is killed: changes all records in one step, and says so, as fast as it can.
#[test]
fn role_keeper() {
    let Ok(path) = std::env::var(MEMORY) else { return };
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let (mut store, _) = Store::open(map(&OwnedFd::from(file))).unwrap();
    let mut said = std::io::stdout();
    for next in number(&store) + 1.. {
        let records: Vec<_> = (0..TOGETHER).map(|id| record(id, next)).collect();
        let mut changes: Vec<_> = (0..)
            .zip(&records)
            .map(|(id, bytes)| Change::Put { id, bytes })
            .collect();
        if next.is_multiple_of(3) {
            changes[TOGETHER as usize - 1] = Change::Remove { id: TOGETHER - 1 };
        }
        store.commit(&changes).unwrap();
        writeln!(said, "\nkept {next}").unwrap();
    }
}

#[test]
fn what_was_kept_is_found_by_the_next_process() {
    let descriptor = Region::create_secret("secrets", 4096).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd());
    let mut reached = 0;
    let mut unfinished = 0;
    for life in 0..25u64 {
        let mut keeper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role_keeper", "--nocapture"])
            .env(MEMORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let deadline = Instant::now() + Duration::from_micros(40_000 + life * 1_713);
        let mut kept = reached;
        let mut killed = false;
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("kept ") {
                kept = number.parse().unwrap_or(kept);
            }
            if !killed && kept > reached && Instant::now() > deadline {
                assert_eq!(keeper.try_wait().unwrap(), None, "it ended by itself");
                keeper.kill().unwrap();
                killed = true;
            }
        }
        keeper.wait().unwrap();
        let (store, recovered): (_, Recovered) = Store::open(map(&descriptor)).unwrap();
        assert_eq!(recovered.damaged, 0);
        unfinished += usize::from(recovered.left_over > 0);
        let found = number(&store);
        assert!(found == kept || found == kept + 1, "{kept} was said, {found} is there");
        assert!(found > reached, "life {life} kept nothing");
        reached = found;
    }
    assert!(unfinished > 0, "no kill met a change: the test shows nothing");
}

#[test]
fn ten_thousand_tunnels_fit_and_a_commit_is_quick() {
    let descriptor = Region::create_secret("secrets", 4096).unwrap();
    let (mut store, _) = Store::open(map(&descriptor)).unwrap();
    let bytes = vec![0x5a; 6000];
    let started = Instant::now();
    for round in 0..2 {
        for id in 0..10_000u64 {
            store.put(id, &bytes[(id % 4000) as usize + round..]).unwrap();
        }
    }
    let spent = started.elapsed();
    let usage = store.usage();
    println!("20000 puts in {spent:?}; {usage:?}");
    assert_eq!(usage.records, 10_000);
    assert!(usage.store_bytes < usage.record_bytes * 3 / 2, "{usage:?}");
    assert!(spent < Duration::from_secs(20), "{spent:?}");
    let opened = Instant::now();
    let (store, recovered) = Store::open(map(&descriptor)).unwrap();
    println!("opened in {:?}", opened.elapsed());
    assert_eq!(
        (recovered.records, recovered.left_over, store.usage().records),
        (10_000, 0, 10_000)
    );
}
