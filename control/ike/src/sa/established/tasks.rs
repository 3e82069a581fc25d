//! What an established IKE SA does of its own accord, most urgent first.

use super::followup::Series;
use super::pending_ike::PendingIke;
use super::{Doing, Established, Standing};
use crate::connection::Connection;
use crate::now::Milliseconds;
use crate::sa::IkeSa;
use crate::sa::child::{ChildSa, Stage, Workers};
use crate::sa::pending_child::{PendingChild, Wish};
use crate::sa::step::{Connections, Step};
use crate::transform::Group;
use crate::wire::{Delete, Exchange, Notify, Payload, notify};

/// The peer is told of an SPI that is none of ours at most this often.
const UNKNOWN_SPI_MS: u64 = 10_000;
/// So long nothing is tried again that led to no request.
const STUCK_MS: u64 = 10_000;
/// Tasks that lead to no request, but to the next task, in one go.
const TASKS_MAX: usize = 4;

/// Something to be done.
pub(super) enum Task {
    DeleteIke,
    DeleteChildren,
    RekeyIke(Option<Group>),
    /// Inbound SPI; a group that the peer asked for.
    RekeyChild(u32, Option<Group>),
    CreateChild(String, Workers, Option<Group>),
    /// A packet of the peer's had this SPI.
    UnknownSpi(u32),
    Liveness,
}

impl Established {
    /// Begins what is due. What leads to no request is not due again at once: its deadline would lie in the past for ever.
    pub(super) fn begin_next(&mut self, sa: &mut IkeSa, step: &mut Step<'_>) {
        for _ in 0..TASKS_MAX {
            if sa.sender.is_busy() {
                return;
            }
            let Some(task) = self.next_task(sa, step) else { return };
            self.begin(sa, step, task);
        }
        if !sa.sender.is_busy() && self.next_task(sa, step).is_some() {
            self.stuck_until = step.now.monotonic.after(STUCK_MS);
        }
    }

    /// Workers saw a packet of the peer's with an SPI that is none of ours (RFC 7296 §1.5).
    pub(crate) fn tell_unknown_spi(&mut self, now: Milliseconds, spi: u32) {
        if self.unknown_spi_from <= now {
            self.unknown_spi_from = now.after(UNKNOWN_SPI_MS);
            self.unknown_spi = Some(spi);
        }
    }

    /// The next thing to do now.
    fn next_task(&self, sa: &IkeSa, step: &Step<'_>) -> Option<Task> {
        let now = step.now.monotonic;
        if self.stuck_until > now {
            return None;
        }
        match self.standing {
            Standing::Leaving => return Some(Task::DeleteIke),
            Standing::Replaced { delete_at } | Standing::Candidate { delete_at } => {
                return (delete_at <= now).then_some(Task::DeleteIke);
            }
            Standing::Closing => return None,
            Standing::Current => {}
        }
        let is_replaced = self.is_being_replaced();
        if !is_replaced && self.children.iter().any(|child| is_to_be_deleted(child, now)) {
            return Some(Task::DeleteChildren);
        }
        let connection = step.connections.get(&self.connection)?;
        if !is_replaced {
            if self.rekey_at <= now {
                return Some(Task::RekeyIke(None));
            }
            let mut due = self.children.iter().filter(|child| child.is_due(now));
            if let Some(child) = due.find(|child| !self.has_heir(child)) {
                return Some(Task::RekeyChild(child.inbound.spi, None));
            }
            if let Some(missing) = self
                .missing(sa, connection)
                .into_iter()
                .find(|missing| missing.at <= now)
            {
                return Some(Task::CreateChild(missing.child.name.clone(), missing.workers, None));
            }
        }
        if let Some(spi) = self.unknown_spi {
            return Some(Task::UnknownSpi(spi));
        }
        let is_quiet = connection.dpd_delay_ms > 0 && self.heard.after(connection.dpd_delay_ms) <= now;
        is_quiet.then_some(Task::Liveness)
    }

    /// When there may be something to do.
    pub(super) fn task_deadline(&self, sa: &IkeSa, connections: &Connections) -> Option<Milliseconds> {
        let due = self.task_due(sa, connections);
        due.map(|due| due.max(self.stuck_until))
    }

    fn task_due(&self, sa: &IkeSa, connections: &Connections) -> Option<Milliseconds> {
        match self.standing {
            Standing::Leaving => return Some(Milliseconds(0)),
            Standing::Replaced { delete_at } | Standing::Candidate { delete_at } => return Some(delete_at),
            Standing::Closing => return None,
            Standing::Current => {}
        }
        let connection = connections.get(&self.connection)?;
        let quiet = (connection.dpd_delay_ms > 0).then(|| self.heard.after(connection.dpd_delay_ms));
        let unknown_spi = self.unknown_spi.map(|_| Milliseconds(0));
        if self.is_being_replaced() {
            return quiet.into_iter().chain(unknown_spi).min();
        }
        let children = self.children.iter().filter_map(|child| match child.stage {
            Stage::Active => (!self.has_heir(child)).then_some(child.rekey_at),
            Stage::Replaced { delete_at } => Some(delete_at),
            Stage::Receiving { .. } | Stage::Closing | Stage::Lingering { .. } => None,
        });
        let missing = self.missing(sa, connection).into_iter().map(|missing| missing.at);
        children
            .chain(missing)
            .chain(quiet)
            .chain(unknown_spi)
            .chain([self.rekey_at])
            .min()
    }

