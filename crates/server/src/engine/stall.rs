//! What the loop does when it cannot write: it refuses what is asked of it, does nothing that is
//! not durable, and goes on when there is room again.

use std::sync::Arc;

use runabout_scheduler::{Event, Moment};
use runabout_store as store;

use super::Refused;
use super::batch::Batch;
use super::driver::{Driver, Halted, Request};
use super::waiters::Waiters;

/// How long to wait before what could not be written is tried again.
const TRY_AGAIN_AFTER_MS: u64 = 1_000;

impl Driver {
    /// Makes a turn's writes durable. What cannot be refused any more, such as the end of an
    /// attempt, is tried until it can be written; meanwhile workers wait to report.
    pub(super) async fn commit(&mut self, batch: &mut Batch) -> Result<(), Halted> {
        let mut refused = match self.write(batch).await {
            Ok(()) => return Ok(()),
            Err(error) => Refused::from(error),
        };
        self.take_back(batch, &refused)?;
        loop {
            match self.write(batch).await {
                Ok(()) => return Ok(()),
                Err(store::Error::Failed(reason)) => return Err(Halted(reason)),
                Err(error) => refused = error.into(),
            }
            let until = self.clock.now().after_ms(TRY_AGAIN_AFTER_MS);
            self.refuse_until(until, &refused).await;
            if !self.stopping.is_empty() {
                // The next life of the node finds it as after a crash.
                return Err(Halted("stopped while the store could not be written to".to_owned()));
            }
        }
    }

    async fn write(&mut self, batch: &mut Batch) -> Result<(), store::Error> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let writes = Arc::new(std::mem::take(&mut batch.writes));
        let written = self.store.commit(Arc::clone(&writes)).await;
        match &written {
            Ok(()) => self.tell(writes),
            Err(_) => batch.writes = Arc::unwrap_or_clone(writes),
        }
        written
    }

    /// Refuses the turn's requests, and undoes its submissions as if they had never been.
    fn take_back(&mut self, batch: &mut Batch, refused: &Refused) -> Result<(), Halted> {
        let submitted = batch.refuse_all(refused);
        if let store::Health::Failed(reason) = self.store.health() {
            return Err(Halted(reason));
        }
        batch.forget(&submitted);
        for task in &submitted {
            self.inputs.forget(*task);
        }
        self.step(Event::Retract(submitted.into_iter().collect()));
        // Slots that are free again were given to others.
        batch.append(std::mem::take(&mut self.batch));
        Ok(())
    }

    async fn refuse_until(&mut self, until: Moment, refused: &Refused) {
        let mut sleep = self.clock.sleep_until(until);
        loop {
            tokio::select! {
                biased;
                () = &mut sleep => return,
                Some(request) = self.requests.recv() => self.refuse(request, refused),
            }
        }
    }

    /// Refuses everything, for good.
    pub(super) async fn refuse_until_stopped(&mut self, refused: &Refused) {
        // Nothing will happen to any task, so nobody need wait for it: waiting ends with this.
        self.waiters = Waiters::default();
        while self.stopping.is_empty()
            && let Some(request) = self.requests.recv().await
        {
            match request {
                Request::Wait { waiter, .. } => drop(waiter),
                request => self.refuse(request, refused),
            }
        }
    }

    fn refuse(&mut self, request: Request, refused: &Refused) {
        match request {
            Request::Submit { reply, .. }
            | Request::Fire { reply, .. }
            | Request::Cancel { reply, .. }
            | Request::Delete { reply, .. } => drop(reply.send(Err(refused.clone()))),
            // An end that could not be written yet is told after it was.
            Request::Wait { task, waiter } => self.wait(task, waiter),
            Request::Stop { done } => self.stopping.push(done),
            // They write nothing by themselves; what they lead to waits like everything else.
            Request::Join { .. } | Request::Resize { .. } | Request::Workers { .. } => {
                self.take_request(request);
            }
        }
    }
}
