//! Three-way merge: two texts that were made from one base become one, or it is said where they
//! cannot. First by lines; then, inside a piece in which lines collide, by words.

mod changes;
mod words;

use std::ops::Range;

pub(crate) use changes::{Change, STEPS_MAX, changes};

/// The most that the pass by lines takes of a merge's steps for each side, so that some are left for
/// the other side and for the pass by words.
const LINE_STEPS_MAX: usize = STEPS_MAX / 5 * 2;

/// Two texts made from one base, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Both stand.
    Clean(String),
    /// They collide there; never empty.
    Conflicts(Vec<Collision>),
}

/// A place where two edits collide: the lines of each text there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// Before both.
    pub base: Lines,
    /// As it stands.
    pub current: Lines,
    /// As the edit wants it.
    pub yours: Lines,
}

/// Some lines of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The number of the first, from 1; where there are none, of the line they would stand before.
    pub line: usize,
    /// How many.
    pub count: usize,
    /// Their text, line ends included.
    pub text: String,
}

/// Merges what `current` and `yours` have made of `base`.
///
/// Changes of different lines both stand, adjacent ones too. Of changes in the same lines those of
/// different words both stand, if they do not touch. The same change made by both stands once, but
/// not the same insertion: of two who add the same line at the same place nobody knows whether they
/// meant one line or two.
///
/// Takes bounded time whatever the texts. Where it would take more, what is still to be looked at
/// collides.
pub fn merge(base: &str, current: &str, yours: &str) -> Merged {
    merge_within(STEPS_MAX, base, current, yours)
}

/// All pieces share the steps.
fn merge_within(mut left: usize, base: &str, current: &str, yours: &str) -> Merged {
    if base == current {
        return Merged::Clean(yours.to_owned());
    }
    if base == yours {
        return Merged::Clean(current.to_owned());
    }
    let three = Three { base: lines(base), current: lines(current), yours: lines(yours) };
    let mut text = String::with_capacity(current.len().max(yours.len()));
    let mut collisions = Vec::new();
    for piece in three.join(Touching::Stand, &mut left) {
        match piece {
            Piece::Settled(tokens) => text.extend(tokens.iter().copied()),
            Piece::Collision { base, current, yours } => {
                let joined = words::merge(
                    &three.base[base.clone()].concat(),
                    &three.current[current.clone()].concat(),
                    &three.yours[yours.clone()].concat(),
                    &mut left,
                );
                match joined {
                    Some(joined) => text.push_str(&joined),
                    None => collisions.push(Collision {
                        base: lines_at(&three.base, base),
                        current: lines_at(&three.current, current),
                        yours: lines_at(&three.yours, yours),
                    }),
                }
            }
        }
    }
    if collisions.is_empty() { Merged::Clean(text) } else { Merged::Conflicts(collisions) }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn lines_at(lines: &[&str], at: Range<usize>) -> Lines {
    Lines { line: at.start + 1, count: at.len(), text: lines[at].concat() }
}

/// A base and what two have made of it, cut into tokens.
struct Three<'a> {
    base: Vec<&'a str>,
    current: Vec<&'a str>,
    yours: Vec<&'a str>,
}

/// What becomes of changes that touch: one ends where the other begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touching {
    /// Both stand, one after the other.
    Stand,
    /// They collide.
    Collide,
}

/// A stretch of the result.
enum Piece<'t, 'a> {
    /// These tokens.
    Settled(&'t [&'a str]),
    /// Changed by both, differently: ranges of tokens.
    Collision { base: Range<usize>, current: Range<usize>, yours: Range<usize> },
}

impl<'a> Three<'a> {
    /// Goes through both sides' changes from front to back.
    fn join(&self, touching: Touching, left: &mut usize) -> Vec<Piece<'_, 'a>> {
        let by_current = self.changes(&self.current, touching, left);
        let by_yours = self.changes(&self.yours, touching, left);
        let mut current = by_current.as_slice();
        let mut yours = by_yours.as_slice();
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(cluster) = Cluster::take(&mut current, &mut yours, touching) {
            pieces.push(Piece::Settled(&self.base[at..cluster.base.start]));
            at = cluster.base.end;
            pieces.push(self.piece(cluster));
        }
        pieces.push(Piece::Settled(&self.base[at..]));
        pieces
    }