    /// The peer replaces this IKE SA, and its additional key exchanges are to come: it refuses all else meanwhile (RFC 7296 §2.25.2).
    fn is_being_replaced(&self) -> bool {
        self.series.iter().any(Series::is_ike)
    }

    /// Whether the peer replaces a child SA, or has already, and we are about to use the new one.
    fn has_heir(&self, old: &ChildSa) -> bool {
        if self.series.iter().any(|series| series.replaces(old.inbound.spi)) {
            return true;
        }
        let receives = |child: &ChildSa| matches!(child.stage, Stage::Receiving { .. });
        self.children.iter().any(|child| receives(child) && child.is_twin(old))
    }

    /// Sends the request of a task.
    pub(super) fn begin(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, task: Task) {
        let Some(connection) = step.connections.get(&self.connection).cloned() else {
            return match task {
                Task::DeleteIke => self.delete_ike(sa, step),
                Task::DeleteChildren => self.delete_children(sa, step),
                // Nothing is begun without settings.
                Task::RekeyIke(_)
                | Task::RekeyChild(..)
                | Task::CreateChild(..)
                | Task::UnknownSpi(_)
                | Task::Liveness => {}
            };
        };
        match task {
            Task::DeleteIke => self.delete_ike(sa, step),
            Task::DeleteChildren => self.delete_children(sa, step),
            Task::RekeyIke(group) => {
                let Some((pending, payloads)) = PendingIke::new(step, &connection, &self.channel.suite, group) else {
                    self.rekey_at = step.soon(10_000);
                    return;
                };
                self.ask(
                    sa,
                    step,
                    Exchange::CreateChildSa,
                    &payloads,
                    Doing::RekeyIke(Box::new(pending)),
                );
            }
            Task::RekeyChild(old, group) => self.begin_rekey_child(sa, step, &connection, old, group),
            Task::CreateChild(name, workers, group) => {
                let Some(child) = connection.children.iter().find(|child| child.name == name) else {
                    return;
                };
                let wish = Wish {
                    exchange: true,
                    group,
                    workers,
                    shares: connection.shares(),
                };
                let pending = PendingChild::new(step, sa.id, child, wish);
                let payloads = pending.payloads(child);
                self.ask(
                    sa,
                    step,
                    Exchange::CreateChildSa,
                    &payloads,
                    Doing::CreateChild(pending),
                );
            }
            Task::UnknownSpi(spi) => {
                self.unknown_spi = None;
                // RFC 7296 §1.5: the SPI is data, since none of this IKE SA's is meant.
                let told = Payload::Notify(Notify::new(notify::INVALID_SPI, &spi.to_be_bytes()));
                self.ask(sa, step, Exchange::Informational, &[told], Doing::Liveness);
            }
            Task::Liveness => self.ask(sa, step, Exchange::Informational, &[], Doing::Liveness),
        }
    }

    fn begin_rekey_child(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        connection: &Connection,
        old: u32,
        group: Option<Group>,
    ) {
        let Some(at) = self.children.iter().position(|child| child.inbound.spi == old) else {
            return;
        };
        let wanted = connection
            .children
            .iter()
            .find(|child| child.name == self.children[at].name);
        let Some(wanted) = wanted else {
            // The configuration has it no longer.
            self.children[at].replace(step.now.monotonic, true);
            return;
        };
        let wish = Wish {
            exchange: true,
            group,
            workers: self.children[at].workers,
            shares: connection.shares(),
        };
        let pending = PendingChild::new(step, sa.id, wanted, wish);
        // RFC 7296 §1.3.3: the SPI is the one that the sender of the notification expects in packets to it.
        let rekeyed = Notify::of_child(notify::REKEY_SA, old);
        let mut payloads = vec![Payload::Notify(rekeyed)];
        payloads.extend(pending.payloads(wanted));
        let doing = Doing::RekeyChild {
            old,
            pending,
            met: None,
        };
        self.ask(sa, step, Exchange::CreateChildSa, &payloads, doing);
    }

    fn delete_ike(&mut self, sa: &mut IkeSa, step: &mut Step<'_>) {
        self.standing = match self.standing {
            Standing::Current | Standing::Leaving | Standing::Closing => Standing::Closing,
            // Its end is none of the tunnel's.
            kept @ (Standing::Candidate { .. } | Standing::Replaced { .. }) => kept,
        };
        let delete = Payload::Delete(Delete::Ike);
        self.ask(sa, step, Exchange::Informational, &[delete], Doing::DeleteIke);
    }

    fn delete_children(&mut self, sa: &mut IkeSa, step: &mut Step<'_>) {
        let now = step.now.monotonic;
        let mut spis = Vec::new();
        for child in self.children.iter_mut().filter(|child| is_to_be_deleted(child, now)) {
            child.stage = Stage::Closing;
            spis.push(child.inbound.spi);
        }
        let delete = Payload::Delete(Delete::Esp(spis.clone()));
        self.ask(
            sa,
            step,
            Exchange::Informational,
            &[delete],
            Doing::DeleteChildren(spis),
        );
    }
}

fn is_to_be_deleted(child: &ChildSa, now: Milliseconds) -> bool {
    matches!(child.stage, Stage::Replaced { delete_at } if delete_at <= now)
}
