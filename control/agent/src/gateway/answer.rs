//! Answers to the control socket's questions.

use super::Gateway;
use super::apply::{self, ApplyError};
use super::memory;
use crate::http::{Answer, Request};
use crate::ike::clock;
use crate::views;
use futures::stream;
use hyper::StatusCode;
use std::collections::BTreeMap;
use tombolo_api::{
    Checked, Dataplane, DataplaneState, Generation, Port, SaInitDone, Status, Summary, TunnelCommand, TunnelOrder,
};
use tombolo_ike::endpoint::Command;
use tombolo_tables::layout::{PortIndex, wildcard};
use tombolo_tables::port_status::{self, Attached};
use tombolo_tunnel::Provider;

impl Gateway {
    /// Answers one question.
    pub(super) async fn answer(&mut self, request: Request) -> Answer {
        let (world, state) = (&self.plan.world, self.regions.state);
        match request {
            Request::Status => Answer::json(&self.status()),
            Request::Config => Answer::Text("application/yaml", self.text.clone()),
            Request::PutConfig(text) => match self.put(text).await {
                Ok(applied) => Answer::json(&applied),
                Err(error) => refusal(error),
            },
            Request::CheckConfig(text) => match apply::check(&text) {
                Ok(_) => Answer::json(&Checked { ok: true }),
                Err(error) => refusal(error),
            },
            Request::Ports => Answer::json(&self.ports()),
            Request::Segments => Answer::json(&views::segments(world)),
            Request::Routes => Answer::json(&views::routes(world)),
            Request::Policy => Answer::json(&views::policy(world, &self.rule_names())),
            Request::Nat => Answer::json(&views::nat(world)),
            Request::Sessions(limit) => Answer::json(&views::sessions(world, state, limit)),
            Request::Tunnels => Answer::json(&views::tunnels(world, state, &self.notes, &self.ike_views())),
            Request::Bundles => Answer::json(&views::bundles(&self.desired, world)),
            Request::Neighbours => Answer::json(&views::neighbours(world)),
            Request::Counters => Answer::json(&views::counters(world, state)),
            Request::Drops => Answer::json(&views::drops(world, state)),
            Request::Ike => Answer::json(&self.ike.counters()),
            Request::Generation => Answer::json(&self.generation()),
            Request::Capture { port, count } => self.capture(port, count).await,
            Request::SaInit(tunnel) => self.sa_init(&tunnel),
            Request::Tunnel(order) => self.tunnel(&order).await,
            Request::Metrics => Answer::Text("text/plain; version=0.0.4; charset=utf-8", self.metrics()),
        }
    }

    /// The gateway in one view.
    pub(super) fn status(&self) -> Status {
        let connection = self.dataplane.connection.as_ref();
        let regions = self.memory();
        let short_of_pages = memory::alarms(&regions, memory::huge_pages_reserved());
        Status {
            gateway: self.desired.name.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            dataplane: Dataplane {
                state: match (connection, &self.dataplane.failure) {
                    (Some(_), _) => DataplaneState::Running,
                    (None, None) => DataplaneState::Starting,
                    (None, Some(_)) => DataplaneState::Down,
                },
                pid: connection.and_then(|connection| u32::try_from(connection.link.peer_pid()).ok()),
                adopted: connection.is_some_and(|connection| connection.adopted),
                restarts: self.dataplane.restarts,
                workers: u32::from(crate::regions::workers(&self.regions.state.limits())),
                aead: connection.and_then(|_| self.aead()),
            },
            generation: self.generation(),
            regions,
            summary: self.summary(),
            alarms: self
                .dataplane
                .failure
                .iter()
                .cloned()
                .chain(self.warnings())
                .chain(self.recent_alarms())
                .chain(short_of_pages)
                .collect(),
        }
    }

    /// The workers of one process are of one mind.
    fn aead(&self) -> Option<String> {
        let mut slots = self.regions.state.workers().iter();
        let provider = slots.find_map(|slot| Provider::from_word(slot.encrypts_with()))?;
        Some(provider.name().into())
    }

    fn summary(&self) -> Summary {
        let (world, state) = (&self.plan.world, self.regions.state);
        let limits = state.limits();
        let (sessions4, sessions6) = views::session_count(state);
        let tunnels = views::tunnels(world, state, &self.notes, &BTreeMap::new());
        let ports = self.ports();
        let mut summary = Summary {
            ports_up: ports.iter().filter(|port| port.up).count() as u32,
            ports: ports.len() as u32,
            ports_generic: ports.iter().filter(|port| port.xdp == "generic").count() as u32,
            ports_zero_copy: ports
                .iter()
                .filter(|port| port.copy.as_deref() == Some("zero-copy"))
                .count() as u32,
            tunnels_up: tunnels.iter().filter(|tunnel| tunnel.up).count() as u32,
            tunnels: self.desired.tunnels.len() as u32,
            sessions4,
            sessions4_max: u64::from(limits.sessions4),
            sessions6,
            sessions6_max: u64::from(limits.sessions6),
            ..Summary::default()
        };
        for port in views::counters(world, state) {
            let of = |name: &str| port.counters.get(name).copied().unwrap_or(0);
            summary.received = summary.received.wrapping_add(of("received"));
            summary.sent = summary.sent.wrapping_add(of("sent"));
            summary.dropped = summary.dropped.wrapping_add(port.dropped);
        }
        summary
    }

