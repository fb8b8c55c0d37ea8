//! The events of a watch, on their way through the proxy.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch::Receiver;

use crate::answer::gone_event;
use crate::rules::{Ask, Fault};
use crate::server::{Body, Shared};

/// The body of a watch: line by line what the API server sends, as far as the rules let it.
pub(crate) fn relay(shared: &Arc<Shared>, ask: Ask, from: Incoming) -> Body {
    let (sender, lines) = mpsc::unbounded_channel();
    // What is held back is held here: the API server ends a watch whose client does not read.
    tokio::spawn(read_lines(from, sender));
    let relay = Relay {
        changes: shared.rules.changes(),
        expired: shared.expired.subscribe(),
        shared: Arc::clone(shared),
        ask,
        lines,
    };
    let frames = stream::unfold(Some(relay), |relay| async move {
        let mut relay = relay?;
        let (line, goes_on) = relay.next().await?;
        let frame = Ok::<_, Infallible>(Frame::data(line));
        Some((frame, goes_on.then_some(relay)))
    });
    StreamBody::new(frames)
        .map_err(|never| match never {})
        .boxed()
}

async fn read_lines(mut from: Incoming, lines: UnboundedSender<Bytes>) {
    let mut rest = BytesMut::new();
    while !from.is_end_stream() {
        let frame = tokio::select! {
            frame = from.frame() => frame,
            () = lines.closed() => return,
        };
        let Some(Ok(frame)) = frame else { return };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        rest.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1).freeze();
            if lines.send(line).is_err() {
                return;
            }
        }
    }
}

struct Relay {
    shared: Arc<Shared>,
    ask: Ask,
    lines: UnboundedReceiver<Bytes>,
    changes: Receiver<u64>,
    expired: Receiver<u64>,
}

impl Relay {
    /// The next line that the client may see, and whether another can follow.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            let line = tokio::select! {
                biased;
                _ = self.expired.changed() => return Some((gone_event().into(), false)),
                line = self.lines.recv() => line?,
            };
            while self.shared.rules.has(&self.ask, Fault::Hold) {
                tokio::select! {
                    _ = self.changes.changed() => {}
                    _ = self.expired.changed() => return Some((gone_event().into(), false)),
                }
            }
            if !self.is_left_out(&line) {
                return Some((line, true));
            }
            self.shared.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_left_out(&self, line: &[u8]) -> bool {
        let has = |text: &[u8]| line.windows(text.len()).any(|it| it == text);
        has(br#""type":"BOOKMARK""#)
            && !has(b"k8s.io/initial-events-end")
            && self.shared.rules.has(&self.ask, Fault::NoBookmarks)
    }
}
