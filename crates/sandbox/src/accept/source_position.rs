//! Lines and columns.

/// Line and column of a byte offset, both from 1; a column is a character.
pub fn position_of(source: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = &source[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_begin_at_one() {
        assert_eq!(position_of("a\nbc", 0), (1, 1));
        assert_eq!(position_of("a\nbc", 3), (2, 2));
        assert_eq!(position_of("ü\nüx", 5), (2, 2));
        assert_eq!(position_of("a", 99), (1, 2));
    }
}
