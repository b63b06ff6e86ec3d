import { expect, test } from 'vitest';
import { elementTexts, memberText } from '../../src/json-text.js';

test('elements keep what a reader of numbers loses', () => {
  expect(elementTexts('[-0, 1e400 ,9007199254740993,"a,]\\"b",[1,[2]],{"c":"}"}]'))
    .toEqual(['-0', '1e400', '9007199254740993', '"a,]\\"b"', '[1,[2]]', '{"c":"}"}']);
  expect(elementTexts(' [ ] ')).toEqual([]);
  expect(elementTexts('["\\\\"]')).toEqual(['"\\\\"']);
});

test('a member is found by its name alone', () => {
  const text = '{"type":"args","limits":{"args":[1]},"text":"\\"args\\":[2]","\\u0061rgs" : [-0] ,"x":null}';
  expect(memberText(text, 'args')).toBe('[-0]');
  expect(memberText(text, 'x')).toBe('null');
  expect(memberText(text, 'y')).toBeUndefined();
  expect(memberText('{}', 'y')).toBeUndefined();
});
