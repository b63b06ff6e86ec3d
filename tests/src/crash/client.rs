//! A client: submits, looks, cancels and deletes until the node is dead, and keeps account.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::ledger::{Ledger, Submission, Tally};
use super::work::Work;
use crate::random::Random;

/// The most tasks in a batch.
const BATCH_MAX: u64 = 20;

/// One in so many tasks is kept to the end, so that old ones are among those that survive.
const KEPT_ONE_IN: u64 = 20;

/// How often the end of a task is asked for, each time with a wait of 10 s.
const WAITS_MAX: u32 = 12;

/// The node is dead.
struct Dead;

/// What a request came back with.
struct Answer {
    status: u16,
    body: Value,
}

/// A client and its account.
pub(super) struct Client {
    index: u64,
    random: Random,
    submissions: u64,
    ledger: Ledger,
}

/// How a client reaches the node of this round.
struct Link<'a> {
    http: &'a reqwest::Client,
    url: &'a str,
}

impl Link<'_> {
    /// An answer counts when all of it has arrived.
    async fn answer(request: RequestBuilder) -> Result<Answer, Dead> {
        let response = request.send().await.map_err(|_| Dead)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|_| Dead)?;
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, Dead> {
        Self::answer(self.http.request(method, format!("{}{path}", self.url))).await
    }

    async fn get(&self, path: &str) -> Result<Answer, Dead> {
        self.ask(Method::GET, path).await
    }

    async fn submit(&self, submission: &Submission, query: &str) -> Result<Answer, Dead> {
        let requests: Vec<_> =
            submission.work.iter().map(|work| work.request(&submission.name)).collect();
        let (path, body) = match requests.as_slice() {
            [request] => ("/v1/tasks", request.clone()),
            _ => ("/v1/tasks/batch", requests.into()),
        };
        let mut request = self.http.post(format!("{}{path}{query}", self.url)).json(&body);
        if submission.is_keyed {
            request = request.header("idempotency-key", &submission.name);
        }
        Self::answer(request).await
    }
}

impl Client {
    pub(super) fn new(index: u64) -> Self {
        let (random, ledger) = (Random::new(&[]), Ledger::default());
        Self { index, random, submissions: 0, ledger }
    }

    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Every round draws anew, so that what a round does is not up to how far the last one came.
    pub(super) fn begin_round(&mut self, seed: u64, round: u64) {
        self.random = Random::new(&[seed, round, 1 + self.index]);
    }

    pub(super) fn complain(&mut self, complaint: String) {
        self.ledger.complain(complaint);
    }

    pub(super) fn take_complaints(&mut self) -> Vec<String> {
        self.ledger.take_complaints()
    }

    pub(super) fn close(self, tally: &mut Tally, broken: &mut Vec<String>) {
        self.ledger.close(tally, broken);
    }

    pub(super) fn settle(&mut self, tasks: &[Value], explained: &mut BTreeSet<String>) {
        self.ledger.settle(tasks, explained);
    }

    /// Works until the node is dead.
    pub(super) async fn work(&mut self, http: &reqwest::Client, url: &str, heavy: bool) {
        let link = Link { http, url };
        while self.do_something(&link, heavy).await.is_ok() {}
    }

    async fn do_something(&mut self, link: &Link<'_>, heavy: bool) -> Result<(), Dead> {
        self.send_again(link).await?;
        match self.random.below(100) {
            0..40 => self.submit(link, 1, heavy).await,
            40..55 => {
                let tasks = 2 + self.random.below(BATCH_MAX - 1);
                self.submit(link, tasks, heavy).await
            }
            55..65 => self.submit_and_wait(link).await,
            65..75 => self.cancel(link).await,
            75..85 => self.delete(link).await,
            _ => self.look(link).await,
        }
    }

    fn draw(&mut self, tasks: u64, heavy: bool) -> Submission {
        self.submissions += 1;
        let name = format!("client-{}-submission-{}", self.index, self.submissions);
        let work = (0..tasks).map(|_| Work::draw(&mut self.random, heavy)).collect();
        Submission { name, work, is_keyed: self.random.percent(50), shown: Vec::new() }
    }

    /// Under its key, what was not answered is submitted again until it is: it is done once.
    async fn send_again(&mut self, link: &Link<'_>) -> Result<(), Dead> {
        while let Some(submission) = self.ledger.next_to_send_again() {
            self.send(link, submission, "").await?;
        }
        Ok(())
    }

    async fn submit(&mut self, link: &Link<'_>, tasks: u64, heavy: bool) -> Result<(), Dead> {
        let submission = self.draw(tasks, heavy);
        self.send(link, submission, "").await
    }

    /// The answer tells of the end, which from then on is promised too.
    async fn submit_and_wait(&mut self, link: &Link<'_>) -> Result<(), Dead> {
        let submission = self.draw(1, false);
        self.send(link, submission, "?wait=0.1").await
    }

