// The smallest function: its arguments are JSON, and so is what it returns.
//
//   runabout call add 2 3
export default (a, b) => a + b;
