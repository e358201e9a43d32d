//! Keeps a session with the cluster of one agent: connects, and begins anew after each that ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::watch;

use super::Settings;
use super::connect::{connect, namespace_exists};
use super::fence::{Fence, Silence};
use super::gate::Gate;
use super::session::{End, Hold, Message, Session};
use crate::target::{Report, ReportSink};

/// The first pause between attempts to connect; they double.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps a session until the target is closed, and tells beside it when the namespace is ours.
pub async fn keep(
    settings: &Settings,
    gate: &Arc<Gate>,
    sink: &ReportSink,
    ours: &watch::Sender<Option<Hold>>,
    inbox: WeakUnboundedSender<Message>,
    mut receive: UnboundedReceiver<Message>,
) {
    let mut pause = PAUSE;
    let mut last_words = None;
    // What cannot be seen from a list is looked at before the next session when it ended the one before.
    let mut suspicious = false;
    // Until when a server before us may still make objects.
    let mut removes_from = Instant::now();
    let mut silence = Silence::default();
    loop {
        let connecting = async {
            let connection = connect(&settings.spec, gate).await?;
            if suspicious {
                namespace_exists(&connection.client, &connection.namespace).await?;
            }
            let (fence, wait) = Fence::take(&connection.client, &connection.namespace, settings, &mut silence).await?;
            Ok::<_, String>((connection, fence, wait))
        };
        let end = match or_closed(connecting, &mut receive).await {
            None => return,
            Some(Ok((connection, fence, wait))) => {
                removes_from = removes_from.max(Instant::now() + wait);
                let hold = Hold { fence, removes_from };
                ours.send_replace(Some(hold.clone()));
                let mut session = Session::new(settings, gate, sink, inbox.clone(), connection, hold);
                let end = session.run(&mut receive).await;
                ours.send_replace(None);
                if session.was_ready() {
                    (pause, last_words) = (PAUSE, None);
                }
                end
            }
            Some(Err(why)) => End::Trouble(why),
        };
        match end {
            End::Closed => return,
            End::Relist => continue,
            End::Trouble(why) => {
                suspicious = true;
                // Said once, not at every try.
                if last_words.as_ref() != Some(&why) {
                    sink(Report::Down(settings.agent.clone(), why.clone()));
                    last_words = Some(why);
                }
            }
        }
        if or_closed(tokio::time::sleep(pause), &mut receive).await.is_none() {
            return;
        }
        pause = (pause * 2).min(settings.duty.longest_pause());
    }
}

/// What a future gives, unless the target is closed before. Effects that come meanwhile are dropped: what is owed is
/// delivered again once the agent is up.
async fn or_closed<T>(future: impl Future<Output = T>, receive: &mut UnboundedReceiver<Message>) -> Option<T> {
    futures::pin_mut!(future);
    loop {
        tokio::select! {
            value = &mut future => return Some(value),
            message = receive.recv() => if let None | Some(Message::Close) = message { return None },
        }
    }
}
