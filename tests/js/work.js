/**
 * How much a call does, in steps: how often V8 enters a block of our code (a function, the body of a loop, a branch).
 * It counts the same on a busy machine as on a quiet one. What a regular expression does inside is one step.
 */
import {Session} from "node:inspector";
import {setFlagsFromString} from "node:v8";

const OURS = "/static/chat/";

// Optimized code leaves some counters out.
setFlagsFromString("--no-opt");
// From the start: a function that was compiled before has no counters.
const session = new Session();
session.connect();
ask("Profiler.enable");
ask("Profiler.startPreciseCoverage", {callCount: true, detailed: true});

/** In the session's own thread the answer is there when `post` returns. */
function ask(method, options) {
  let answer;
  session.post(method, options, (error, result) => {
    if (error) throw error;
    answer = result;
  });
  return answer;
}

/** @param {() => unknown} call */
export function stepsOf(call) {
  ask("Profiler.takePreciseCoverage"); // what came before
  call();
  const {result} = ask("Profiler.takePreciseCoverage");
  const functions = result.filter(({url}) => url.includes(OURS)).flatMap(({functions: found}) => found);
  return functions.flatMap(({ranges}) => ranges).reduce((sum, {count}) => sum + count, 0);
}

/** By how much the steps grow when the input is four times as large: 4 where they are in proportion to its size. */
export function growthOf(call, size) {
  return stepsOf(() => call(4 * size)) / stepsOf(() => call(size));
}

/**
 * The same of the CPU time, for work that is inside a regular expression: the least of a few, and only this process's,
 * so that others on the machine do not count. What is quadratic grows sixteenfold.
 */
export function cpuGrowthOf(call, size) {
  const least = (n) => Math.min(...Array.from({length: 5}, () => cpuOf(() => call(n))));
  call(size);
  return least(4 * size) / Math.max(least(size), NOISE);
}

/** Microseconds that are too few to compare. */
const NOISE = 1_000;

function cpuOf(call) {
  const before = process.cpuUsage();
  call();
  return process.cpuUsage(before).user;
}
