//! The command line of `tombolod`.

use std::path::PathBuf;

/// The control process of a Tombolo gateway.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tombolod", version)]
pub struct Arguments {
    /// Configuration for the first start; afterwards the one that was last applied is used (`<state-dir>/config.yaml`).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sockets, lock and log of this gateway.
    #[arg(long, value_name = "DIR", default_value = "/run/tombolo")]
    pub runtime_dir: PathBuf,
    /// What must survive a reboot: the applied configuration and the leases of sequence numbers.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tombolo")]
    pub state_dir: PathBuf,
    /// Where `file:NAME` in the configuration is looked up: files of root, mode 0600, no symbolic links, in a directory of root that
    /// nobody else may write to.
    #[arg(long, value_name = "DIR", default_value = "/etc/tombolo/secrets")]
    pub secrets_dir: PathBuf,
    /// The dataplane's executable; default: `tombolo-dataplane` beside this one.
    #[arg(long, value_name = "PATH")]
    pub dataplane: Option<PathBuf>,
    /// Never start the dataplane: wait for one that something else starts (systemd).
    #[arg(long)]
    pub no_spawn: bool,
    /// Group whose members may use the control socket, by number; root and this process's own user always may.
    #[arg(long, value_name = "GID")]
    pub control_group: Option<u32>,
}
