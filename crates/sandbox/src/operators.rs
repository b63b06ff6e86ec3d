//! Which instructions change more of an instance than its memory and its globals. Shared, word for word,
//! with the build script, for the JavaScript engine.

use wasmparser::Operator;

/// Whether it changes a table, or drops a segment.
pub fn changes_more(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}
