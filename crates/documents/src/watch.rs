//! Notices files that were changed by hand, by looking at all of them now and then: that works on
//! every file system, and costs a moment a second.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::disk::Stamp;
use crate::document::Job;
use crate::store::Inner;
use crate::{MediaType, Name};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And at most this part of the time, with very many of them.
const REST_FACTOR: u32 = 50;
/// A file that was changed a moment ago may be changed further; it is taken in when it has rested.
const REST: Duration = Duration::from_millis(300);

/// The thread that looks; it ends when this is dropped.
pub(crate) struct Watch {
    _end: Sender<()>,
}

impl Watch {
    pub(crate) fn start(documents: Weak<Inner>) -> std::io::Result<Self> {
        let (end, ended) = channel();
        thread::Builder::new().name("documents-watch".to_owned()).spawn(move || {
            let mut pause = LOOK_EVERY;
            let mut seen = HashMap::new();
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let Some(documents) = documents.upgrade() else { return };
                let began = Instant::now();
                look(&documents, &mut seen);
                pause = LOOK_EVERY.max(began.elapsed() * REST_FACTOR);
            }
        })?;
        Ok(Self { _end: end })
    }
}

/// A file that is not as it was left.
#[derive(Clone, Copy)]
struct Changed {
    stamp: Stamp,
    /// Whether the document has been told. One that cannot take it in is not told twice.
    is_told: bool,
}

/// Has every document looked after whose file is not as it was left. `seen` are those files as they
/// were the last time.
fn look(documents: &Inner, seen: &mut HashMap<Name, Changed>) {
    let files: HashMap<Name, MediaType> = match documents.files() {
        Ok(files) => files.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%error, "failed to look for changes by hand");
            return;
        }
    };
    let mut changed: HashMap<Name, Changed> = HashMap::new();
    for (name, media_type) in &files {
        let path = documents.shared.root.join(format!("{name}.{}", media_type.extension()));
        // Whatever stands in the way is told when it is looked at closely.
        let stamp = documents.shared.disk.stamp(&path).ok().flatten();
        let document = documents.known(name);
        if document.as_ref().is_some_and(|it| it.is_as_written(stamp)) {
            continue;
        }
        let Some(stamp) = stamp else { continue };
        let before = seen.get(name).filter(|before| before.stamp == stamp);
        let is_told = before.is_some_and(|before| before.is_told);
        let is_ready = before.is_some() || has_rested(stamp);
        changed.insert(name.clone(), Changed { stamp, is_told: is_told || is_ready });
        if is_told || !is_ready {
            continue;
        }
        match document.map_or_else(|| documents.add(name.clone()), Ok) {
            // A busy one looks for itself before it writes.
            Ok(document) => drop(document.queue(Job::Look(*media_type))),
            Err(error) => tracing::warn!(%error, %name, "failed to take a file in"),
        }
    }
    *seen = changed;
    for (name, document) in &*documents.all() {
        if !files.contains_key(name) && document.current.load().is_some() {
            drop(document.queue(Job::Look(MediaType::HTML)));
        }
    }
}

fn has_rested(stamp: Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = i128::try_from(now.as_nanos()).unwrap_or_default() - stamp.modified_ns;
    age >= i128::try_from(REST.as_nanos()).unwrap_or_default()
}
