// Several exports in one function: the default one greets, `count` is called by name.
//
//   runabout call hello '{"name": "Ada"}'
//   runabout call hello --export count '["one", "two"]'

interface Person {
  name: string;
  title?: string;
}

export default function hello(person: Person = { name: "world" }): string {
  const name = person.title ? `${person.title} ${person.name}` : person.name;
  console.log(`greeting ${name}`);
  return `Hello, ${name}!`;
}

export function count(words: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) {
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}
