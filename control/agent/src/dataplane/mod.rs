//! The dataplane's process as control sees it: started when none runs, taken over when one does, started again when it
//! dies.

mod spawn;
mod supervise;

pub use spawn::{Spawner, executable};
pub use supervise::{Ack, Connection, News, supervise};

use std::path::Path;
use std::time::Duration;
use tombolo_tables::handoff::{Adopted, ControlLink, HandoffError};

/// Longest wait for a dataplane's answer to a greeting.
const GREETING_TIME_MAX: Duration = Duration::from_secs(2);

/// What runs for this runtime directory, if anything does. Does not block the runtime.
pub async fn find(runtime_dir: &Path) -> Result<Option<Adopted>, HandoffError> {
    let directory = runtime_dir.to_owned();
    let connect = move || ControlLink::connect(&directory, GREETING_TIME_MAX);
    match tokio::task::spawn_blocking(connect).await {
        Ok(Ok(adopted)) => Ok(Some(adopted)),
        Ok(Err(HandoffError::NobodyThere(_) | HandoffError::Closed)) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}
