//! The one queue: questions of operators, news of the kernel and of the dataplane, events of workers, time.

use super::Gateway;
use crate::dataplane::{Connection, News};
use crate::http::Question;
use crate::netlink::KernelNews;
use crate::watch;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often leases, replies and captures are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often everything is looked at, in case news was lost.
const RESYNC: Duration = Duration::from_secs(15);
/// Least time between two plans that news asked for: a flood of news must not fill the time.
const REPLAN_PAUSE: Duration = Duration::from_millis(5);

/// Where things come from.
pub(super) struct Inputs {
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) kernel_news: mpsc::Receiver<KernelNews>,
    pub(super) dataplane_news: mpsc::Receiver<News>,
}

/// What woke the loop.
enum Happened {
    Question(Question),
    Kernel(KernelNews),
    Dataplane(News),
    Worker,
    Ike,
    Tick,
    Stop,
}

impl Gateway {
    /// Runs until a signal or the end of the control socket.
    pub(super) async fn run(mut self, mut inputs: Inputs) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wake: Option<mpsc::Receiver<()>> = None;
        let mut resynced = Instant::now();
        let mut datagrams = Vec::new();
        loop {
            let happened = tokio::select! {
                biased;
                _ = terminate.recv() => Happened::Stop,
                _ = interrupt.recv() => Happened::Stop,
                Some(news) = inputs.dataplane_news.recv() => Happened::Dataplane(news),
                () = woken(&mut wake) => Happened::Worker,
                Some(news) = inputs.kernel_news.recv() => Happened::Kernel(news),
                question = inputs.questions.recv() => question.map_or(Happened::Stop, Happened::Question),
                _ = tick.tick() => Happened::Tick,
                // Last: a flood of strangers leaves everything else its turn.
                () = self.ike.sockets.receive(&mut datagrams) => Happened::Ike,
            };
            let mut replan = match happened {
                Happened::Stop => return Ok(()),
                Happened::Question((request, reply)) => {
                    // The client may have gone.
                    let _ = reply.send(self.answer(request).await);
                    false
                }
                Happened::Dataplane(news) => {
                    self.dataplane_news(news, &mut wake);
                    false
                }
                Happened::Worker => self.take_events(),
                Happened::Kernel(KernelNews::Neighbour) => true,
                Happened::Kernel(KernelNews::Link) => {
                    self.resync().await;
                    true
                }
                Happened::Kernel(KernelNews::Address) => {
                    self.kernel.distrust();
                    true
                }
                Happened::Ike => {
                    self.take_ike_datagrams(&mut datagrams).await;
                    false
                }
                Happened::Tick => {
                    self.tick_ike().await;
                    self.tick()
                }
            };
            if resynced.elapsed() > RESYNC {
                resynced = Instant::now();
                self.resync().await;
                replan = true;
            }
            if replan {
                self.drain(&mut inputs.kernel_news);
                if let Err(error) = self.replan().await {
                    tracing::warn!("the news could not be followed: {error}");
                }
                tokio::time::sleep(REPLAN_PAUSE).await;
            }
        }
    }

    /// Takes the news that the coming plan will follow anyway.
    fn drain(&mut self, news: &mut mpsc::Receiver<KernelNews>) {
        while let Ok(more) = news.try_recv() {
            if more != KernelNews::Neighbour {
                self.kernel.distrust();
            }
        }
    }

    fn tick(&mut self) -> bool {
        self.take_replies(0);
        let mut replan = self.take_events();
        self.supply_sequences();
        if !self.captures.is_empty() {
            replan |= self.captures.turn(&self.plan.world);
        }
        self.publisher.make_spares();
        replan || self.requested.is_due(Instant::now())
    }

    /// Looks at everything, as if nothing were known of the kernel.
    async fn resync(&mut self) {
        self.kernel.distrust();
        for error in self.kernel.refresh_neighbours().await {
            tracing::warn!("kernel: {error}");
        }
    }

    fn dataplane_news(&mut self, news: News, wake: &mut Option<mpsc::Receiver<()>>) {
        match news {
            News::Up(connection) => {
                tracing::info!(
                    pid = connection.link.peer_pid(),
                    adopted = connection.adopted,
                    "the dataplane runs"
                );
                *wake = control_wake(&connection);
                self.dataplane.failure = None;
                self.dataplane.connection = Some(connection);
                self.announce_to_dataplane();
            }
            News::Died(ack) => {
                tracing::error!("the dataplane died");
                *wake = None;
                self.dataplane.connection = None;
                self.dataplane.restarts += 1;
                self.port_errors.clear();
                self.publisher.dataplane_gone();
                let _ = ack.send(());
            }
            News::Failed(why) => {
                if self.dataplane.failure.as_ref() != Some(&why) {
                    tracing::error!("the dataplane: {why}");
                }
                self.dataplane.failure = Some(why);
            }
        }
    }
}

fn control_wake(connection: &Connection) -> Option<mpsc::Receiver<()>> {
    let watched = connection.wakes.control.try_clone().and_then(watch::event);
    watched
        .inspect_err(|error| tracing::warn!(%error, "workers cannot ring; their events wait for the next look"))
        .ok()
}

/// Returns when a worker rang.
async fn woken(wake: &mut Option<mpsc::Receiver<()>>) {
    let rang = match wake {
        Some(rings) => rings.recv().await,
        None => None,
    };
    if rang.is_none() {
        std::future::pending::<()>().await;
    }
}
