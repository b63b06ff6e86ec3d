//! The tasks that could begin at once if there were a slot, and whose turn it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use runabout_protocol::TaskId;

use crate::{Needs, Share};

/// A task's place: among those of its priority and share, the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    claim: Claim,
    order: u64,
}

/// A share within one priority: what turns are taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Claim {
    priority: Reverse<i32>,
    share: Share,
}

/// What a claim has had so far. The one with the fewest running goes first, then the one whose
/// latest turn is longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// Its attempts under way.
    running: u32,
    /// When it last had its turn, or came without waiting or running anything; no two are equal.
    turn: u64,
}

/// Where a claim stands among all of them.
type Rank = (Reverse<i32>, Standing);

impl Place {
    pub(crate) fn new(priority: i32, share: Share, order: u64) -> Self {
        Self { claim: Claim { priority: Reverse(priority), share }, order }
    }
}

/// One line for all tasks that ask the same of a worker, so that a task nobody can run holds up no
/// other.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Of exactly the needs that some waiting task has.
    lines: BTreeMap<Needs, Line>,
    /// Of exactly the claims that wait in some line or have something under way: who has been away
    /// comes back as one who is new, with nothing saved up and nothing owed.
    standings: HashMap<Claim, Standing>,
    /// All turns so far.
    turns: u64,
}

#[derive(Debug, Default)]
struct Line {
    tasks: BTreeMap<Place, TaskId>,
    /// Of exactly the claims in `tasks`.
    ranks: BTreeMap<Rank, Claim>,
}

impl Queue {
    pub(crate) fn insert(&mut self, needs: Needs, place: Place, task: TaskId) {
        let turns = &mut self.turns;
        let standing = *self.standings.entry(place.claim).or_insert_with(|| {
            *turns += 1;
            Standing { running: 0, turn: *turns }
        });
        let line = self.lines.entry(needs).or_default();
        line.tasks.insert(place, task);
        line.ranks.insert(rank(place.claim, standing), place.claim);
    }

    /// Takes a task out that will not begin now.
    pub(crate) fn remove(&mut self, needs: Needs, place: Place) {
        let Some(standing) = self.standings.get(&place.claim).copied() else { return };
        self.take_out(needs, place, standing);
        self.forget_if_away(place.claim);
    }

    /// Takes a task out that begins now: its claim has had its turn.
    pub(crate) fn begin(&mut self, needs: Needs, place: Place) {
        let Some(standing) = self.standings.get(&place.claim).copied() else { return };
        self.take_out(needs, place, standing);
        self.turns += 1;
        let running = standing.running.saturating_add(1);
        self.set_standing(place.claim, standing, Standing { running, turn: self.turns });
    }

    /// Says that a task which had begun is no longer under way.
    pub(crate) fn end(&mut self, place: Place) {
        let Some(standing) = self.standings.get(&place.claim).copied() else { return };
        let running = standing.running.saturating_sub(1);
        self.set_standing(place.claim, standing, Standing { running, ..standing });
        self.forget_if_away(place.claim);
    }

    /// The first task in line among those whose needs `wanted` says can be met now.
    pub(crate) fn first(&self, wanted: impl Fn(Needs) -> bool) -> Option<(Needs, TaskId)> {
        self.lines
            .iter()
            .filter(|(needs, _)| wanted(**needs))
            .filter_map(|(needs, line)| {
                let (rank, place, task) = line.first()?;
                Some(((rank, place), *needs, task))
            })
            .min_by_key(|(place, ..)| *place)
            .map(|(_, needs, task)| (needs, task))
    }

    fn take_out(&mut self, needs: Needs, place: Place, standing: Standing) {
        let Some(line) = self.lines.get_mut(&needs) else { return };
        line.remove(place, standing);
        if line.tasks.is_empty() {
            self.lines.remove(&needs);
        }
    }

    fn set_standing(&mut self, claim: Claim, before: Standing, after: Standing) {
        self.standings.insert(claim, after);
        for Line { ranks, .. } in self.lines.values_mut() {
            if ranks.remove(&rank(claim, before)).is_some() {
                ranks.insert(rank(claim, after), claim);
            }
        }
    }

    fn forget_if_away(&mut self, claim: Claim) {
        let Some(standing) = self.standings.get(&claim) else { return };
        let rank = rank(claim, *standing);
        let waits = |line: &Line| line.ranks.contains_key(&rank);
        if standing.running == 0 && !self.lines.values().any(waits) {
            self.standings.remove(&claim);
        }
    }
}

impl Line {
    /// Takes a task out, and its claim with the last of its tasks.
    fn remove(&mut self, place: Place, standing: Standing) {
        self.tasks.remove(&place);
        if self.first_of(place.claim).is_none() {
            self.ranks.remove(&rank(place.claim, standing));
        }
    }

