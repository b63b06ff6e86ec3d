import { expect, test } from "vitest";

import { ratesBetween, readMetrics } from "./metrics";

const PAGE = `# HELP runabout_tasks_queued Tasks that wait
# TYPE runabout_tasks_queued gauge
runabout_tasks_queued 7
runabout_tasks_running 2
runabout_slots 4
runabout_task_outcomes_total{outcome="returned"} 10
runabout_task_outcomes_total{outcome="threw"} 1
runabout_calls_total{outcome="returned"} 100
runabout_call_seconds_bucket{le="0.001"} 90
process_resident_memory_bytes 1.5e+07
`;

test("what is drawn is read, the rest is passed over", () => {
  const counted = readMetrics(PAGE, 0);
  expect(counted).toMatchObject({ queued: 7, running: 2, slots: 4, residentBytes: 15_000_000 });
  expect(counted.tasks.get("threw")).toBe(1);
  expect(counted.calls.get("returned")).toBe(100);
});

test("rates are what was counted in between", () => {
  const before = readMetrics(PAGE, 0);
  const after = readMetrics(PAGE.replace("} 10\n", "} 14\n").replace("} 1\n", "} 3\n"), 2_000);
  expect(ratesBetween(before, after)).toEqual({ tasks: 3, calls: 0, failed: 1 });
});

test("a node that was started anew counts from zero", () => {
  const before = readMetrics(PAGE, 0);
  const after = readMetrics('runabout_task_outcomes_total{outcome="returned"} 4\n', 1_000);
  expect(ratesBetween(before, after)).toMatchObject({ tasks: 4, failed: 0 });
});