    async fn send(
        &mut self,
        link: &Link<'_>,
        submission: Submission,
        query: &str,
    ) -> Result<(), Dead> {
        match link.submit(&submission, query).await {
            Ok(Answer { status: 200 | 202, body }) if body["id"].is_string() => {
                self.ledger.acknowledged(submission, ids(&json!([body["id"]])));
                self.ledger.observe(&body);
            }
            Ok(Answer { status: 202, body }) => {
                self.ledger.acknowledged(submission, ids(&body["ids"]));
            }
            Ok(answer) => self.unexpected("a submission", &answer),
            Err(Dead) => {
                self.ledger.unanswered(submission);
                return Err(Dead);
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, link: &Link<'_>) -> Result<(), Dead> {
        let Some(id) = self.choose() else { return Ok(()) };
        self.ledger.cancel_is_asked(&id);
        let answer = link.ask(Method::POST, &format!("/v1/tasks/{id}/cancel")).await?;
        match answer.status {
            200 => self.ledger.cancelled(&answer.body),
            409 => {
                let answer = link.get(&format!("/v1/tasks/{id}")).await?;
                self.ledger.observe(&answer.body);
                if self.ledger.unfinished().contains(&id) {
                    self.unexpected("a task that is said to have ended", &answer);
                }
            }
            _ => self.unexpected("a cancel", &answer),
        }
        Ok(())
    }

    async fn delete(&mut self, link: &Link<'_>) -> Result<(), Dead> {
        match self.choose() {
            Some(id) => self.delete_this(link, &id).await,
            None => Ok(()),
        }
    }

    async fn delete_this(&mut self, link: &Link<'_>, id: &str) -> Result<(), Dead> {
        self.ledger.delete_is_asked(id);
        let path = format!("/v1/tasks/{id}");
        let answer = link.ask(Method::DELETE, &path).await?;
        if answer.status != 204 {
            self.unexpected("a delete", &answer);
            return Ok(());
        }
        self.ledger.deleted(id);
        let answer = link.get(&path).await?;
        if answer.status != 404 {
            self.unexpected("a deleted task", &answer);
        }
        Ok(())
    }

    async fn look(&mut self, link: &Link<'_>) -> Result<(), Dead> {
        let Some(id) = self.choose() else { return Ok(()) };
        let answer = link.get(&format!("/v1/tasks/{id}")).await?;
        match answer.status {
            200 => self.ledger.observe(&answer.body),
            _ => self.unexpected("an acknowledged task", &answer),
        }
        Ok(())
    }

    /// One of the tasks that are there.
    fn choose(&mut self) -> Option<String> {
        let tasks = self.ledger.len();
        let chosen = self.random.below(tasks.max(1) as u64) as usize;
        self.ledger.ids().nth(chosen).cloned()
    }

    fn unexpected(&mut self, what: &str, answer: &Answer) {
        self.complain(format!("{what} was answered with {} {}", answer.status, answer.body));
    }

    /// Submits what is not answered yet.
    pub(super) async fn send_all_again(mut self, http: reqwest::Client, url: String) -> Self {
        let link = Link { http: &http, url: &url };
        if self.send_again(&link).await.is_err() {
            self.complain("no answer to what was sent again".to_owned());
        }
        self
    }

    /// Waits for the end of every task.
    pub(super) async fn await_ends(mut self, http: reqwest::Client, url: String) -> Self {
        let link = Link { http: &http, url: &url };
        for id in self.ledger.unfinished() {
            for _ in 0..WAITS_MAX {
                match link.get(&format!("/v1/tasks/{id}?wait=10")).await {
                    Ok(answer) => self.ledger.observe(&answer.body),
                    Err(Dead) => self.complain(format!("no answer about {id}")),
                }
                if !self.ledger.unfinished().contains(&id) {
                    break;
                }
            }
        }
        let unfinished = self.ledger.unfinished();
        if !unfinished.is_empty() {
            self.complain(format!("these tasks never end: {unfinished:?}"));
        }
        self
    }

    /// Looks at the attempts of everything that has ended.
    pub(super) async fn audit_all(mut self, http: reqwest::Client, url: String) -> Self {
        let link = Link { http: &http, url: &url };
        for id in self.ledger.unaudited() {
            match link.get(&format!("/v1/tasks/{id}/attempts")).await {
                Ok(Answer { status: 200, body }) => {
                    let attempts = body["items"].as_array().cloned().unwrap_or_default();
                    self.ledger.audit(&id, &attempts);
                }
                Ok(answer) => self.unexpected("attempts", &answer),
                Err(Dead) => self.complain(format!("no answer about the attempts of {id}")),
            }
        }
        self
    }

    /// The same, and deletes most of what enough is known of: lists stay short.
    pub(super) async fn audit_some(self, http: reqwest::Client, url: String) -> Self {
        let mut client = self.audit_all(http.clone(), url.clone()).await;
        let link = Link { http: &http, url: &url };
        for id in client.ledger.done_with() {
            if !is_kept(&id) && client.delete_this(&link, &id).await.is_err() {
                client.complain(format!("no answer to a delete of {id}"));
            }
        }
        client
    }
}

fn is_kept(id: &str) -> bool {
    let sum: u64 = id.bytes().map(u64::from).sum();
    sum.is_multiple_of(KEPT_ONE_IN)
}

fn ids(list: &Value) -> Vec<String> {
    let ids = list.as_array().into_iter().flatten();
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}