    fn changes(&self, side: &[&str], touching: Touching, left: &mut usize) -> Vec<Change> {
        let (spread, steps_max) = match touching {
            Touching::Stand => (false, LINE_STEPS_MAX),
            Touching::Collide => (true, usize::MAX),
        };
        let mut own = steps_max.min(*left);
        *left -= own;
        let changes = changes(&self.base, side, spread, &mut own);
        *left += own;
        changes
    }

    fn piece(&self, cluster: Cluster<'_>) -> Piece<'_, 'a> {
        let Cluster { base, current, yours } = cluster;
        match (span(current, &base), span(yours, &base)) {
            (Some(current), None) => Piece::Settled(&self.current[current]),
            (None, Some(yours)) => Piece::Settled(&self.yours[yours]),
            (Some(current), Some(yours)) => {
                if !base.is_empty() && self.current[current.clone()] == self.yours[yours.clone()] {
                    return Piece::Settled(&self.current[current]);
                }
                Piece::Collision { base, current, yours }
            }
            (None, None) => Piece::Settled(&self.base[base]),
        }
    }
}

/// Where a side has what the base has at `base`; `None` if it has no changes there.
fn span(changes: &[Change], base: &Range<usize>) -> Option<Range<usize>> {
    let (first, last) = (changes.first()?, changes.last()?);
    let start = first.after.start - (first.before.start - base.start);
    let end = last.after.end + (base.end - last.before.end);
    Some(start..end)
}

/// Changes of both sides that belong together: one alone, or several that collide.
struct Cluster<'c> {
    /// All that they cover of the base.
    base: Range<usize>,
    current: &'c [Change],
    yours: &'c [Change],
}

impl<'c> Cluster<'c> {
    /// Takes the next cluster from the front of both sides.
    fn take(
        current: &mut &'c [Change],
        yours: &mut &'c [Change],
        touching: Touching,
    ) -> Option<Self> {
        let order = |change: &Change| (change.before.start, change.before.end);
        let is_current = match (current.first(), yours.first()) {
            (None, None) => return None,
            (Some(current), Some(yours)) => order(current) <= order(yours),
            (current, _) => current.is_some(),
        };
        let first = if is_current { &current[0] } else { &yours[0] };
        let mut base = first.before.clone();
        let (mut taken_current, mut taken_yours) = if is_current { (1, 0) } else { (0, 1) };
        // Each one that is taken may reach on to others, of either side.
        loop {
            let more_current = reached(&current[taken_current..], &yours[..taken_yours], touching);
            let more_yours = reached(&yours[taken_yours..], &current[..taken_current], touching);
            if more_current + more_yours == 0 {
                break;
            }
            taken_current += more_current;
            taken_yours += more_yours;
        }
        let (front_current, rest_current) = current.split_at(taken_current);
        let (front_yours, rest_yours) = yours.split_at(taken_yours);
        (*current, *yours) = (rest_current, rest_yours);
        for change in front_current.iter().chain(front_yours) {
            base.start = base.start.min(change.before.start);
            base.end = base.end.max(change.before.end);
        }
        Some(Self { base, current: front_current, yours: front_yours })
    }
}

/// How many of `next`, from its front on, collide with one of `taken`. Only the last of those can be
/// reached: the ones before end before it.
fn reached(next: &[Change], taken: &[Change], touching: Touching) -> usize {
    let Some(last) = taken.last() else { return 0 };
    next.iter().take_while(|change| collide(&change.before, &last.before, touching)).count()
}

fn collide(a: &Range<usize>, b: &Range<usize>, touching: Touching) -> bool {
    match touching {
        Touching::Collide => a.start <= b.end && b.start <= a.end,
        // Two insertions at one place have no order; an insertion collides with what has changed on
        // both sides of it.
        Touching::Stand if a.is_empty() && b.is_empty() => a.start == b.start,
        Touching::Stand => a.start < b.end && b.start < a.end,
    }
}

#[cfg(test)]
mod tests;