    fn first(&self) -> Option<(Rank, Place, TaskId)> {
        let (rank, claim) = self.ranks.first_key_value()?;
        let (place, task) = self.first_of(*claim)?;
        Some((*rank, place, task))
    }

    fn first_of(&self, claim: Claim) -> Option<(Place, TaskId)> {
        let all = Place { claim, order: 0 }..=Place { claim, order: u64::MAX };
        self.tasks.range(all).next().map(|(place, task)| (*place, *task))
    }
}

fn rank(claim: Claim, standing: Standing) -> Rank {
    (claim.priority, standing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runabout_protocol::{Language, Trust};
    use uuid::Uuid;

    use super::*;

    fn needs() -> [Needs; 4] {
        let any = [Language::Js, Language::Wasm, Language::Wasi].map(Needs::of);
        let only_tabs = Needs { only: Some(Trust::Tab), ..any[0] };
        [any[0], any[1], any[2], only_tabs]
    }

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        Insert { needs: usize, priority: i32, share: u64 },
        Remove(usize),
        Begin { without: usize },
        End(usize),
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            4 => (0..4usize, 0..2i32, 0..4u64)
                .prop_map(|(needs, priority, share)| Doing::Insert { needs, priority, share }),
            1 => any::<usize>().prop_map(Doing::Remove),
            4 => (0..5usize).prop_map(|without| Doing::Begin { without }),
            3 => any::<usize>().prop_map(Doing::End),
        ]
    }

    /// A task as a plain list has it.
    #[derive(Clone, Copy, Debug)]
    struct Listed {
        needs: Needs,
        place: Place,
        task: TaskId,
    }

    /// The same queue without any index: every question is answered by looking at everything.
    #[derive(Default)]
    struct List {
        waiting: Vec<Listed>,
        running: Vec<Listed>,
        /// The latest turn of each claim that waits or runs.
        turns: HashMap<Claim, u64>,
        next_turn: u64,
    }

    impl List {
        fn turn(&mut self, claim: Claim) {
            self.next_turn += 1;
            self.turns.insert(claim, self.next_turn);
        }

        fn insert(&mut self, it: Listed) {
            if !self.turns.contains_key(&it.place.claim) {
                self.turn(it.place.claim);
            }
            self.waiting.push(it);
        }

        fn first(&self, without: usize) -> Option<usize> {
            let key = |it: &Listed| {
                let claim = it.place.claim;
                let running = self.running.iter().filter(|it| it.place.claim == claim).count();
                (claim.priority, running, self.turns[&claim], it.place.order)
            };
            let wanted = |it: &&Listed| needs().get(without) != Some(&it.needs);
            let first = self.waiting.iter().filter(wanted).min_by_key(|it| key(it))?;
            self.waiting.iter().position(|it| it.task == first.task)
        }

        fn forget_away(&mut self) {
            let there: Vec<_> =
                self.waiting.iter().chain(&self.running).map(|it| it.place.claim).collect();
            self.turns.retain(|claim, _| there.contains(claim));
        }
    }

    proptest! {
        #[test]
        fn the_queue_answers_as_a_list_would_that_is_searched_through(
            doings in prop::collection::vec(doing(), 0..300)
        ) {
            let (mut queue, mut list) = (Queue::default(), List::default());
            for (order, doing) in (1..).zip(doings) {
                match doing {
                    Doing::Insert { needs: which, priority, share } => {
                        let place = Place::new(priority, Share(share), order);
                        let task = TaskId(Uuid::from_u128(order.into()));
                        let needs = needs()[which];
                        queue.insert(needs, place, task);
                        list.insert(Listed { needs, place, task });
                    }
                    Doing::Remove(which) if !list.waiting.is_empty() => {
                        let it = list.waiting.remove(which % list.waiting.len());
                        queue.remove(it.needs, it.place);
                    }
                    Doing::Begin { without } => {
                        let found = queue.first(|it| needs().get(without) != Some(&it));
                        let first = list.first(without);
                        let expected = first.map(|at| list.waiting[at]);
                        prop_assert_eq!(found, expected.map(|it| (it.needs, it.task)));
                        let (Some(at), Some(it)) = (first, expected) else { continue };
                        queue.begin(it.needs, it.place);
                        list.waiting.remove(at);
                        list.running.push(it);
                        list.turn(it.place.claim);
                    }
                    Doing::End(which) if !list.running.is_empty() => {
                        let it = list.running.remove(which % list.running.len());
                        queue.end(it.place);
                    }
                    Doing::Remove(_) | Doing::End(_) => {}
                }
                list.forget_away();
                prop_assert_eq!(queue.standings.len(), list.turns.len());
            }
        }
    }
}
