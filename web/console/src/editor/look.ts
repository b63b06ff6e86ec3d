// How code looks: the colours are custom properties, so that both themes need one description.

import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.moduleKeyword, tags.operatorKeyword], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: [tags.function(tags.variableName), tags.typeName, tags.tagName], color: "var(--code-name)" },
  { tag: [tags.attributeName], color: "var(--code-number)" },
  { tag: [tags.comment, tags.meta], color: "var(--code-comment)" },
]);

const theme = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--ground)", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", overflow: "auto" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--text)" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": {
    color: "var(--quiet)",
    backgroundColor: "var(--inset)",
    borderRight: "1px solid var(--line)",
    fontVariantNumeric: "tabular-nums",
  },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLineGutter": { color: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    { background: "var(--selection)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "transparent",
    outline: "1px solid var(--line-strong)",
  },
  ".cm-panels": {
    color: "var(--text)",
    backgroundColor: "var(--inset)",
    borderColor: "var(--line)",
  },
  ".cm-searchMatch": { backgroundColor: "var(--accent-ground)" },
  ".cm-tooltip": {
    color: "var(--text)",
    backgroundColor: "var(--ground)",
    border: "1px solid var(--line-strong)",
  },
  ".cm-collapsedLines": {
    color: "var(--quiet)",
    background: "var(--inset)",
    "&:before, &:after": { content: '"···"' },
  },
  ".cm-faulty": { backgroundColor: "color-mix(in oklab, var(--threw) 16%, transparent)" },
});

export const look: Extension = [theme, syntaxHighlighting(colours)];
