//! `tombolo capture`: packets that tcpdump cannot see, since AF_XDP takes them before the kernel.

use super::print;
use crate::client::Client;
use crate::failure::Failure;
use crate::packet::summary;
use crate::pcapng::Writer;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use tombolo_api::{CaptureLine, CaptureMissed, CapturedPacket, path};

pub(super) fn run(
    client: &Client,
    port: &str,
    write: Option<&Path>,
    count: Option<u64>,
    json: bool,
) -> Result<(), Failure> {
    if !port
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err(Failure::Local(format!("{port} is not the name of a port")));
    }
    let count = count.map(|count| format!("&count={count}")).unwrap_or_default();
    let path = format!("{}?port={port}{count}", path::CAPTURE);
    let begin = || {
        eprintln!("capturing at port {port}; Ctrl-C ends it");
        Ok(())
    };
    let missed = Cell::new(CaptureMissed::default());
    let Some(file) = write else {
        client.lines(&path, begin, |line| show(line, json, &missed))?;
        tell(missed.get());
        return Ok(());
    };
    // Made once the gateway agreed: a refused capture leaves an older file alone.
    let writer: RefCell<Option<Writer<Box<dyn Write>>>> = RefCell::new(None);
    let mut packets = 0_u64;
    client.lines(
        &path,
        || {
            *writer.borrow_mut() = Some(create(file, port)?);
            begin()
        },
        |line| {
            let (packet, bytes) = match parse(line)? {
                CaptureLine::Packet(packet) => frame(packet)?,
                CaptureLine::Missed(more) => {
                    missed.set(more);
                    return if json && file != Path::new("-") {
                        print(&String::from_utf8_lossy(line))
                    } else {
                        Ok(())
                    };
                }
            };
            packets += 1;
            match &mut *writer.borrow_mut() {
                Some(writer) => writer
                    .packet(&packet, &bytes)
                    .map_err(|error| Failure::local(file.display(), error)),
                None => Ok(()),
            }
        },
    )?;
    eprintln!("{packets} packets written to {}", file.display());
    tell(missed.get());
    Ok(())
}

/// The last word of a capture: whether it is whole.
fn tell(missed: CaptureMissed) {
    let CaptureMissed { ring_full, client_slow } = missed;
    let packets = ring_full.saturating_add(client_slow);
    if packets > 0 {
        eprintln!(
            "{packets} packets were not captured: {ring_full} while a worker's ring was full, {client_slow} while this \
             command read too slowly (they passed the gateway like any other)"
        );
    }
}

fn create(file: &Path, port: &str) -> Result<Writer<Box<dyn Write>>, Failure> {
    let failed = |error| Failure::local(file.display(), error);
    let output: Box<dyn Write> = if file == Path::new("-") {
        Box::new(std::io::stdout())
    } else {
        Box::new(BufWriter::new(File::create(file).map_err(failed)?))
    };
    Writer::new(output, port).map_err(failed)
}

fn parse(line: &[u8]) -> Result<CaptureLine, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::local("captured packet", error))
}

fn frame(packet: CapturedPacket) -> Result<(CapturedPacket, Vec<u8>), Failure> {
    let bytes = unhex(&packet.bytes).ok_or_else(|| Failure::Local("captured packet: not hex".into()))?;
    Ok((packet, bytes))
}

fn show(line: &[u8], json: bool, missed: &Cell<CaptureMissed>) -> Result<(), Failure> {
    if json {
        print(&String::from_utf8_lossy(line))?;
    }
    let packet = match parse(line)? {
        CaptureLine::Packet(packet) => packet,
        CaptureLine::Missed(more) => {
            missed.set(more);
            return Ok(());
        }
    };
    if json {
        return Ok(());
    }
    let (packet, bytes) = frame(packet)?;
    let CapturedPacket {
        time_ns,
        worker,
        direction,
        stage,
        fate,
        length,
        ..
    } = &packet;
    let (seconds, fraction) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000 / 1000);
    print(&format!(
        "{seconds}.{fraction:06}  {direction:<3}  {stage:<5}  worker {worker}  {length:>5} B  {fate:<24}  {}\n",
        summary(&bytes)
    ))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| (high * 16 + low) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::unhex;

    #[test]
    fn hex_is_read_or_refused() {
        assert_eq!(unhex("00ffA0"), Some(vec![0, 255, 160]));
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("é0"), None);
    }
}
