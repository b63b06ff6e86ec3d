//! The tasks that could begin at once if there were a slot, and whose turn it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use runabout_protocol::{Language, TaskId};

use crate::Share;
use crate::capabilities::{LANGUAGES, PerLanguage};

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

/// One line for each language, so that a task nobody can run holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: PerLanguage<Line>,
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
    pub(crate) fn insert(&mut self, language: Language, place: Place, task: TaskId) {
        let turns = &mut self.turns;
        let standing = *self.standings.entry(place.claim).or_insert_with(|| {
            *turns += 1;
            Standing { running: 0, turn: *turns }
        });
        let line = self.lines.get_mut(language);
        line.tasks.insert(place, task);
        line.ranks.insert(rank(place.claim, standing), place.claim);
    }

    /// Takes a task out that will not begin now.
    pub(crate) fn remove(&mut self, language: Language, place: Place) {
        let Some(standing) = self.standings.get(&place.claim) else { return };
        self.lines.get_mut(language).remove(place, *standing);
        self.forget_if_away(place.claim);
    }

    /// Takes a task out that begins now: its claim has had its turn.
    pub(crate) fn begin(&mut self, language: Language, place: Place) {
        let Some(standing) = self.standings.get(&place.claim).copied() else { return };
        self.lines.get_mut(language).remove(place, standing);
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

    /// The first task in line among the languages that `wanted` says can be run now.
    pub(crate) fn first(&self, wanted: impl Fn(Language) -> bool) -> Option<(Language, TaskId)> {
        LANGUAGES
            .into_iter()
            .filter(|language| wanted(*language))
            .filter_map(|language| {
                let (rank, place, task) = self.lines.get(language).first()?;
                Some(((rank, place), language, task))
            })
            .min_by_key(|(place, ..)| *place)
            .map(|(_, language, task)| (language, task))
    }

    fn set_standing(&mut self, claim: Claim, before: Standing, after: Standing) {
        self.standings.insert(claim, after);
        for language in LANGUAGES {
            let ranks = &mut self.lines.get_mut(language).ranks;
            if ranks.remove(&rank(claim, before)).is_some() {
                ranks.insert(rank(claim, after), claim);
            }
        }
    }

    fn forget_if_away(&mut self, claim: Claim) {
        let Some(standing) = self.standings.get(&claim) else { return };
        let rank = rank(claim, *standing);
        let waits = |language| self.lines.get(language).ranks.contains_key(&rank);
        if standing.running == 0 && !LANGUAGES.into_iter().any(waits) {
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
    use uuid::Uuid;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        Insert { language: usize, priority: i32, share: u64 },
        Remove(usize),
        Begin { without: usize },
        End(usize),
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            4 => (0..3usize, 0..2i32, 0..4u64)
                .prop_map(|(language, priority, share)| Doing::Insert { language, priority, share }),
            1 => any::<usize>().prop_map(Doing::Remove),
            4 => (0..4usize).prop_map(|without| Doing::Begin { without }),
            3 => any::<usize>().prop_map(Doing::End),
        ]
    }

    /// A task as a plain list has it.
    #[derive(Clone, Copy, Debug)]
    struct Listed {
        language: Language,
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
            let wanted = |it: &&Listed| LANGUAGES.get(without) != Some(&it.language);
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
                    Doing::Insert { language, priority, share } => {
                        let place = Place::new(priority, Share(share), order);
                        let task = TaskId(Uuid::from_u128(order.into()));
                        let language = LANGUAGES[language];
                        queue.insert(language, place, task);
                        list.insert(Listed { language, place, task });
                    }
                    Doing::Remove(which) if !list.waiting.is_empty() => {
                        let it = list.waiting.remove(which % list.waiting.len());
                        queue.remove(it.language, it.place);
                    }
                    Doing::Begin { without } => {
                        let found = queue.first(|it| LANGUAGES.get(without) != Some(&it));
                        let first = list.first(without);
                        let expected = first.map(|at| list.waiting[at]);
                        prop_assert_eq!(found, expected.map(|it| (it.language, it.task)));
                        let (Some(at), Some(it)) = (first, expected) else { continue };
                        queue.begin(it.language, it.place);
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
