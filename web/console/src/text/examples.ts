// Programs to begin with; each shows one thing.

export interface Example {
  title: string;
  language: "js" | "ts";
  args: string;
  text: string;
}

export const EXAMPLES: Example[] = [
  {
    title: "A function",
    language: "js",
    args: '"world"',
    text: `// A module: its default export is called with the arguments below.
export default function greet(name) {
  console.log("hello from the sandbox");
  return \`Hello, \${name}!\`;
}
`,
  },
  {
    title: "A script",
    language: "js",
    args: "",
    text: `// A script: the value of its last expression is the result.
const words = ["one", "two", "three"];
console.log("joining", words.length, "words");
words.join(" and ");
`,
  },
  {
    title: "Progress, as it goes",
    language: "js",
    args: "8",
    text: `// How far it is shows while it runs; so does what it writes.
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export default async function (stages) {
  for (let stage = 1; stage <= stages; stage++) {
    await pause(500);
    runabout.progress(stage / stages, \`\${stage} of \${stages}\`);
    console.log("finished stage", stage);
  }
  return { stages };
}
`,
  },
  {
    title: "TypeScript",
    language: "ts",
    args: "200000",
    text: `// Types are stripped; errors point at these lines.
interface Found {
  count: number;
  largest: number;
}

export default function primes(below: number): Found {
  const composite = new Uint8Array(below);
  const found: Found = { count: 0, largest: 0 };
  for (let n = 2; n < below; n++) {
    if (composite[n]) continue;
    found.count++;
    found.largest = n;
    for (let multiple = n * n; multiple < below; multiple += n) composite[multiple] = 1;
  }
  return found;
}
`,
  },
  {
    title: "An error",
    language: "js",
    args: "",
    text: `// What a function throws is its outcome, with the line it was thrown on.
function deepest() {
  throw new RangeError("this far, and no further");
}

console.warn("about to throw");
deepest();
`,
  },
];
