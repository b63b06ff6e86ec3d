//! A machine whose processors are shared as a node shares them: in slices, those that have used
//! little before those that have used much, in bands of age.

/// How long a slice is, in milliseconds.
pub const SLICE_MS: f64 = 0.25;

/// A run on a machine. Work is in milliseconds of a processor of speed 1.
#[derive(Clone, Debug)]
pub struct Job {
    pub call: usize,
    pub began_ms: f64,
    pub idle_ms: f64,
    pub used: f64,
    pub left: f64,
}

#[derive(Clone, Debug)]
pub struct Machine {
    pub processors: usize,
    pub speed: f64,
    pub jobs: Vec<Job>,
}

impl Machine {
    pub fn new(processors: usize) -> Self {
        Self { processors, speed: 1.0, jobs: Vec::new() }
    }

    pub fn begin(&mut self, call: usize, now_ms: f64, work: f64, idle_ms: f64) {
        self.jobs.push(Job { call, began_ms: now_ms, idle_ms, used: 0.0, left: work });
    }

    pub fn cancel(&mut self, call: usize) {
        self.jobs.retain(|job| job.call != call);
    }

    /// One slice; those that ended in it, and when in it they did.
    pub fn step(&mut self) -> Vec<(Job, f64)> {
        let mut order: Vec<usize> = Vec::new();
        for (at, job) in self.jobs.iter_mut().enumerate() {
            if job.idle_ms > 0.0 {
                job.idle_ms -= SLICE_MS;
            } else {
                order.push(at);
            }
        }
        if order.len() > self.processors {
            // Stable: within a band, the one that was asked for first.
            order.sort_by_key(|at| band(self.jobs[*at].used));
        }
        let mut ended = Vec::new();
        for at in order.into_iter().take(self.processors) {
            let job = &mut self.jobs[at];
            let work = SLICE_MS * self.speed;
            if job.left <= work {
                ended.push((job.call, job.left / self.speed));
            }
            job.left -= work;
            job.used += work;
        }
        ended
            .into_iter()
            .filter_map(|(call, after_ms)| {
                let at = self.jobs.iter().position(|job| job.call == call)?;
                Some((self.jobs.remove(at), after_ms))
            })
            .collect()
    }

    /// When a new job would have ended, if nothing came after it: what the oracle knows.
    pub fn finish_ms(&self, work: f64, idle_ms: f64) -> f64 {
        let own_ms = work / self.speed;
        if self.jobs.len() < self.processors {
            return own_ms + idle_ms;
        }
        let before = |job: &Job| job.left.min((work - job.used).max(0.0)) / self.speed;
        let ahead_ms: f64 = self.jobs.iter().map(before).sum();
        let processors = self.processors as f64;
        own_ms.max((own_ms + ahead_ms) / processors) + idle_ms
    }
}

fn band(used: f64) -> u32 {
    let mut band = 0;
    let (mut end, mut width) = (3.0, 12.0);
    while used >= end {
        end += width;
        width *= 4.0;
        band += 1;
    }
    band
}
