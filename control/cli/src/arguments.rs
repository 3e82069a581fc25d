//! The command line of `tombolo`.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Ask and steer a Tombolo gateway.
#[derive(Debug, Parser)]
#[command(name = "tombolo", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Control socket of the gateway; default: `control.sock` in the runtime directory.
    #[arg(
        long,
        global = true,
        display_order = 100,
        env = "TOMBOLO_SOCKET",
        value_name = "SOCKET"
    )]
    pub(crate) socket: Option<PathBuf>,
    /// Runtime directory of the gateway.
    #[arg(
        long,
        global = true,
        display_order = 101,
        default_value = "/run/tombolo",
        value_name = "DIR"
    )]
    pub(crate) runtime_dir: PathBuf,
    /// Print JSON for machines instead of tables for people.
    #[arg(long, global = true, display_order = 102)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  refused or failed (the reason is on standard error)
  2  wrong usage
  3  tombolod cannot be reached";

impl Arguments {
    /// Where to ask.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| self.runtime_dir.join("control.sock"))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration file without a gateway.
    Check {
        /// The file; `-` reads standard input.
        file: PathBuf,
    },
    /// Say whether each tunnel will come up at its peer, and how large its packets may be; no gateway needed.
    ///
    /// What the profile's data says of the cloud (proposals, PFS, lifetimes, inside addresses, sizes, ceilings) is held against
    /// the file. The exit code is 1 if a tunnel will not come up.
    Preflight {
        /// The configuration; `-` reads standard input.
        file: PathBuf,
        /// Also read every file that the tunnels name, as tombolod would: secrets by the peer's rules; certificates, their dates and
        /// names, whether the private key is theirs; roots and revocation lists.
        #[arg(long, value_name = "DIR")]
        secrets_dir: Option<PathBuf>,
    },
    /// Make a file the gateway's configuration, now and for the next boot.
    Apply {
        /// The file; `-` reads standard input.
        file: PathBuf,
    },
    /// The gateway in one view.
    Status,
    /// Show what the gateway knows.
    Show {
        what: Show,
        /// Most sessions to show.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
    },
    /// Show packets of a port as they pass, before and after encryption, each with its fate.
    Capture {
        /// Name of the port.
        port: String,
        /// Write pcapng to this file (`-` = standard output) instead of a line per packet.
        #[arg(short = 'w', long = "write", value_name = "FILE")]
        write: Option<PathBuf>,
        /// Stop after so many packets.
        #[arg(long, short = 'c', value_name = "N")]
        count: Option<u64>,
    },
    /// Say what a gateway with this configuration would do with a capture; no gateway and no root needed.
    ///
    /// The steering rule comes first, as in the kernel: "steer pass-…" is for the gateway's kernel, "steer drop-…" ends there,
    /// and everything else is for a worker. Every unicast MAC address counts as the port's own, every next hop answers, and
    /// what a kernel would answer is not made up.
    Replay {
        /// The configuration.
        config: PathBuf,
        /// Port on which the packets come in; one with a VLAN takes frames with its tag.
        #[arg(long, value_name = "NAME")]
        port: String,
        /// The capture, pcap or pcapng of Ethernet frames.
        ///
        /// Of a capture by `tombolo capture -w`, only what the port received comes in: not what it sent, and not what was inside
        /// its tunnels. Of any other pcapng, what is marked as sent is left out; a pcap has no such marks.
        #[arg(value_name = "IN.PCAP")]
        input: PathBuf,
        /// Takes everything that the gateway would send, on whichever port.
        ///
        /// If the name ends in .pcapng, every port is an interface of the file. A classic pcap cannot say by which port a frame
        /// left; --verbose does.
        #[arg(value_name = "OUT.PCAP")]
        output: PathBuf,
        /// Keys of tunnels, to open what comes in; without them tunnels are down. What leaves is sealed with random keys.
        #[arg(long, value_name = "DIR")]
        secrets_dir: Option<PathBuf>,
        /// A line per packet, too.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Keys of tunnels.
    #[command(subcommand)]
    Sa(SaCommand),
    /// Tunnels that IKEv2 keys: take one up or down, or replace its SAs.
    #[command(subcommand)]
    Tunnel(TunnelCommand),
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a directory.
    Man {
        /// The directory, which exists.
        directory: PathBuf,
    },
}

/// What `show` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// Devices with their addresses and segments.
    Ports,
    /// Isolated routing domains.
    Segments,
    /// Routes of all segments.
    Routes,
    /// Policy rules in order.
    Policy,
    /// NAT rules and pools.
    Nat,
    /// Flows that have a decision.
    Sessions,
    /// Tunnels and their SAs.
    Tunnels,
    /// Bundles of tunnels: who carries how much, and what it may carry.
    Bundles,
    /// Hosts on the links.
    Neighbours,
    /// Drops by port and reason.
    Drops,
    /// What IKE counted: SAs, events, dropped datagrams.
    Ike,
    /// The books of every port.
    Counters,
    /// The configuration's text.
    Config,
    /// Which tables are published.
    Generation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SaCommand {
    /// Make a key for both ends of a tunnel: two files that mirror each other.
    Generate {
        /// File for one gateway.
        a: PathBuf,
        /// File for the other.
        b: PathBuf,
        /// AEAD of both directions.
        #[arg(long, default_value = "aes-256-gcm")]
        cipher: SaCipher,
        /// No extended sequence numbers.
        #[arg(long)]
        no_esn: bool,
    },
    /// Tell the gateway that a tunnel's key is new and was never used by anyone.
    Init {
        /// Name of the tunnel.
        tunnel: String,
        /// Without tombolod, before its first start.
        #[arg(long)]
        offline: bool,
        /// The configuration, when none was applied yet.
        #[arg(long, requires = "offline", value_name = "FILE")]
        config: Option<PathBuf>,
        /// tombolod's state directory.
        #[arg(long, requires = "offline", default_value = "/var/lib/tombolo", value_name = "DIR")]
        state_dir: PathBuf,
        /// tombolod's secrets directory.
        #[arg(
            long,
            requires = "offline",
            default_value = "/etc/tombolo/secrets",
            value_name = "DIR"
        )]
        secrets_dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TunnelCommand {
    /// Negotiate now, without waiting for the next attempt.
    Up {
        /// Name of the tunnel.
        tunnel: String,
    },
    /// Tell the peer that it ends, and stay down until it is taken up again.
    Down {
        /// Name of the tunnel.
        tunnel: String,
    },
    /// Replace the IKE SA and its child SAs now. Nothing is lost.
    Rekey {
        /// Name of the tunnel.
        tunnel: String,
        /// The IKE SA alone.
        #[arg(long, conflicts_with = "child")]
        ike: bool,
        /// Its child SAs alone.
        #[arg(long)]
        child: bool,
    },
}

/// Ciphers of `sa generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SaCipher {
    /// AES-128-GCM with a 16-byte ICV.
    #[value(name = "aes-128-gcm")]
    Aes128Gcm,
    /// AES-256-GCM with a 16-byte ICV.
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    #[value(name = "chacha20-poly1305")]
    Chacha20Poly1305,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_socket_follows_from_the_runtime_directory() {
        let arguments = Arguments::parse_from(["tombolo", "--runtime-dir", "/run/a", "status"]);
        if std::env::var_os("TOMBOLO_SOCKET").is_none() {
            assert_eq!(arguments.control_socket(), PathBuf::from("/run/a/control.sock"));
        }
        let arguments = Arguments::parse_from(["tombolo", "status", "--socket", "/x.sock"]);
        assert_eq!(arguments.control_socket(), PathBuf::from("/x.sock"));
    }
}
