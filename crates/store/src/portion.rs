//! Portions of lists: bounded by their number and by what they take.

use rusqlite::Result;

/// What a portion of a list takes in memory and on its way to whoever asked, roughly; it ends with
/// the item that reaches this.
pub(crate) const PORTION_BYTES_MAX: usize = 8 << 20;

/// The next items of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Portion<T> {
    /// The items; one at least, if there are any.
    pub items: Vec<T>,
    /// Whether there are more behind them.
    pub more: bool,
}

impl<T> Portion<T> {
    /// Takes rows until there are `items_max`, or they take `bytes_max`. A row behind them is how it
    /// is known that there are more, so one more must be asked for.
    pub(crate) fn take(
        rows: impl Iterator<Item = Result<T>>,
        items_max: usize,
        bytes_max: usize,
        bytes_of: impl Fn(&T) -> usize,
    ) -> Result<Self> {
        let (mut items, mut bytes) = (Vec::new(), 0_usize);
        for row in rows {
            let row = row?;
            if items.len() >= items_max || (bytes >= bytes_max && !items.is_empty()) {
                return Ok(Self { items, more: true });
            }
            bytes = bytes.saturating_add(bytes_of(&row));
            items.push(row);
        }
        Ok(Self { items, more: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_ends_with_its_number_or_its_bytes() {
        let take = |items_max, bytes_max| {
            let rows = [3_usize, 5, 4, 1].into_iter().map(Ok);
            let portion = Portion::take(rows, items_max, bytes_max, |it| *it).expect("rows");
            (portion.items.len(), portion.more)
        };
        assert_eq!(take(4, 100), (4, false));
        assert_eq!(take(3, 100), (3, true));
        assert_eq!(take(4, 8), (2, true));
        assert_eq!(take(4, 9), (3, true));
        assert_eq!(take(4, 1), (1, true));
        assert_eq!(take(4, 12), (3, true));
        assert_eq!(take(4, 13), (4, false));
    }
}