    fn generation(&self) -> Generation {
        let usage = self.publisher.usage();
        let slots = self.regions.state.workers().iter();
        let published = self.publisher.current();
        // A sleeping worker looks at the newest generation when it wakes.
        let oldest = slots.map(|slot| slot.generation().unwrap_or(published)).min();
        Generation {
            published,
            announced: self.dataplane.connection.as_ref().and(oldest),
            used_bytes: usage.total_bytes.saturating_sub(usage.free_bytes) as u64,
            total_bytes: usage.total_bytes as u64,
        }
    }

    /// Ports, with what the dataplane says about them.
    fn ports(&self) -> Vec<Port> {
        let mut ports = views::ports(&self.plan.world);
        for (index, port) in (0_u16..).zip(&mut ports) {
            if self.dataplane.connection.is_some() {
                let status = port_status::read(self.regions.state, PortIndex(index));
                (port.xdp, port.copy) = match (status.attached, status.zero_copy) {
                    (Attached::No, _) => ("detached".into(), None),
                    (Attached::Native, true) => ("native".into(), Some("zero-copy".into())),
                    (Attached::Native, false) => ("native".into(), Some("copy".into())),
                    (Attached::Generic, _) => ("generic".into(), Some("copy".into())),
                };
            }
            port.error = self.port_errors.get(&index).cloned();
            port.tap = self.learned.taps.get(&port.name).map(|tap| tap.device.clone());
        }
        ports
    }

    fn rule_names(&self) -> Vec<String> {
        self.desired.policy.iter().map(|rule| rule.name.to_string()).collect()
    }

    async fn capture(&mut self, port: String, count: u64) -> Answer {
        if !self.desired.ports.iter().any(|known| known.name.as_str() == port) {
            return Answer::refused(
                StatusCode::NOT_FOUND,
                format!("there is no port {port}"),
                Some("`tombolo show ports` names them"),
            );
        }
        if count == 0 {
            return Answer::Lines(Box::pin(stream::empty()));
        }
        let Some(receiver) = self.captures.add(port, count) else {
            return Answer::refused(StatusCode::TOO_MANY_REQUESTS, "too many captures are running", None);
        };
        if let Err(error) = self.replan().await {
            return refusal(error);
        }
        let lines = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|line| (line, receiver))
        });
        Answer::Lines(Box::pin(lines))
    }

    /// Accepts a tunnel's outbound key as new, and leases its first numbers.
    fn sa_init(&mut self, tunnel: &str) -> Answer {
        let Some(keys) = self.learned.sa_keys.get(tunnel) else {
            let why = match self.refused_keys.get(tunnel) {
                Some(why) => why.clone(),
                None => format!("there is no tunnel {tunnel}"),
            };
            return Answer::refused(StatusCode::NOT_FOUND, why, Some("`tombolo show tunnels` names them"));
        };
        let fingerprint = crate::leases::Fingerprint::from(keys);
        match self.leases.init(tunnel, &fingerprint) {
            Ok(fresh) => {
                self.supply_sequences();
                Answer::json(&SaInitDone {
                    tunnel: tunnel.into(),
                    fingerprint: fingerprint.to_string(),
                    fresh,
                })
            }
            Err(error) => Answer::refused(StatusCode::CONFLICT, error.to_string(), None),
        }
    }

    fn ike_views(&self) -> BTreeMap<String, tombolo_api::Ike> {
        views::ike(&self.ike.endpoint, &self.ike.reasons(), clock::now().monotonic)
    }

    /// Takes a tunnel up or down, or rekeys it.
    async fn tunnel(&mut self, order: &TunnelOrder) -> Answer {
        let command = match order.command {
            TunnelCommand::Up => Command::Up,
            TunnelCommand::Down => Command::Down,
            TunnelCommand::Rekey => Command::Rekey,
            TunnelCommand::RekeyIke => Command::RekeyIke,
            TunnelCommand::RekeyChildren => Command::RekeyChildren,
        };
        if self.command_ike(&order.tunnel, command).await {
            return Answer::json(order);
        }
        let configured = self
            .desired
            .tunnels
            .iter()
            .find(|tunnel| tunnel.name.as_str() == order.tunnel);
        match (self.ike.refused.get(&order.tunnel), configured) {
            (Some(why), _) => Answer::refused(StatusCode::CONFLICT, why.clone(), None),
            (None, Some(_)) => Answer::refused(
                StatusCode::CONFLICT,
                format!("tunnel {} has manual keys: IKE has no part in it", order.tunnel),
                Some("`type: ipsec` tunnels are negotiated"),
            ),
            (None, None) => Answer::refused(
                StatusCode::NOT_FOUND,
                format!("there is no tunnel {}", order.tunnel),
                Some("`tombolo show tunnels` names them"),
            ),
        }
    }

    /// How many tunnels have an outbound SA at all.
    pub(super) fn outbound_tunnels(&self) -> usize {
        self.plan
            .world
            .tunnels
            .iter()
            .filter(|tunnel| tunnel.outbound != wildcard::NONE)
            .count()
    }
}

fn refusal(error: ApplyError) -> Answer {
    let status = match &error {
        ApplyError::Problems(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ApplyError::Refused(..) => StatusCode::CONFLICT,
        ApplyError::Incomplete(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Answer::Refused(status, error.into())
}
