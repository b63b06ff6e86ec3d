// A long piece of work in stages. It says how far it is, and keeps a checkpoint after each stage, so
// that an attempt on another worker goes on where a lost one was.
//
//   runabout task submit --function stages 10
export default async function stages(count = 5) {
  const start = runabout.task?.checkpoint?.done ?? 0;
  if (start > 0) {
    console.log(`going on after stage ${start}`);
  }
  for (let stage = start; stage < count; stage++) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const done = stage + 1;
    runabout.checkpoint({ done });
    runabout.progress(done / count, `stage ${done} of ${count}`);
    console.log(`finished stage ${done}`);
  }
  return { stages: count, resumed_after: start };
}
